"""`POST /leaks/gitlab`: the token revocation API that a GitLab calls about secrets which it detected."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from msgspec import Meta

from api.config.settings import Settings
from api.http.bodies import Encoding, decode_json, encoding, read_body
from api.http.errors import AccessDenied, InvalidRequest, InvalidToken
from api.http.request_context import header_values
from api.leaks.reports import FINDINGS_AT_MOST, Finding, reporter, take
from api.services import Injected
from api.throttling.admission import admit
from api.throttling.throttle import Throttle
from eventstore.ledger import Ledger
from security.scanning import type_name
from security.tokens import Format, Kind, same

JSON_ONLY: tuple[Encoding, ...] = ("json",)

Text = Annotated[str, Meta(max_length=4_000)]

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


EXAMPLE = {
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
    opt={"body": Detections, "example": [EXAMPLE]},
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
    and is ended with all that came of it. A repeat changes nothing. An unknown type is a 400, and nothing is done.
    """
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


ROUTES: list[Any] = [types, gitlab]
