"""Which streams have ended, so that nothing more comes of what stands there: by their own events, and by time."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection

from domain import account, audit, session
from domain.account import AccountErased
from domain.consent import stream as consent_stream
from domain.event import SECOND, Moment, Recorded
from domain.events import category
from domain.grant import GrantEnded
from eventstore import issued
from eventstore.issued import IssuanceRecord
from eventstore.recorder import store
from eventstore.unavailable import Forged
from security.clock import parse_rfc3339

DAY: Moment = 24 * 60 * 60 * SECOND

_HEX = frozenset("0123456789abcdef")


class Issuances:
    """Who issued the tokens whose uses are looked at: mostly events that are looked at as well, so that few are to be
    asked for, and those together."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._known: dict[bytes, IssuanceRecord] = {}

    def note(self, told: Iterable[Recorded]) -> None:
        """Remembers what these events issued."""
        for recorded in told:
            for each in issued.all_of(recorded):
                self._known[bytes.fromhex(each.sha256)] = each

    def ask(self, digests: Iterable[bytes]) -> None:
        """Looks for tokens that no such event issued, all at once. Raises `ArchiveAway`."""
        missing = [each for each in digests if each not in self._known]
        try:
            self._known |= issued.find_all(self.connection, missing)
        except Forged:
            # One by one they are found but for that one.
            return

    def of(self, digest: bytes) -> IssuanceRecord | None:
        """The secret with this digest. Raises `Forged` and `ArchiveAway`."""
        return self._known.get(digest) or issued.find(self.connection, digest)


HasEnded = Callable[[Issuances, Sequence[Recorded], Moment], bool]
"""(where tokens were issued, all events of a stream, moment) → whether the stream had ended by then."""


def _grant(_: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    """Over, or everything that it gave out has expired; what ended with others in a set waits until it has."""
    if any(isinstance(each.event, GrantEnded) for each in told):
        return True
    return all(_is_past(secret.expires_at, moment) for each in told for secret in issued.all_of(each))


def _session(_: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    state: session.State = session.INITIAL
    for each in told:
        state = session.evolve(state, each)
    return state.ended or state.expires < moment


def token_of(stream: str) -> bytes | None:
    """The digest of the token, or other secret, whose uses a stream has; None for other streams."""
    own, _, subject = stream.partition(":")
    if own != "usage" or len(subject) != 64 or not _HEX.issuperset(subject):
        return None
    return bytes.fromhex(subject)


def _usage(issuances: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    """The uses of a token that has expired. Those of a client's secret stay with the client."""
    token = token_of(told[0].stream)
    found = None if token is None else issuances.of(token)
    return found is not None and found.kind != "client_secret" and _is_past(found.expires_at, moment)


def _audit(_: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    """A day that is over, with all that was opened on it closed, or left open for a day."""
    state: audit.State = audit.INITIAL
    for each in told:
        state = audit.evolve(state, each)
    try:
        end = parse_rfc3339(f"{told[0].stream.partition(':')[2]}T00:00:00Z") + DAY
    except ValueError:
        return False
    return end <= moment and (state.opened == state.closed or end + DAY <= moment)


def _account(_: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    return any(isinstance(each.event, AccountErased) for each in told)


def _consent(issuances: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    """Those of people who were erased."""
    account_id, client_id = told[0].stream.split(":")[1:]
    if told[0].stream != consent_stream(account_id, client_id):
        return False
    person = [*store(issuances.connection).get(account.stream(account_id))]
    return bool(person) and person[-1].time < moment and _account(issuances, person, moment)


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


def has_ended(issuances: Issuances, told: Sequence[Recorded], moment: Moment) -> bool:
    """Whether a stream, by all of its events, had ended by a moment, with nothing recorded there since."""
    return told[-1].time < moment and ENDING[category(told[0].stream)](issuances, told, moment)
