"""`POST /leaks/github`: GitHub's secret scanning partner programme reports what it found in public."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, post
from msgspec import Meta

from api import strict_json
from api.admission import admit
from api.answers import header
from api.bodies import Encoding, encoding, read_body
from api.intake.github_keys import GithubKeys, NoKeys, signed
from api.intake.reports import FINDINGS_AT_MOST, Finding, reporter, take
from api.outgoing import Outgoing
from api.problems import Denied, Unauthenticated, Unavailable
from api.services import Services, services

IDENTIFIER = b"github-public-key-identifier"
SIGNATURE = b"github-public-key-signature"
FETCH_TIMEOUT_S = 5.0

JSON_ONLY: tuple[Encoding, ...] = ("json",)

Text = Annotated[str, Meta(max_length=4_000)]


class Match(msgspec.Struct, frozen=True):
    """A match of one of our expressions. GitHub may add members, which mean nothing to us."""

    token: Text
    type: Text
    url: Text | None = None
    source: Text | None = None


Matches = Annotated[list[Match], Meta(max_length=FINDINGS_AT_MOST)]


class Label(msgspec.Struct, frozen=True):
    """What GitHub learns of a match: whether it was a secret of ours. `token_raw` is what it sent."""

    token_raw: str
    token_type: str
    label: Literal["true_positive", "false_positive"]


EXAMPLE = {
    "token": "glog_at_…",
    "type": "grantlog_access_token",
    "url": "https://github.com/octocat/Hello-World/blob/12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt",
    "source": "content",
}


@post(
    "/leaks/github",
    status_code=200,
    opt={
        "body": Matches,
        "example": [EXAMPLE],
        "answer": [{"token_raw": "glog_at_…", "token_type": "grantlog_access_token", "label": "true_positive"}],
    },
    tags=["Leaks"],
    summary="GitHub reports secrets that it found in public",
)
async def github(request: Request[Any, Any, Any]) -> list[Label]:
    """A JSON array of matches, signed in `Github-Public-Key-Identifier` and `Github-Public-Key-Signature` over the raw
    body. Each secret of ours opens an incident; those of the kinds in `GRANTLOG_LEAKS_CONTAIN` are ended with all
    that came of them. A repeated delivery changes nothing. Without a signature the answer is 401, with a wrong one 403.
    """
    here = services(request)
    admit(here, request.scope, "github")
    body = await read_body(request.scope, request.receive, here.settings.list_body_limit)
    await _check_signature(request, here, body)
    encoding(request.scope, JSON_ONLY)
    matches = strict_json.decode(body, Matches)
    findings = [Finding(match.token, match.url or "", match.source or "") for match in matches]
    taken = await take(here, findings, "github", here.settings.leaks_contain, reporter(request, "github"))
    return [
        Label(match.token, match.type, "true_positive" if ours else "false_positive")
        for match, ours in zip(matches, taken, strict=True)
    ]


async def _check_signature(request: Request[Any, Any, Any], here: Services, body: bytes) -> None:
    identifier, signature = header(request.scope, IDENTIFIER), header(request.scope, SIGNATURE)
    if not identifier or not signature:
        raise Unauthenticated("The report must be signed by GitHub.")
    keys = _keys(request, here)
    if keys is None:
        raise Denied("This server takes no reports from GitHub.")
    try:
        key = await keys.find(identifier)
    except NoKeys:
        raise Unavailable("GitHub's public keys cannot be had. Try again.", retry_after=60) from None
    if key is None or not signed(key, signature, body):
        raise Denied("The signature is not GitHub's.")


def _keys(request: Request[Any, Any, Any], here: Services) -> GithubKeys | None:
    """The keys of this process, made when the first report comes; None where the settings name none."""
    settings, state = here.settings, request.app.state
    if not settings.github_keys_url and settings.github_keys_file is None:
        return None
    found: GithubKeys | None = state.get("github_keys")
    if found is None:
        outgoing = Outgoing(allow_private=settings.allow_private_urls, timeout=FETCH_TIMEOUT_S)
        clock = here.ledger.clock
        found = GithubKeys(settings.github_keys_url, settings.github_keys_file, clock, outgoing)
        state.github_keys = found
    return found


ROUTES: list[Any] = [github]
