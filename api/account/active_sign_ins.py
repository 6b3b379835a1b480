"""Where a person is signed in: their browser sessions, and their sign-ins at dashboards."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from api.admin.bodies.members import Time
from api.http.parameters import Page, behind, decode_cursor, page
from api.services import Services
from commands.grants import end
from commands.people import end_session
from domain import account, client, session
from domain.decision import NotFound
from domain.event import Moment, Recorded, Sealed
from domain.grant import CONSENTED, GrantEndReason
from domain.grant import State as GrantState
from domain.rules.administrative_scope import CONSOLE
from eventstore.database import Connection
from eventstore.execution import Single, Step
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.search import recorded_forms
from projections import grants, sessions
from security.clock import format_rfc3339

AT_MOST = 1_000
"""Sign-ins of either kind that are told of, the last used first, so that none in use is hidden by others."""

SHOWN = 200
"""Of them on a page."""

CURSOR = "sign-ins"
PASSWORD = "password"  # noqa: S105 - the grant type of dashboards

SignInKind = Literal["browser", "dashboard"]


class RunningSignIn(NamedTuple):
    """A sign-in that still runs, as its place among others is told: at a client, or in a browser where that is None."""

    last_used_at: Moment
    position: int
    id: str
    client_id: str | None
    started_at: Moment


class ActiveSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that still runs. `address` and `user_agent` are those of its beginning, None once nobody can read them
    any more; `position` is where it began, `client_name` the dashboard's."""

    id: str
    kind: SignInKind
    position: int
    client_id: str | None
    client_name: str | None
    address: str | None
    user_agent: str | None
    started_at: Moment
    last_used_at: Moment


class ActiveSignInBody(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that still runs: a browser's session at this server, or one at a dashboard, whose id is its grant's.
    `current` marks the one that asks."""

    id: Annotated[str, Meta(description="What it is ended by.")]
    kind: SignInKind
    client_id: str | None
    client_name: str | None
    ip: Annotated[str | None, Meta(description="Where it began; null once addresses of that time have been forgotten.")]
    user_agent: str | None
    started_at: Time
    last_used_at: Annotated[Time, Meta(description="When it last got something, or its person signed in to it again.")]
    current: bool


def body(place: ActiveSignIn, *, current: str | None = None, personal: bool = True) -> ActiveSignInBody:
    """How it is answered. Without `personal` nobody learns from where it came."""
    return ActiveSignInBody(
        id=place.id,
        kind=place.kind,
        client_id=place.client_id,
        client_name=place.client_name,
        ip=place.address if personal else None,
        user_agent=place.user_agent if personal else None,
        started_at=format_rfc3339(place.started_at),
        last_used_at=format_rfc3339(place.last_used_at),
        current=place.id == current,
    )


async def running(services: Services, account_id: str) -> list[RunningSignIn]:
    """The sign-ins of a person that run, as many as are told of, the last used first."""
    return await _running(services.ledger, account_id, AT_MOST)


async def all_running(services: Services, account_id: str) -> list[RunningSignIn]:
    """All of them, however many they are."""
    return await _running(services.ledger, account_id, None)


async def _running(ledger: Ledger, account_id: str, at_most: int | None) -> list[RunningSignIn]:
    at_dashboards = await ledger.read(grants.living, ledger.clock.now(), account_id, (PASSWORD,), at_most)
    found = await _browsers(ledger, account_id, at_most)
    found += [
        RunningSignIn(each.last_used_at, each.position, each.grant_id, each.client_id, each.started_at)
        for each in at_dashboards
    ]
    return sorted(found, reverse=True)


async def _browsers(ledger: Ledger, account_id: str, at_most: int | None) -> list[RunningSignIn]:
    now = ledger.clock.now()
    person: account.State = await ledger.state(account.stream(account_id))
    used = await ledger.read(grants.used_in_sessions, account_id)
    # What was cut off keeps its row, and to read the state of each, however many they are, would take long.
    rows = [
        row for row in await ledger.read(sessions.of_account, account_id, now) if session.goes_on(row.position, person)
    ]
    # A row says nothing of a later proof of who it is, which alone leaves a session in its place here.
    rows.sort(key=lambda row: max(row.started_at, used.get(row.session_id, 0)), reverse=True)
    found: list[RunningSignIn] = []
    for row in rows:
        state: session.State = await ledger.state(session.stream(row.session_id))
        if session.is_live(state, person, now):
            last_used_at = max(state.proved_at, used.get(row.session_id, 0), state.started_at)
            found.append(RunningSignIn(last_used_at, row.position, row.session_id, None, state.started_at))
        if len(found) == at_most:
            break
    return found


def portion(found: list[RunningSignIn], limit: int, after: str | None) -> Page[RunningSignIn]:
    """Some of a person's sign-ins, and the cursor for what follows them."""
    start = decode_cursor(CURSOR, after, int, int)
    rows = behind(found, start, _place, descending=True)
    return page(rows[: limit + 1], limit, kind=CURSOR, key=_place, item=lambda row: row)


def _place(sign_in: RunningSignIn) -> tuple[int, int]:
    return sign_in.last_used_at, sign_in.position


async def active_sign_ins(services: Services, found: Sequence[RunningSignIn]) -> list[ActiveSignIn]:
    """What a person is shown of these."""
    return [await _shown(services, each) for each in found]


async def _shown(services: Services, place: RunningSignIn) -> ActiveSignIn:
    address, agent = await _origin(services, place.position)
    name = None
    if place.client_id is not None:
        state: client.State = await services.ledger.state(client.stream(place.client_id))
        name = state.client_name
    return ActiveSignIn(
        id=place.id,
        kind="browser" if place.client_id is None else "dashboard",
        position=place.position,
        client_id=place.client_id,
        client_name=name,
        address=address,
        user_agent=agent,
        started_at=place.started_at,
        last_used_at=place.last_used_at,
    )


async def _origin(services: Services, position: int) -> tuple[str | None, str | None]:
    return await services.ledger.read(_opened, services.ledger.privacy, position)


def _opened(connection: Connection, privacy: PersonalData, position: int) -> tuple[str | None, str | None]:
    for recorded in recorded_forms(connection, (position,)):
        return _clear(connection, privacy, recorded, "ip"), _clear(connection, privacy, recorded, "user_agent")
    return None, None


def _clear(connection: Connection, privacy: PersonalData, recorded: Recorded, field: str) -> str | None:
    text: str | None = getattr(recorded, field)
    return None if text is None else privacy.show(connection, Sealed(recorded.id, field, text))


async def ending(
    services: Services, account_id: str, place_id: str, *, by_administrator: bool
) -> tuple[Single, *tuple[Step, ...]] | NotFound:
    """What ends a person's sign-in, of a browser with what the console was given there; `NotFound` where it is not one
    of theirs. One that is over may be ended again."""
    reason: GrantEndReason = "administrator" if by_administrator else "logout"
    state: session.State = await services.ledger.state(session.stream(place_id))
    if state.exists and state.account_id == account_id:
        at_console = await services.ledger.read(_at_console, services.ledger.clock.now(), account_id, place_id)
        ended = end_session(place_id, "administrator" if by_administrator else "signed_out")
        return ended, *(end(each, reason) for each in at_console)
    granted: GrantState = await services.ledger.state(f"grant:{place_id}")
    if granted.exists and granted.account_id == account_id and granted.grant_type == PASSWORD:
        return (end(place_id, reason),)
    return NotFound.UNKNOWN


def _at_console(connection: Connection, now: Moment, account_id: str, session_id: str) -> list[str]:
    given = grants.living(connection, now, account_id, CONSENTED, None)
    return [each.grant_id for each in given if each.client_id == CONSOLE and each.session_id == session_id]
