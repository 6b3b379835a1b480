"""Which events are asked for, by the search and the export alike, and finding them, page by page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Literal, NamedTuple

from api.audit.ocsf import FAILURES
from api.audit.queries.auditor import Auditor
from api.audit.queries.event_conditions import EventConditions
from api.audit.rendering import BY_TAG, Rendering, ShownEvent, unsealed
from api.http.errors import InvalidRequest, TemporarilyUnavailable
from api.http.parameters import Page, decode_cursor, encode_cursor
from api.http.request_context import normalise
from domain.event import Moment
from eventstore import present, search, time_travel
from eventstore.database import Connection
from eventstore.mapper import UPCASTS
from eventstore.personal_data import PersonalData, address_key
from eventstore.projecting import requests
from eventstore.search import Criteria, SearchName
from eventstore.view import Folds
from projections.event_index import NameKind
from security.clock import parse_rfc3339

LONGEST_ID = 128
EACH_AT_MOST = 32
"""Values that one filter may have."""

POSITION_MAXIMUM = 2**53 - 1

_PATTERN = re.compile(r"[a-z_]+(?:\.[a-z_]+|\.\*)")
_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")

Order = Literal["asc", "desc"]
EventOutcome = Literal["success", "failure"]
"""What an event tells of, as its OCSF record says in `status`."""

_KINDS: Mapping[str, NameKind] = {
    "client_id": NameKind.CLIENT,
    "account_id": NameKind.ACCOUNT,
    "grant_id": NameKind.GRANT,
    "secret_id": NameKind.SECRET,
    "incident_id": NameKind.INCIDENT,
    "request_id": NameKind.REQUEST,
    "by_account_id": NameKind.ACCOUNT,
    "about_account_id": NameKind.ACCOUNT,
    "by_client_id": NameKind.CLIENT,
}
"""Filters by an id, and what the index calls that. Events that are found so have to pass `EventConditions` too."""


class Filters(NamedTuple):
    """What is asked for: events that have one value of each filter. `asked` is the same as text, for the record; the
    addresses are kept apart from it."""

    types: tuple[str, ...]
    ids: Mapping[str, tuple[str, ...]]
    addresses: tuple[str, ...]
    conditions: EventConditions
    login: Mapping[present.Login, str]
    asked: dict[str, str | None]
    since: Moment | None = None
    until: Moment | None = None
    first: int = 1
    order: Order = "asc"
    with_names: bool = False

    def between(
        self, since: str | None, until: str | None, first: int | None, order: Order = "asc", *, names: bool = False
    ) -> "Filters":
        """The same between two moments, from a position on, and in an order. Raises Invalid with the parameter at
        fault."""
        asked = {
            "since": since,
            "until": until,
            "from": None if first is None else str(first),
            "order": order,
            "names": "1" if names else None,
        }
        return self._replace(
            since=moment("since", since),
            until=moment("until", until),
            first=1 if first is None else position("from", first),
            order=order,
            with_names=names,
            asked=self.asked | asked,
        )

    @property
    def needs_index(self) -> bool:
        return bool(self.types or self.ids or self.login or self.addresses)

    @property
    def address(self) -> str | None:
        """The addresses as they are recorded, sealed."""
        return ",".join(self.addresses) or None

    def people(self, folds: Folds, privacy: PersonalData) -> tuple[str, ...]:
        """The ids of those who have these login names now, one in each realm at most; none where nobody has."""
        found = []
        for realm in present.realms(folds):
            matches = {
                None if person is None else person.account_id
                for field, text in self.login.items()
                for person in (present.person_by_login(folds, privacy, field, realm, text),)
            }
            found += [each for each in matches if each is not None and len(matches) == 1]
        return tuple(found)

    def names(self, privacy: PersonalData, whose: tuple[str, ...] | None = None) -> tuple[tuple[SearchName, ...], ...]:
        """What the index has to name, one of each. `whose` are the people with its login names, if it has any."""
        named = [tuple(chain.from_iterable(map(partial(_names, name), values))) for name, values in self.ids.items()]
        if self.types:
            named.append(tuple((NameKind.TYPE, tag.encode()) for tag in self.types))
        if whose is not None:
            named.append(tuple((NameKind.ACCOUNT, each.encode()) for each in whose))
        if self.addresses:
            named.append(tuple((NameKind.ADDRESS, address_key(privacy, each)) for each in self.addresses))
        return tuple(named)

    def criteria(
        self, connection: Connection, privacy: PersonalData, head: int, whose: tuple[str, ...] | None = None
    ) -> Criteria:
        """The same for the log up to `head`."""
        low, high = self.first, head
        if self.since is not None:
            low = max(low, search.first_at(connection, self.since, head))
        if self.until is not None:
            high = min(high, search.first_at(connection, self.until, head) - 1)
        # Of types that are asked for and left out nothing is to be looked at: what is left are fewer types.
        left = tuple(each for each in self.types if each not in self.conditions.not_types)
        given = self._replace(types=left, conditions=self.conditions._replace(not_types=frozenset())) if left else self
        if self.types and not left:
            high = low - 1
        passing = given.conditions.passing if given.conditions else None
        return Criteria(given.names(privacy, whose), low, high, self.order == "desc", passing)


def read_filters(
    given: Mapping[str, Sequence[str] | None] | None = None,
    *,
    outcome: EventOutcome | None = None,
    username: str | None = None,
    email: str | None = None,
) -> Filters:
    """The filters that these words stand for, by the names of the API. Raises Invalid with the parameter at fault."""
    for name, every in (given or {}).items():
        if every is not None and len(every) > EACH_AT_MOST:
            raise InvalidRequest.field(name, f"may be repeated {EACH_AT_MOST} times")
    values = {name: tuple(dict.fromkeys(every)) for name, every in (given or {}).items() if every}
    ids = {name: tuple(_checked(name, each) for each in values[name]) for name in _KINDS if name in values}
    addresses = tuple(dict.fromkeys(map(_address, values.get("ip", ()))))
    logins: dict[present.Login, str | None] = {"username": username, "email": email}
    asked: dict[str, str | None] = {name: ",".join(each) for name, each in values.items() if name != "ip"}
    types, not_types = _types("type", values.get("type", ())), frozenset(_types("not_type", values.get("not_type", ())))
    if outcome == "failure":
        types, not_types = _failures(types, not_types)
    elif outcome == "success":
        not_types |= FAILURES
    return Filters(
        types,
        ids,
        addresses,
        EventConditions(
            not_types,
            frozenset(ids.get("by_account_id", ())),
            frozenset(ids.get("about_account_id", ())),
            frozenset(ids.get("by_client_id", ())),
            frozenset(ids.get("request_id", ())),
        ),
        {field: text for field, text in logins.items() if text is not None},
        asked | {"outcome": outcome},
    )


def _names(member: str, value: str) -> Iterator[SearchName]:
    keys = requests.keys(value) if member == "request_id" else (value.encode(),)
    for key in keys:
        yield _KINDS[member], key


def _failures(types: tuple[str, ...], not_types: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The same types as far as they tell of failures. Where none of those that are asked for does, all of them are left
    out, which finds nothing."""
    failing = tuple(each for each in types or sorted(FAILURES) if each in FAILURES)
    return (failing, not_types) if failing else (types, not_types.union(types))


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


def _types(name: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """The types that the patterns stand for; one that matches none is kept, and finds nothing."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if len(pattern) > LONGEST_ID or _PATTERN.fullmatch(pattern) is None:
            raise InvalidRequest.field(name, "must be a type such as grant.ended, or a pattern such as grant.*")
        prefix = pattern.removesuffix("*")
        matching = [tag for tag in (*BY_TAG, *UPCASTS) if tag.startswith(prefix)] if prefix != pattern else [pattern]
        found |= dict.fromkeys(matching or [pattern])
    return tuple(found)


# Where in the past a question looks: at a moment, or at a position of the log.


class Point(NamedTuple):
    """The log up to `position`, looked at when the clock showed `at`."""

    position: int
    at: Moment


async def point(asking: Auditor, at: str | None, position: int | None, *, field: str | None = None) -> Point:
    """The point that was asked for: a moment means everything up to it, that very microsecond included. A position
    alone means the moment of its event; both together, the log at that position with the clock at that moment; neither,
    now. `field` is what the request calls it."""
    chosen, ledger = moment(field or "at", at), asking.sources.ledger
    if chosen is not None and position is None and (await ledger.head())[1] <= chosen:
        # Events get the time at which their transaction began. One that began before this moment and is not committed
        # yet would change the answer; it holds the log's lock, so that the one who has that next has nothing to fear.
        await ledger.maintain(_nothing)
    await ledger.settled()
    return await ledger.read(_point, ledger.changes.position, chosen, position, asking.now, field or "position")


def _nothing(_: Connection) -> None:
    """Upkeep that does nothing, in turn with the commands."""


def _point(
    connection: Connection, head: int, at: Moment | None, position: int | None, now: Moment, field: str
) -> Point:
    if position is not None:
        state = search.stored(connection, position)
        if state is None or position > head:
            raise InvalidRequest.field(field, "is beyond the newest event")
        time = search.time_of(state)
        if at is not None and at < time:
            raise InvalidRequest.field("at", "is before the event at this position")
        return Point(position, time if at is None else at)
    if at is None:
        return Point(head, now)
    return Point(time_travel.position_at(connection, at, head), at)


# Searching, and looking at some events.

CURSOR = "events"
STEPS_AT_MOST = 200
"""Stretches of the log that a question waits for. An index that is further behind is being built."""


class FoundEvents(NamedTuple):
    """Events that were found, and where to go on; None at the end."""

    events: list[ShownEvent]
    resume: int | None


async def up_to_date(asking: Auditor, given: Filters | None, steps: int | None = STEPS_AT_MOST) -> int:
    """The log's head, once the index that the filters need has come to it: anyone who asks sees all that was committed.
    Without filters the index is needed for something else. Raises Unavailable when it takes more than so many steps."""
    ledger = asking.sources.ledger
    if (given is None or given.needs_index) and not await asking.sources.search_index.follow(steps=steps):
        raise TemporarilyUnavailable(
            f"The search index is {behind(asking, asking.sources.search_index.position)} events behind."
            " Ask for positions, or try again later.",
            retry_after=30,
        )
    await ledger.settled()
    return ledger.changes.position


def behind(asking: Auditor, reached: int) -> str:
    """How many events somebody who follows the log has still to come to, for people to read."""
    return f"{max(0, asking.sources.ledger.changes.position - reached):,}"


async def wanted(asking: Auditor, given: Filters, head: int) -> tuple[Criteria, dict[str, str | None]]:
    """What is looked for in the log up to `head`, and how the record tells it: people by their ids, not their names."""
    ledger = asking.sources.ledger
    whose, asked = await people_of(asking, given)
    return await ledger.read(given.criteria, ledger.privacy, head, whose), asked


async def people_of(asking: Auditor, given: Filters) -> tuple[tuple[str, ...] | None, dict[str, str | None]]:
    """The ids of those who are named by login name, None where nobody is; and what is recorded of the question."""
    if not given.login:
        return None, dict(given.asked)
    whose = await asking.sources.ledger.look(given.people, asking.sources.ledger.privacy)
    told = {"named_by": " ".join(given.login), "account_id": " ".join(whose) or given.asked.get("account_id")}
    return whose, given.asked | told


async def find(
    asking: Auditor, criteria: Criteria, limit: int, start: int | None, *, names: bool = False
) -> FoundEvents:
    """Up to `limit` events from `start` on. A long search is done in turns, so that nobody else waits for all of it."""
    events: list[ShownEvent] = []
    resume: int | None = start
    while True:
        stretch = await asking.sources.ledger.read(_find, asking, criteria, limit - len(events), resume, names)
        events += stretch.events
        resume = stretch.resume
        if resume is None or len(events) >= limit:
            return FoundEvents(events, resume)


def _find(
    connection: Connection, asking: Auditor, criteria: Criteria, limit: int, start: int | None, names: bool
) -> FoundEvents:
    found = search.search(connection, criteria, limit, start)
    return FoundEvents(show(connection, asking, found.positions, names=names), found.resume)


def show(connection: Connection, asking: Auditor, positions: Sequence[int], *, names: bool = False) -> list[ShownEvent]:
    """The events at these positions as this auditor may see them."""
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal, names=names)
    return rendering.events(search.stored_forms(connection, positions))


async def page(
    asking: Auditor, given: Filters, limit: int, after: str | None = None, *, steps: int | None = STEPS_AT_MOST
) -> Page[ShownEvent]:
    """A page of the events that match, and the event that it was asked for. `after` is the `next` of the page before; a
    list covers the log as it stood when its first page was asked for."""
    head = await up_to_date(asking, given, steps)
    start: int | None = None
    if after is not None:
        start, bound = decode_cursor(CURSOR, after, int, int)
        head = min(head, bound)
    criteria, asked = await wanted(asking, given, head)
    found = await find(asking, criteria, limit + 1, start, names=given.with_names)
    shown = found.events[:limit]
    more = len(found.events) > limit
    await asking.record(
        "events",
        asked | {"limit": str(limit), "after": after},
        len(shown),
        unsealed=any(unsealed(event) for event in shown),
        address=given.address,
    )
    return Page(shown, encode_cursor(CURSOR, (found.events[limit].position, head)) if more else None)
