"""Initial access tokens (RFC 7591 §1.2): anyone who holds one may register clients."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.admin.bodies.members import Time, time_or_null
from api.admin.idempotency import Once, Reply, commanding
from api.http import parameters
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor, encode_cursor
from api.oauth.bearer import needing
from api.services import Injected
from commands import registering
from domain.event import Moment, Recorded
from domain.registering import initial_access_token
from eventstore import search
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription
from eventstore.view import Folds, View
from projections.event_index import NameKind
from security.clock import format_rfc3339
from security.tokens import Format, Kind, new_id

PATH = "/admin/initial-access-tokens"
TAGS = ["Clients"]


class NewInitialAccessToken(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a token is to be good for."""

    expires_in: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=initial_access_token.LIFETIME_MAXIMUM,
                description="Seconds that the token lives; null is for ever.",
            ),
        ]
        | None
    ) = 86_400
    uses: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=initial_access_token.USES_MAXIMUM,
                description="Clients that may be registered with it; null is any number.",
            ),
        ]
        | None
    ) = 1


class MadeInitialAccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token, which no later answer shows again. `expires_at` and `uses` are null where there is no end."""

    id: str
    initial_access_token: str | None
    expires_at: Time | None
    uses: int | None


EXAMPLE = {
    "id": "7Yt1kQm5VdLw9sRz2XbN7c",
    "initial_access_token": "glog_ia_…",
    "expires_at": "2026-02-01T12:00:00.000000Z",
    "uses": 1,
}


@post(
    PATH,
    **commanding("clients:write", example={"expires_in": 86_400, "uses": 1}, answer=EXAMPLE),
    tags=TAGS,
    summary="Let somebody register clients",
)
async def issue_initial_access_token(
    token_format: Injected[Format],
    once: Injected[Once],
    data: JSONBody[NewInitialAccessToken] = NewInitialAccessToken(),  # noqa: B008 - frozen.
) -> Response[MadeInitialAccessToken]:
    """The answer shows the token, and no later one does. Clients send it to `/oauth/register` (RFC 7591 §3)."""
    token_id, secret = new_id(), token_format.mint(Kind.INITIAL_ACCESS_TOKEN)

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[MadeInitialAccessToken]:
        state: initial_access_token.State = view.state(initial_access_token.stream(token_id))
        body = MadeInitialAccessToken(
            id=token_id,
            initial_access_token=secret.reveal(),
            expires_at=time_or_null(state.expires_at),
            uses=state.left,
        )
        return Reply(body, 201, f"{PATH}/{token_id}")

    command = registering.issue_initial(token_id, secret.hex, lifetime=data.expires_in, uses=data.uses)
    return await once.carry_out(command, reply=reply)


class InitialAccessTokenBody(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without what it is: nobody is shown that again. `uses` are those that are left, null for any number."""

    id: str
    state: initial_access_token.InitialStanding
    created_at: Time
    expires_at: Time | None
    uses: int | None


LISTED = {
    "id": EXAMPLE["id"],
    "state": "active",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "expires_at": EXAMPLE["expires_at"],
    "uses": 1,
}
_CURSOR = "initial_access_tokens"
_ISSUED = ((NameKind.TYPE, initial_access_token.InitialAccessTokenIssued.type.encode()),)


@get(
    PATH,
    **needing("clients:read", answer={"items": [LISTED], "next": None}),
    tags=TAGS,
    summary="List who may register clients",
)
async def list_initial_access_tokens(
    ledger: Injected[Ledger],
    search_index: Injected[CatchUpSubscription],
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[InitialAccessTokenBody]:
    """The newest first, also those that have ended."""
    (before,) = decode_cursor(_CURSOR, after, int) or (None,)
    await search_index.follow()
    high = ledger.changes.position if before is None else before - 1
    return await ledger.look(listed_tokens, high, limit, ledger.clock.now())


def listed_tokens(folds: Folds, high: int, limit: int, now: Moment) -> Page[InitialAccessTokenBody]:
    """A page of those that were issued up to a position."""
    found: list[int] = []
    start: int | None = None
    while len(found) <= limit:
        criteria = search.Criteria((_ISSUED,), 1, high, descending=True)
        part = search.search(folds.connection, criteria, limit + 1 - len(found), start)
        found += part.positions
        if part.resume is None:
            break
        start = part.resume
    told = {each.position: each for each in search.recorded_forms(folds.connection, found[:limit])}
    items = [_listed(folds.state(told[each].stream), told[each], now) for each in found[:limit] if each in told]
    return Page(items, encode_cursor(_CURSOR, (found[limit - 1],)) if len(found) > limit else None)


def _listed(state: initial_access_token.State, issued: Recorded, now: Moment) -> InitialAccessTokenBody:
    return InitialAccessTokenBody(
        id=issued.stream.partition(":")[2],
        state=initial_access_token.standing(state, now),
        created_at=format_rfc3339(issued.time),
        expires_at=time_or_null(state.expires_at),
        uses=state.left,
    )


@delete(
    PATH + "/{token_id:str}", **commanding("clients:write"), tags=TAGS, summary="Let nobody register with it any more"
)
async def revoke_initial_access_token(token_id: parameters.TokenId, once: Injected[Once]) -> Response[None]:
    """Clients that were registered with it stay. A repeat changes nothing."""
    return await once.carry_out(registering.revoke_initial(token_id), reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [list_initial_access_tokens, issue_initial_access_token, revoke_initial_access_token]
