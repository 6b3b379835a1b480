"""The keys that sign tokens: which there are, and how others take their place."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.admin.bodies.members import Time, time_or_null
from api.admin.idempotency import Once, Reply, commanding
from api.config.settings import Settings
from api.http.parameters import After, AtMost, Page, part
from api.oauth.bearer import needing
from api.services import Injected
from commands import signing_keys as commands
from domain.event import Recorded
from domain.keys import signing_key
from domain.rules.client_metadata import SigningAlgorithm
from eventstore.ledger import Ledger
from eventstore.view import View
from security.clock import format_rfc3339

PATH = "/admin/keys"
TAGS = ["Signing keys"]
EXAMPLE: dict[str, Any] = {
    "kid": "C0vnCNaUfC7Pueb707bjs0yO_pHhes7wcgkUqMHxUAE",
    "alg": "RS256",
    "state": "active",
    "introduced_at": "2026-01-30T12:00:00.000000Z",
    "activates_at": "2026-01-31T12:00:00.000000Z",
    "activated_at": "2026-01-31T12:00:04.000000Z",
    "retires_at": None,
    "ended_at": None,
    "exposed_at": None,
}
ANSWER = {"items": [EXAMPLE], "next": None}


class KeyRotation(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How the keys are rotated."""

    compromised: Annotated[
        bool,
        Meta(description="They are in other hands: the present ones are revoked now, and new ones sign at once."),
    ] = False


class KeyBody(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs tokens, or will, or did. Its public half is at `/.well-known/jwks.json` until it has ended."""

    kid: str
    alg: SigningAlgorithm
    state: Literal["introduced", "active", "superseded", "retired", "revoked"]
    introduced_at: Time
    activates_at: Annotated[str, Meta(description="When it is to sign, at the earliest.")]
    activated_at: Time | None
    retires_at: Annotated[str | None, Meta(description="When a superseded key is published no longer.")]
    ended_at: Annotated[str | None, Meta(description="When it was retired or revoked.")]
    exposed_at: Annotated[str | None, Meta(description="When its private half was found in a text that was pasted.")]


@get(PATH, **needing("keys:read", answer=ANSWER), tags=TAGS, summary="List the signing keys")
async def list_keys(ledger: Injected[Ledger], limit: AtMost = None, after: After = None) -> Page[KeyBody]:
    """The newest first, those that have ended included."""
    every = listed(await ledger.state(signing_key.STREAM)).items
    return part(every, limit, after, kind="keys", name=lambda each: each.kid)


@post(
    f"{PATH}/rotate",
    **commanding("keys:write", recent=True, example={"compromised": False}, answer=ANSWER),
    status_code=200,
    tags=TAGS,
    summary="Rotate the signing keys",
)
async def rotate_keys(
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    once: Injected[Once],
    data: JSONBody[KeyRotation] = KeyRotation(),  # noqa: B008 - frozen.
) -> Response[Page[KeyBody]]:
    """Publishes a key for every algorithm, which signs once those who verify have had the time to learn of it."""
    if (answer := await once.first_answer()) is not None:
        return answer
    made = await commands.make()
    keep = commands.keeping(ledger.vault, made)

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[Page[KeyBody]]:
        keep(view, recorded)
        return Reply(listed(view.state(signing_key.STREAM)))

    command = commands.compromise(made) if data.compromised else commands.rotate(made, settings.signing_key_lead)
    return await once.carry_out(command, reply=reply)


def listed(state: signing_key.State) -> Page[KeyBody]:
    """Every key, the newest first."""
    return Page([_body(key_id, key) for key_id, key in reversed(state.keys.items())], None)


def _body(key_id: str, key: signing_key.SigningKey) -> KeyBody:
    return KeyBody(
        kid=key_id,
        alg=key.algorithm,
        state=key.standing,
        introduced_at=format_rfc3339(key.introduced_at),
        activates_at=format_rfc3339(key.activates_at),
        activated_at=time_or_null(key.activated_at),
        retires_at=time_or_null(key.retires_at),
        ended_at=time_or_null(key.ended_at),
        exposed_at=time_or_null(key.exposed_at),
    )


ROUTES: list[Any] = [list_keys, rotate_keys]
