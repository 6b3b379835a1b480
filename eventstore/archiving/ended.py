"""Which streams have ended, so that nothing more comes of what stands there: by their own events, and by time."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from domain import account, audit, session
from domain.account import AccountErased
from domain.consent import stream as consent_stream
from domain.event import SECOND, Moment, Recorded
from domain.events import category
from domain.grant import GrantEnded
from eventstore import issued
from eventstore.recorder import store
from security.clock import parse_rfc3339

HasEnded = Callable[[Connection, Sequence[Recorded], Moment], bool]
"""(connection, all events of a stream, moment) → whether the stream had ended by then."""

DAY: Moment = 24 * 60 * 60 * SECOND

_HEX = frozenset("0123456789abcdef")


def _grant(_: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    """Over, or everything that it gave out has expired; what ended with others in a set waits until it has."""
    if any(isinstance(each.event, GrantEnded) for each in told):
        return True
    return all(_is_past(secret.expires_at, moment) for each in told for secret in issued.all_of(each))


def _session(_: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    state: session.State = session.INITIAL
    for each in told:
        state = session.evolve(state, each)
    return state.ended or state.expires < moment


def _usage(connection: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    """The uses of a token that has expired. Those of a client's secret stay with the client."""
    subject = told[0].stream.partition(":")[2]
    if len(subject) != 64 or not _HEX.issuperset(subject):
        return False
    found = issued.find(connection, bytes.fromhex(subject))
    return found is not None and found.kind != "client_secret" and _is_past(found.expires_at, moment)


def _audit(_: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    """A day that is over, with all that was opened on it closed, or left open for a day."""
    state: audit.State = audit.INITIAL
    for each in told:
        state = audit.evolve(state, each)
    try:
        end = parse_rfc3339(f"{told[0].stream.partition(':')[2]}T00:00:00Z") + DAY
    except ValueError:
        return False
    return end <= moment and (state.opened == state.closed or end + DAY <= moment)


def _account(_: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    return any(isinstance(each.event, AccountErased) for each in told)


def _consent(connection: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    """Those of people who were erased."""
    account_id, client_id = told[0].stream.split(":")[1:]
    if told[0].stream != consent_stream(account_id, client_id):
        return False
    person = [*store(connection).get(account.stream(account_id))]
    return bool(person) and person[-1].time < moment and _account(connection, person, moment)


def _is_past(expires_at: Moment | None, moment: Moment) -> bool:
    return expires_at is not None and expires_at < moment


ENDING: Mapping[str, HasEnded] = {
    "grant": _grant,
    "session": _session,
    "usage": _usage,
    "audit": _audit,
    "account": _account,
    "consent": _consent,
}
"""By the category of a stream. Clients, roles, scopes, keys, incidents and what is settled for a realm never end."""


def may_end(stream: str) -> bool:
    """Whether such a stream can ever be over."""
    return category(stream) in ENDING


def has_ended(connection: Connection, told: Sequence[Recorded], moment: Moment) -> bool:
    """Whether a stream, by all of its events, had ended by a moment, with nothing recorded there since."""
    return told[-1].time < moment and ENDING[category(told[0].stream)](connection, told, moment)
