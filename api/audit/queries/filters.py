"""Which events are asked for: the filters of the search and of the export, alike."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from api.audit.queries.auditor import Auditor
from api.audit.rendering import BY_TAG
from api.http.errors import InvalidRequest
from api.http.request_context import normalise
from domain.event import Moment
from domain.rules import registration
from eventstore import present, search, time_travel
from eventstore.database import Connection
from eventstore.mapper import UPCASTS
from eventstore.personal_data import PersonalData, address_key
from eventstore.search import Criteria, Name
from eventstore.view import Folds
from projections.event_index import NameKind
from security.clock import parse_rfc3339

LONGEST_ID = 128
TYPES_AT_MOST = 32
POSITION_MAXIMUM = 2**53 - 1

_PATTERN = re.compile(r"[a-z_]+(?:\.[a-z_]+|\.\*)")
_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")

Order = Literal["asc", "desc"]


class Filters(NamedTuple):
    """What is asked for. `asked` is the same as text, for the record; the address is kept apart from it."""

    types: tuple[str, ...]
    names: tuple[tuple[NameKind, str], ...]
    address: str | None
    since: Moment | None
    until: Moment | None
    first: int
    order: Order
    asked: dict[str, str | None]
    login: Mapping[present.Login, str]
    with_names: bool

    @property
    def needs_index(self) -> bool:
        return bool(self.types or self.names or self.login or self.address is not None)

    def people(self, folds: Folds, privacy: PersonalData) -> tuple[str, ...]:
        """The ids of those who have these login names now, one in each realm at most; none where nobody has."""
        found = []
        for realm in registration.REALMS:
            matches = {
                None if person is None else person.account_id
                for field, text in self.login.items()
                for person in (present.person_by_login(folds, privacy, field, realm, text),)
            }
            found += [each for each in matches if each is not None and len(matches) == 1]
        return tuple(found)

    def criteria(
        self, connection: Connection, privacy: PersonalData, head: int, whose: tuple[str, ...] | None = None
    ) -> Criteria:
        """The same for the log up to `head`. `whose` are the people with its login names, if it has any."""
        named: list[tuple[Name, ...]] = [((kind, value.encode()),) for kind, value in self.names]
        if self.types:
            named.append(tuple((NameKind.TYPE, tag.encode()) for tag in self.types))
        if whose is not None:
            named.append(tuple((NameKind.ACCOUNT, each.encode()) for each in whose))
        if self.address is not None:
            named.append(((NameKind.ADDRESS, address_key(privacy, self.address)),))
        low, high = self.first, head
        if self.since is not None:
            low = max(low, search.first_at(connection, self.since, head))
        if self.until is not None:
            high = min(high, search.first_at(connection, self.until, head) - 1)
        return Criteria(tuple(named), low, high, self.order == "desc")


def read_filters(
    *,
    types: Sequence[str] | None = None,
    client_id: str | None = None,
    account_id: str | None = None,
    grant_id: str | None = None,
    secret_id: str | None = None,
    username: str | None = None,
    email: str | None = None,
    ip: str | None = None,
    request_id: str | None = None,
    since: str | None = None,
    until: str | None = None,
    first: int | None = None,
    order: Order = "asc",
    names: bool = False,
) -> Filters:
    """The filters that these words stand for. Raises Invalid with the parameter at fault."""
    given = {
        "client_id": client_id,
        "account_id": account_id,
        "grant_id": grant_id,
        "secret_id": secret_id,
        "request_id": request_id,
    }
    logins: dict[present.Login, str | None] = {"username": username, "email": email}
    asked: dict[str, str | None] = {
        "type": None if types is None else ",".join(types),
        **given,
        "since": since,
        "until": until,
        "from": None if first is None else str(first),
        "order": order,
        "names": "1" if names else None,
    }
    return Filters(
        _types(types),
        tuple((_KINDS[name], _checked(name, value)) for name, value in given.items() if value is not None),
        None if ip is None else _address(ip),
        moment("since", since),
        moment("until", until),
        1 if first is None else position("from", first),
        order,
        asked,
        {field: text for field, text in logins.items() if text is not None},
        names,
    )


_KINDS = {
    "client_id": NameKind.CLIENT,
    "account_id": NameKind.ACCOUNT,
    "grant_id": NameKind.GRANT,
    "secret_id": NameKind.SECRET,
    "request_id": NameKind.REQUEST,
}


def moment(field: str, text: str | None) -> Moment | None:
    """An RFC 3339 time of a request. A `+` that became a blank on its way through a query is a plus again."""
    if text is None:
        return None
    try:
        return parse_rfc3339(text[:-6] + "+" + text[-5:] if text[-6:-5] == " " else text)
    except ValueError:
        raise InvalidRequest.field(field, "must be an RFC 3339 date-time such as 2026-01-31T12:00:00Z") from None


def position(field: str, value: int) -> int:
    """A position of the log. Checked here, because the framework would name the parameter by another name."""
    if not 1 <= value <= POSITION_MAXIMUM:
        raise InvalidRequest.field(field, "must be a position of the log, 1 or more")
    return value


def _address(ip: str) -> str:
    """The address that is searched for."""
    address = normalise(ip)
    if address is None:
        raise InvalidRequest.field("ip", "must be an IP address")
    return address


def _checked(name: str, value: str) -> str:
    if _ID.fullmatch(value) is None:
        raise InvalidRequest.field(name, "is no id")
    return value


def _types(patterns: Sequence[str] | None) -> tuple[str, ...]:
    """The types that the patterns stand for; one that matches none is kept, and finds nothing."""
    if patterns is None:
        return ()
    if len(patterns) > TYPES_AT_MOST:
        raise InvalidRequest.field("type", f"may be repeated {TYPES_AT_MOST} times")
    found: dict[str, None] = {}
    for pattern in patterns:
        if len(pattern) > LONGEST_ID or _PATTERN.fullmatch(pattern) is None:
            raise InvalidRequest.field("type", "must be a type such as grant.ended, or a pattern such as grant.*")
        prefix = pattern.removesuffix("*")
        matching = [tag for tag in (*BY_TAG, *UPCASTS) if tag.startswith(prefix)] if prefix != pattern else [pattern]
        found |= dict.fromkeys(matching or [pattern])
    return tuple(found)


# Where in the past a question looks: at a moment, or at a position of the log.


class Point(NamedTuple):
    """The log up to `position`, looked at when the clock showed `at`."""

    position: int
    at: Moment


async def point(asking: Auditor, at: str | None, position: int | None) -> Point:
    """The point that was asked for: a moment means everything up to it, that very microsecond included.

    A position alone means the moment of its event; both together, the log at that position with the clock at that
    moment; neither, now.
    """
    chosen, ledger = moment("at", at), asking.sources.ledger
    if chosen is not None and position is None and (await ledger.head())[1] <= chosen:
        # Events get the time at which their transaction began. One that began before this moment and is not committed
        # yet would change the answer; it holds the log's lock, so that whoever has that next has nothing to fear.
        await ledger.maintain(_nothing)
    await ledger.settled()
    return await ledger.read(_point, ledger.changes.position, chosen, position, asking.now)


def _nothing(_: Connection) -> None:
    """Upkeep that does nothing, in turn with the commands."""


def _point(connection: Connection, head: int, at: Moment | None, position: int | None, now: Moment) -> Point:
    if position is not None:
        state = search.stored(connection, position)
        if state is None or position > head:
            raise InvalidRequest.field("position", "is beyond the newest event")
        time = search.time_of(state)
        if at is not None and at < time:
            raise InvalidRequest.field("at", "is before the event at this position")
        return Point(position, time if at is None else at)
    if at is None:
        return Point(head, now)
    return Point(time_travel.position_at(connection, at, head), at)
