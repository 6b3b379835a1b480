"""Questions about the log: which events there are, and what a token, a secret or an aggregate was."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from api.audit.filters import FILTERED, READ, REPEATABLE, WithNames
from api.audit.queries import differences, pasted_text
from api.audit.queries import history as answering
from api.audit.queries.auditor import Auditor
from api.audit.queries.differences import Diff
from api.audit.queries.grounds import GroundedEvent, grounded
from api.audit.queries.history import RawSecret, Sha256, StateShown, TokenHistory, TokenState, state_of
from api.audit.queries.pasted_text import FoundName
from api.audit.queries.search import Filters, page, show
from api.audit.rendering import ShownEvent, unsealed
from api.http.errors import Missing
from api.http.parameters import DEFAULT, After, Limit, Page, spelled
from api.oauth.bearer import needing
from api.services import Injected

# Searching the log (`GET /audit/events`) and looking at one event of it.

EVENT_EXAMPLE = {
    "position": 4711,
    "id": "6Qd0xwzq7Zy1mYw8sVbN2c",
    "type": "grant.ended",
    "stream": "grant:2Yt0kQm4VdLw8sRz1XbN6c",
    "version": 4,
    "time": "2026-01-31T12:00:00.000000Z",
    "actor": {"kind": "person", "id": "5Hc9pTn3WfKe7uJx0ZaQ4r", "credential": {"grant_id": "2Yt0kQm4VdLw8sRz1XbN6c"}},
    "request_id": "7nXq2VbT0cLhR5dKw9PzEs",
    "ip": None,
    "user_agent": None,
    "data": {"reason": "person"},
    "sealed": ["ip", "user_agent"],
    "erased": [],
    "meaning": "The grant ended with all its tokens: the person withdrew it.",
}


@get(
    "/audit/events",
    **needing(READ, repeatable=REPEATABLE, answer={"items": [EVENT_EXAMPLE], "next": None}),
    dependencies=FILTERED,
    tags=["Audit"],
    summary="Search the log",
)
async def events(
    asking: Injected[Auditor], given: NamedDependency[Filters], limit: Limit = DEFAULT, after: After = None
) -> Page[ShownEvent]:
    """Events that match every filter. A list covers the log as it stood when its first page was asked for."""
    return await page(asking, given, limit, after)


WithGround = Annotated[
    Literal["0", "1"],
    QueryParameter(name="ground", description="`1`: with `ground`, what its actor held then, and what had given it."),
]


@get("/audit/events/{position:int}", **needing(READ, answer=EVENT_EXAMPLE), tags=["Audit"], summary="One event")
async def event(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    position: Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="Its place in the log.")],
    named: WithNames = "0",
    ground: WithGround = "0",
) -> GroundedEvent:
    """The event at a position; 404 beyond the head."""
    spelled(request.scope["path"], position)
    await asking.sources.ledger.settled()
    shown = await asking.sources.ledger.read(show, asking, [position], names=named == "1")
    await asking.record(
        "event", {"position": str(position)}, len(shown), unsealed=any(unsealed(each) for each in shown)
    )
    if not shown:
        raise Missing("The log has no event at this position.")
    return await asking.sources.ledger.read(grounded, shown[0], wanted=ground == "1")


# Any aggregate as it was (`GET /audit/state/{stream}`).

LONGEST_STREAM = 300

At = Annotated[
    str | None, QueryParameter(name="at", max_length=64, description="RFC 3339; that very microsecond is included.")
]
Position = Annotated[
    int | None, QueryParameter(name="position", ge=1, le=2**53 - 1, description="When this was the newest event.")
]
Stream = Annotated[str, PathParameter(max_length=LONGEST_STREAM, description="A stream, as events name it.")]

STATE_EXAMPLE = {
    "stream": "scope:profile",
    "version": 1,
    "as_of_position": 4725,
    "state": {"exists": True, "name": "profile", "description": "See your name"},
    "sealed": [],
    "erased": [],
    "meaning": None,
}


@get(
    "/audit/state/{stream:path}",
    **needing(READ, answer=STATE_EXAMPLE),
    tags=["Audit"],
    summary="An aggregate as it was",
)
async def state(asking: Injected[Auditor], stream: Stream, at: At = None, position: Position = None) -> StateShown:
    """The fold of a stream at a moment or a position; 404 when the stream has no events at all, before or after."""
    return await state_of(asking, stream.removeprefix("/"), at, position)


# All that ever happened with a token, code or secret (`POST /audit/token-history`).


class TokenHistoryQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Exactly one of them."""

    token: RawSecret | None = None
    sha256: Sha256 | None = None
    id: (
        Annotated[
            str,
            Meta(
                pattern="^[0-9A-Za-z]{1,32}$",
                max_length=32,
                description="A token's `jti`, or the id of a grant, a session or a client secret version.",
            ),
        ]
        | None
    ) = None


HISTORY_EXAMPLE = {
    "kind": "access",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "state": "grant_ended",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "secret": {"id": "8Wq3nBz5MhCy2tLv9RdK7x", "version": 2},
    "account_id": "5Hc9pTn3WfKe7uJx0ZaQ4r",
    "grant_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "scope": "profile catalog:read",
    "issued_at": "2026-01-31T11:00:00.000000Z",
    "expires_at": "2026-01-31T11:10:00.000000Z",
    "events": [EVENT_EXAMPLE],
    "consent": {"scope": ["profile"], "given_at": "2026-01-31T10:59:00.000000Z", "position": 4700},
    "sign_in": {
        "session_id": "8Wq3nBz5MhCy2tLv9RdK7x",
        "at": "2026-01-31T10:58:00.000000Z",
        "amr": ["pwd"],
        "position": 4699,
    },
    "uses": {
        "count": 3,
        "after_end": 0,
        "refused": 0,
        "first_at": "2026-01-31T11:01:00.000000Z",
        "last_at": "2026-01-31T11:05:00.000000Z",
    },
    "standing": {
        "token": [
            {
                "state": "active",
                "from": "2026-01-31T11:00:00.000000Z",
                "to": "2026-01-31T11:05:30.000000Z",
                "position": 4705,
            },
            {"state": "grant_ended", "from": "2026-01-31T11:05:30.000000Z", "to": None, "position": 4711},
        ],
        "secret": [{"state": "active", "from": "2026-01-30T09:00:00.000000Z", "to": None, "position": 4600}],
        "client": [{"state": "enabled", "from": "2026-01-30T09:00:00.000000Z", "to": None, "position": 4599}],
        "person": [{"state": "enabled", "from": "2026-01-30T09:00:00.000000Z", "to": None, "position": 4598}],
    },
}


@post(
    "/audit/token-history",
    status_code=200,
    **needing(READ, example={"sha256": HISTORY_EXAMPLE["sha256"]}, answer=HISTORY_EXAMPLE),
    tags=["Audit"],
    summary="The history of a token, code or secret",
)
async def token_history(
    asking: Injected[Auditor], data: JSONBody[TokenHistoryQuestion], names: WithNames = "0"
) -> TokenHistory:
    """From the ground that it stands on through every event of its grant, and those of others that decided about it, to
    its last use; for tokens long gone too. Unknown: 404."""
    return await answering.token_history(asking, data.token, data.sha256, data.id, names=names == "1")


# Was this token valid at that moment, and why (`POST /audit/token-state`).


class TokenStateQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Either `token` or `sha256`; `at` and `position` are the point in the past, and without both it is now."""

    token: RawSecret | None = None
    sha256: Sha256 | None = None
    at: Annotated[str, Meta(max_length=64, description="RFC 3339; that very microsecond is included.")] | None = None
    position: (
        Annotated[int, Meta(ge=1, le=2**53 - 1, description="The log as it stood when this was its newest event.")]
        | None
    ) = None


TOKEN_STATE_EXAMPLE = {
    "active": False,
    "reason": "revoked",
    "kind": "access",
    "decided_by": [4711],
    "at": "2026-01-31T14:02:07.000000Z",
    "as_of_position": 4725,
    "offline_until": None,
}


@post(
    "/audit/token-state",
    status_code=200,
    **needing(
        READ,
        example={"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        answer=TOKEN_STATE_EXAMPLE,
    ),
    tags=["Audit"],
    summary="Whether a token was valid at a moment, and why",
)
async def token_state(asking: Injected[Auditor], data: JSONBody[TokenStateQuestion]) -> TokenState:
    """Judges the token by the log as it stood. At the recorded instant of its revocation it is already revoked."""
    return await answering.token_state(asking, data.token, data.sha256, data.at, data.position)


# What a pasted text names (`POST /audit/find`).


class FindQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Any text."""

    text: Annotated[str, Meta(min_length=1, max_length=pasted_text.LONGEST, description="Only digests of it are kept.")]


class FoundNames(msgspec.Struct, frozen=True):
    """Each name once."""

    items: list[FoundName]


FIND_EXAMPLE = {"items": [{"kind": "client", "id": "2Yt0kQm4VdLw8sRz1XbN6c", "label": "Photo Prints"}]}


@post(
    "/audit/find",
    status_code=200,
    **needing(READ, example={"text": "2Yt0kQm4VdLw8sRz1XbN6c"}, answer=FIND_EXAMPLE, lists=True),
    tags=["Audit"],
    summary="What a pasted text names",
)
async def find(asking: Injected[Auditor], data: JSONBody[FindQuestion]) -> FoundNames:
    """Secrets, digests, ids, a position, the name of a client, and with `audit:personal` usernames and e-mail
    addresses, which are found whole or not at all. Only digests of secrets are kept, and nothing of the text."""
    return FoundNames(await pasted_text.find(asking, data.text))


# What changed between two moments (`GET /audit/diff/{stream}`).

DiffFrom = Annotated[
    str | None,
    QueryParameter(name="from", max_length=64, description="RFC 3339, or a position; the beginning without it."),
]
DiffTo = Annotated[
    str | None, QueryParameter(name="to", max_length=64, description="RFC 3339, or a position; now without it.")
]

DIFF_EXAMPLE = {
    "stream": "scope:profile",
    "from": 0,
    "to": "2026-01-31T12:00:00.000000Z",
    "changes": [{"path": "state.description", "before": "", "after": "See your name"}],
    "sealed": [],
    "erased": [],
}


@get(
    "/audit/diff/{stream:path}",
    **needing(READ, answer=DIFF_EXAMPLE),
    tags=["Audit"],
    summary="What changed of an aggregate between two moments",
)
async def diff(asking: Injected[Auditor], stream: Stream, since: DiffFrom = None, until: DiffTo = None) -> Diff:
    """Each member of its state that is not what it was; 404 when the stream has no events at all."""
    return await differences.diff(asking, stream.removeprefix("/"), since, until)


ROUTES: list[Any] = [events, event, state, token_history, token_state, find, diff]
