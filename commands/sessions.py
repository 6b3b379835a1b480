"""What follows the end of browser sessions: which clients are to be told, and what came of telling them."""

from collections.abc import Iterable

from msgspec.structs import replace

from domain import account, client, grant, session
from domain.event import Recorded
from domain.rules.built_in_scope import OPENID
from domain.session import LogoutFailure
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.search import recorded_at
from eventstore.time_travel import FoldOf, states_at
from projections import logout_notices, session_grants
from projections.logout_notices import Notice
from projections.session_grants import SessionGrant

# Which sessions an event ended, and which clients know of them: what the log says, event by event.


def notices(connection: Connection, position: int) -> list[Notice]:
    """Whom to tell of what ended with the event at a position: each client of OpenID Connect once for each session."""
    recorded = recorded_at(connection, position)
    if recorded is None or not isinstance(recorded.event, logout_notices.HANDLES):
        return []
    before, after = states_at(connection, position - 1), states_at(connection, position)
    ended: dict[str, bool] = {}
    found: dict[Notice, None] = {}
    for each in _grants(connection, recorded):
        if each.session_id not in ended:
            ended[each.session_id] = _has_ended(each.session_id, before, after, recorded)
        if ended[each.session_id] and _came_of(each, after) and _wants_to_know(after, each.client_id):
            found[Notice(each.session_id, each.client_id)] = None
    return list(found)


def _grants(connection: Connection, recorded: Recorded) -> Iterable[SessionGrant]:
    category, _, name = recorded.stream.partition(":")
    if category == "session":
        return session_grants.of_session(connection, name)
    return session_grants.of_account(connection, name, recorded.time)


def _has_ended(session_id: str, before: FoldOf, after: FoldOf, recorded: Recorded) -> bool:
    """Whether the session went on until this very event."""
    stream = session.stream(session_id)
    then: session.State = before(stream)
    if then.ended_together is not None:
        # It ended with others by one event about all of them, and its own stream tells of it only now.
        then = replace(then, ended=False)
    person = account.stream(then.account_id)
    return session.is_live(then, before(person), recorded.time) and not session.is_live(
        after(stream), after(person), recorded.time
    )


def _came_of(row: SessionGrant, after: FoldOf) -> bool:
    state: grant.State = after(f"grant:{row.grant_id}")
    return (state.session_id, state.client_id) == (row.session_id, row.client_id) and OPENID in state.scope


def _wants_to_know(after: FoldOf, client_id: str) -> bool:
    state: client.State = after(client.stream(client_id))
    return client.alive(state) and state.backchannel_logout_uri is not None


# What came of telling them.


def note_logout_delivered(session_id: str, client_id: str, attempts: int) -> Command[session.State]:
    """Records that a client was told, at the attempt of this number."""
    return Command(
        session.stream(session_id),
        lambda state, view: session.note_logout_delivered(state, now=view.now, client_id=client_id, attempts=attempts),
    )


def note_logout_failed(
    session_id: str,
    client_id: str,
    attempts: int,
    reason: LogoutFailure,
    *,
    status: int | None = None,
    final: bool,
) -> Command[session.State]:
    """Records that a client could not be told: the first time, and when it is given up."""
    return Command(
        session.stream(session_id),
        lambda state, view: session.note_logout_failed(
            state, now=view.now, client_id=client_id, attempts=attempts, reason=reason, status=status, final=final
        ),
    )
