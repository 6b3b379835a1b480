"""What a containment ended, counted afterwards by the log: of grants and browser sessions that it named one by one."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection

from domain.event import Moment
from domain.incident import Numbers
from eventstore.ledger import Ledger
from eventstore.recorder import portions
from eventstore.sealed.log_rows import streams_at
from eventstore.time_travel import (
    AT_ONCE,
    Descendant,
    FoldOf,
    descendants,
    grants_of_people,
    latest,
    offline_until,
    states_at,
)


class WhatEnded(NamedTuple):
    """What a containment ends, and until when JWTs among it are good for anyone who validates offline; None for
    none."""

    numbers: Numbers = Numbers()
    offline_until: Moment | None = None

    def and_secrets(self, count: int) -> "WhatEnded":
        """The same with so many secrets or keys besides."""
        return self._replace(numbers=replace(self.numbers, secrets_ended=self.numbers.secrets_ended + count))


COUNTED_TOGETHER = 10_000
"""Grants that one long read counts: of any number none takes longer than it may."""


CountedElsewhere = Callable[[Descendant], bool]
"""Whether a code or token is counted elsewhere, if it is alive."""


async def ended_at(
    ledger: Ledger, began: Sequence[int], position: int, now: Moment, unless: CountedElsewhere | None = None
) -> WhatEnded:
    """Counts what of grants that began there was alive at a position of the log, by the log, and is counted nowhere
    else. Holds no lock."""
    grants, count, people = 0, 0, set[str | None]()
    offline: Moment | None = None
    for portion in portions(began, COUNTED_TOGETHER):
        found = await ledger.read_long(_alive_at, portion, position, now, unless)
        grants, count, people = grants + found.grants, count + found.tokens, people | found.people
        offline = latest((offline, found.offline_until))
    return WhatEnded(Numbers(0, grants, count, len(people)), offline)


class _AliveThen(NamedTuple):
    grants: int
    tokens: int
    people: set[str | None]
    offline_until: Moment | None


def _alive_at(
    connection: Connection, began: Sequence[int], position: int, now: Moment, unless: CountedElsewhere | None
) -> _AliveThen:
    state, grants, count, people = states_at(connection, position), 0, 0, set[str | None]()
    offline: Moment | None = None
    for portion in portions(began, AT_ONCE):
        alive = [each for each in _descendants_of(connection, state, portion, position, now) if each.alive]
        elsewhere = set() if unless is None else {each.grant_id for each in alive if unless(each)}
        alone = [each for each in alive if unless is None or not unless(each)]
        grants += len({each.grant_id for each in alone} - elsewhere)
        count += len(alone)
        people.update(each.account_id for each in alone)
        offline = latest((offline, offline_until(alive)))
    people -= {None}
    if unless is not None and people:
        theirs = grants_of_people(connection, sorted(filter(None, people)), now)
        of_theirs = descendants(connection, state, theirs, position, now)
        people -= {each.account_id for each in of_theirs if each.alive and unless(each)}
    return _AliveThen(grants, count, people, offline)


def worth_telling(connection: Connection, began: Sequence[int], position: int, now: Moment) -> list[str]:
    """The streams of the sessions that began there, and of those grants of which anything was alive at a position."""
    streams = streams_at(connection, began)
    alive = _descendants_of(connection, states_at(connection, position), began, position, now)
    found = {f"grant:{each.grant_id}" for each in alive if each.alive}
    return [stream for stream in streams if stream in found or stream.startswith("session:")]


def _descendants_of(
    connection: Connection, state: FoldOf, began: Sequence[int], position: int, now: Moment
) -> list[Descendant]:
    streams = streams_at(connection, began)
    named = [stream.partition(":")[2] for stream in streams if stream.startswith("grant:")]
    return descendants(connection, state, named, position, now)
