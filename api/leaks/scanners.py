"""What secret scanners report: GitHub (`POST /leaks/github`), and a GitLab of one's own (`POST /leaks/gitlab`)."""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from litestar import Request, get, post
from msgspec import Meta

from api.config.settings import Settings
from api.http.bodies import Encoding, decode_json, encoding, read_body
from api.http.errors import AccessDenied, InvalidRequest, InvalidToken, TemporarilyUnavailable
from api.http.outgoing_requests import NoAnswer, NotAllowed, OutgoingRequests
from api.http.request_context import header, header_values
from api.leaks.reports import FINDINGS_AT_MOST, Finding, reporter, take
from api.services import Injected
from api.throttling.admission import admit
from api.throttling.throttle import Throttle
from eventstore.ledger import Ledger
from security.clock import SECOND, Clock, Moment
from security.scanning import type_name
from security.tokens import Format, Kind, same

# The public keys with which GitHub signs its reports of leaked secrets, from a pinned file or from GitHub.

AGAIN_AFTER = 60 * SECOND
"""How often key ids that somebody makes up have the keys fetched."""

FRESH_FOR = 3600 * SECOND
"""A key that GitHub no longer publishes is believed no longer than that, unless GitHub cannot be asked."""

LARGEST = 256 * 1024

log = structlog.get_logger("api")


class PublishedKey(msgspec.Struct, frozen=True):
    """One key as GitHub publishes it, in PEM."""

    key_identifier: str
    key: str
    is_current: bool = False


class Published(msgspec.Struct, frozen=True):
    """GitHub's answer."""

    public_keys: list[PublishedKey]


Keys = Mapping[str, EllipticCurvePublicKey]


class NoKeys(Exception):
    """The keys could not be had; nothing can be said about a signature."""


class GithubKeys:
    """The keys by their ids, read when they are first needed, and again every hour or when an unknown id is named."""

    def __init__(self, url: str, file: Path | None, clock: Clock, outgoing: OutgoingRequests) -> None:
        self._url = url
        self._file = file
        self._clock = clock
        self._outgoing = outgoing
        self._keys: Keys | None = None
        self._tried_at: Moment | None = None
        self._read_at: Moment = 0
        self._lock = asyncio.Lock()

    async def find(self, identifier: str) -> EllipticCurvePublicKey | None:
        """The key of that id, or None when GitHub has none. Raises `NoKeys` when it cannot be known."""
        async with self._lock:
            now = self._clock.now()
            known = self._keys is not None and identifier in self._keys
            fresh = known and now - self._read_at < FRESH_FOR
            if not fresh and (self._tried_at is None or now - self._tried_at >= AGAIN_AFTER):
                self._tried_at = now
                if (found := await self._read()) is not None:
                    self._keys, self._read_at = found, now
            if self._keys is None:
                raise NoKeys
            return self._keys.get(identifier)

    async def _read(self) -> Keys | None:
        try:
            return parse(await self._fetch() if self._file is None else self._file.read_bytes())
        except (NotAllowed, NoAnswer, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            # The message may repeat the answer; the type says enough.
            log.warning("GitHub's public keys cannot be had", cause=type(error).__name__)
            return None

    async def _fetch(self) -> bytes:
        given = {"Accept": "application/json", "User-Agent": "grantlog"}
        answer = await self._outgoing.send("GET", self._url, headers=given, largest=LARGEST)
        if answer.status != 200:
            raise NoAnswer("the answer is not 200")
        return answer.body


def parse(body: bytes) -> Keys:
    """The keys in GitHub's answer; those that are on another curve, or are none, are passed over."""
    found: dict[str, EllipticCurvePublicKey] = {}
    for each in msgspec.json.decode(body, type=Published).public_keys:
        try:
            key = load_pem_public_key(each.key.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            found[each.key_identifier] = key
    return found


def signed(key: EllipticCurvePublicKey, signature: str, body: bytes) -> bool:
    """Whether it is that key's ECDSA P-256 signature (base64 of DER) of the SHA-256 of exactly these octets."""
    try:
        key.verify(b64decode(signature, validate=True), body, ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


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


MATCH_EXAMPLE = {
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
        "example": [MATCH_EXAMPLE],
        "answer": [{"token_raw": "glog_at_…", "token_type": "grantlog_access_token", "label": "true_positive"}],
    },
    tags=["Leaks"],
    summary="GitHub reports secrets that it found in public",
)
async def github(
    request: Request[Any, Any, Any],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    token_format: Injected[Format],
    throttle: Injected[Throttle],
) -> list[Label]:
    """A JSON array of matches, signed in `Github-Public-Key-Identifier` and `Github-Public-Key-Signature` over the raw
    body. Each secret of ours opens an incident; those of the kinds in `GRANTLOG_LEAKS_CONTAIN` are ended with all that
    came of them. A repeated delivery changes nothing. Without a signature the answer is 401, with a wrong one 403."""
    admit(throttle, request.scope, "github")
    body = await read_body(request.scope, request.receive, settings.list_body_limit)
    await _check_signature(request, _keys(request, settings, ledger.clock), body)
    encoding(request.scope, JSON_ONLY)
    matches = decode_json(body, Matches)
    findings = [Finding(match.token, match.url or "", match.source or "") for match in matches]
    by = reporter(request, "github")
    taken = await take(ledger, token_format, findings, "github", settings.leaks_contain, by)
    return [
        Label(match.token, match.type, "true_positive" if ours else "false_positive")
        for match, ours in zip(matches, taken, strict=True)
    ]


async def _check_signature(request: Request[Any, Any, Any], keys: GithubKeys | None, body: bytes) -> None:
    identifier, signature = header(request.scope, IDENTIFIER), header(request.scope, SIGNATURE)
    if not identifier or not signature:
        raise InvalidToken("The report must be signed by GitHub.")
    if keys is None:
        raise AccessDenied("This server takes no reports from GitHub.")
    try:
        key = await keys.find(identifier)
    except NoKeys:
        raise TemporarilyUnavailable("GitHub's public keys cannot be had. Try again.", retry_after=60) from None
    if key is None or not signed(key, signature, body):
        raise AccessDenied("The signature is not GitHub's.")


def _keys(request: Request[Any, Any, Any], settings: Settings, clock: Clock) -> GithubKeys | None:
    """The keys of this process, made when the first report comes; None where the settings name none."""
    state = request.app.state
    if not settings.github_keys_url and settings.github_keys_file is None:
        return None
    found: GithubKeys | None = state.get("github_keys")
    if found is None:
        outgoing = OutgoingRequests(allow_private=settings.allow_private_urls, timeout=FETCH_TIMEOUT_S)
        found = GithubKeys(settings.github_keys_url, settings.github_keys_file, clock, outgoing)
        state.github_keys = found
    return found


# `POST /leaks/gitlab`: the token revocation API that a GitLab calls about secrets which it detected.

TYPES = tuple(f"gitleaks_rule_id_{type_name(kind).replace('_', '-')}" for kind in Kind)
"""What GitLab calls our kinds: the rule ids of `grantlog leaks rules --format gitleaks`."""

EVERY_KIND = frozenset(kind.value for kind in Kind)


class Detected(msgspec.Struct, frozen=True):
    """A secret that GitLab asks to be ended, and where it was found."""

    type: Text
    token: Text
    location: Text | None = None


Detections = Annotated[list[Detected], Meta(max_length=FINDINGS_AT_MOST)]


class Revocable(msgspec.Struct, frozen=True):
    """The types that may be sent."""

    types: tuple[str, ...]


DETECTED_EXAMPLE = {
    "type": "gitleaks_rule_id_grantlog-access-token",
    "token": "glog_at_…",
    "location": "https://gitlab.example/…",
}


@get("/leaks/gitlab/types", tags=["Leaks"], summary="The types of secrets that GitLab may ask to be ended")
async def types(
    request: Request[Any, Any, Any], settings: Injected[Settings], throttle: Injected[Throttle]
) -> Revocable:
    """`GET /v1/revocable_token_types` of GitLab's token revocation API; the shared token stands in `Authorization`."""
    _require_admission(request, settings, throttle)
    return Revocable(TYPES)


@post(
    "/leaks/gitlab",
    status_code=204,
    opt={"body": Detections, "example": [DETECTED_EXAMPLE]},
    tags=["Leaks"],
    summary="GitLab asks that secrets which it detected be ended",
)
async def gitlab(
    request: Request[Any, Any, Any],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    token_format: Injected[Format],
    throttle: Injected[Throttle],
) -> None:
    """`POST /v1/revoke_tokens` of GitLab's token revocation API: a JSON array. Each secret of ours opens an incident
    and is ended with all that came of it. A repeat changes nothing. An unknown type is a 400, and nothing is done."""
    _require_admission(request, settings, throttle)
    body = await read_body(request.scope, request.receive, settings.list_body_limit)
    encoding(request.scope, JSON_ONLY)
    detected = decode_json(body, Detections)
    for number, each in enumerate(detected):
        if each.type not in TYPES:
            raise InvalidRequest.field(f"[{number}].type", "is none of the types of GET /leaks/gitlab/types")
    findings = [Finding(each.token, each.location or "") for each in detected]
    await take(ledger, token_format, findings, "gitlab", EVERY_KIND, reporter(request, "gitlab"))


def _require_admission(request: Request[Any, Any, Any], settings: Settings, throttle: Throttle) -> None:
    admit(throttle, request.scope, "gitlab")
    expected, given = settings.gitlab_token, header_values(request.scope, b"authorization")
    if not given:
        raise InvalidToken("The token that is shared with GitLab is needed.")
    if not expected:
        raise AccessDenied("This server takes no reports from GitLab.")
    # GitLab sends the bare token; what stands between it and us may insist on a scheme.
    if len(given) != 1 or not same(given[0].removeprefix("Bearer ").strip(), expected):
        raise InvalidToken("The token is not the one that is shared with GitLab.")


ROUTES: list[Any] = [github, types, gitlab]
