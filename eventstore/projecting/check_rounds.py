"""Goes round the read models in a running server: is every row what the log says, and is every row there?

Some steps of each way in turn, and a long rest after each step, so that nobody notices the cost.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from secrets import randbelow
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.event import Moment
from eventstore import search
from eventstore.appending.rows import Replay
from eventstore.database.background import go_round
from eventstore.database.engines import away, reading
from eventstore.database.shared_connections import SharedConnections
from eventstore.ledger import Ledger
from eventstore.mapper import authenticate
from eventstore.personal_data import PersonalData
from eventstore.projecting import checks, refollow
from eventstore.projecting.checks import TABLES, Checks, Index, Misnamed, MissingKey, Suspicion, VaultKeys, key_of
from eventstore.projecting.index_entries import Entry, next_entries
from eventstore.projecting.packed_entries import PackedEntries
from eventstore.projecting.rebuild import clear, compared, differing, hiding, tables_of, transaction
from eventstore.recorder import store
from eventstore.unavailable import ArchiveAway
from projections import event_index, secrets, sightings
from projections.figures import event_counts
from security.sealing import SealBroken

# Read models whose rows come of many streams, followed once more from the log's beginning and compared as a whole.

STEP = 500
"""Events of one portion."""


_FOLLOWED = (sightings.NAME, event_counts.NAME)

_TABLES = (
    *((module, table) for name in _FOLLOWED for module in refollow.MODELS[name][0] for table in tables_of(module)),
    (secrets, secrets.USES),
)


class Difference(NamedTuple):
    """A read model that is not what the log says. `key_sha256` names the row, `position` is the log's head then."""

    projection: str
    key_sha256: str
    stands: Callable[[Connection], bool]


def passing(
    url: str, privacy: PersonalData, now: Callable[[], Moment], shared: SharedConnections | None = None
) -> Iterator[list[Difference]]:
    """One pass over the log: yields nothing after each portion, and last the tables that are not what it makes."""
    with hiding(url, [table for _, table in _TABLES] + [secrets.TABLE], privacy.vault, shared) as connection:
        models = {name: refollow.Anew(connection, refollow.MODELS[name][1](), privacy) for name in _FOLLOWED}

        def follow(until: int) -> None:
            for name, following in models.items():
                following.follow(min(event_index.reached(connection, name), until))

        replay = Replay((secrets,), privacy, lambda statement: statement, now())
        counted, more = 0, True
        while more:
            with transaction(connection, snapshot=True):
                head = search.newest(connection)
                until = min(head, counted + STEP)
                follow(until)
                replay.step(connection, counted, until)
                counted, more = until, until < head
            yield []
        with transaction(connection, snapshot=True):
            head = search.newest(connection)
            follow(head)
            replay.step(connection, counted, head)
            yield list(_unlike(connection))


def _unlike(connection: Connection) -> Iterator[Difference]:
    for module, table in _TABLES:
        differs_at = compared(table.name, *refollow.sides(connection, table)).differs_at
        if differs_at is not None:
            projection = module.__name__.rpartition(".")[2]
            key = sha256(f"{projection}\0{differs_at}".encode()).hexdigest()
            # What was compared in one snapshot needs no second look.
            yield Difference(projection, key, lambda connection: True)


# The ways through log and read models, each a stretch at a time and from its end to its beginning again.

POSITIONS_OF_A_ROW = 4
"""So many are thought to be in a row of the index. Where there are more, fewer rows are looked at together."""

STRETCH = 64
"""Events, or rows, of one step: a few milliseconds."""

Found = Suspicion | Misnamed | MissingKey


def readable(look: Callable[[Any], list[Found]], stretch: range | Sequence[Any]) -> list[Found]:
    """What looks wrong on a stretch. Where an event there stands in a segment that is away, or the vault lacks the key
    of a name, the rest is looked at without it: what reads segments and the look at the keys tell that, and it is no
    reason to look at nothing."""
    try:
        return look(stretch)
    except (ArchiveAway, SealBroken):
        if len(stretch) < 2:
            return []
        half = len(stretch) // 2
        return [*readable(look, stretch[:half]), *readable(look, stretch[half:])]


class Walk(Protocol):
    """`step` looks at one stretch, and says what looked wrong there and whether it was the last of a round."""

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]: ...


class AlongTheLog:
    """Every event, from a position on and around: the rows of what begins there, what it names, and its keys."""

    def __init__(self, checks: Checks, index: Index, keys: VaultKeys, begin: int, stretch: int) -> None:
        self._checks = checks
        self._index = index
        self._keys = keys
        self._stretch = stretch
        self._begin = self._after = begin
        self._is_behind = True
        """Whether it is on the way from where it begins to the head, and not yet from the first event to there."""

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Looks at the next events."""
        goal = search.newest(connection) if self._is_behind else self._begin
        after, until = self._after, min(self._after + self._stretch, goal)
        self._after = until
        found = readable(partial(self._look, connection, now), range(after + 1, until + 1))
        if until < goal:
            return found, False
        if self._is_behind and self._begin:
            self._is_behind, self._after = False, 0
            return found, False
        self._is_behind, self._after = True, self._begin
        return found, True

    def _look(self, connection: Connection, now: Moment, positions: range) -> list[Found]:
        if not positions:
            return []
        recorded = [*store(connection).between(positions[0] - 1, positions[-1])]
        missing, named = self._keys.begun(connection, recorded), self._index.begun(connection, recorded)
        try:
            return [*self._checks.begun(connection, recorded, now), *named, *missing]
        except SealBroken:
            if len(positions) > 1:
                raise
            return [*named, *missing]


class Along:
    """Every row of a table, of the index or of the vault, by its key. `look` is told the key behind which to go on, and
    tells the next; None for the first, and at the end.
    """

    def __init__(self, look: Callable[[Connection, Any, Moment], tuple[Sequence[Found], Any]]) -> None:
        self._look = look
        self._after: Any = None

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Looks at the next rows."""
        found, self._after = self._look(connection, self._after, now)
        return [*found], self._after is None


class AlongThePacked:
    """Every entry of the tables in which archived events are packed."""

    def __init__(self, index: Index, stretch: int) -> None:
        self._entries = PackedEntries(
            lambda connection, entries: readable(lambda part: [*index.explained(connection, part)], entries),
            stretch * POSITIONS_OF_A_ROW,
        )

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Gathers some, or looks at the next ones."""
        return self._entries.step(connection)


def _few(found: Sequence[Entry], positions: int) -> Sequence[Entry]:
    """The first of the rows, at least one, that have about so many positions together."""
    for place, (_, _, _, before) in enumerate(found, 1):
        # SQLite keeps whatever somebody else puts there.
        positions -= 1 + (len(before) if isinstance(before, bytes) else 0)
        if positions <= 0:
            return found[:place]
    return found


class Walks:
    """All of them, and how what they found is judged."""

    def __init__(self, privacy: PersonalData, begin: int, stretch: int = STRETCH) -> None:
        self._checks = Checks(privacy)
        self._index = Index(privacy)
        self._keys = VaultKeys(privacy.vault)
        self._stretch = stretch
        self.all: Sequence[Walk] = (
            AlongTheLog(self._checks, self._index, self._keys, begin, stretch),
            *(Along(partial(self._table, name)) for name in TABLES),
            Along(self._entries),
            AlongThePacked(self._index, stretch),
            Along(lambda connection, after, now: self._keys.destroyed(connection, after or "", stretch)),
        )

    def _table(self, name: str, connection: Connection, after: Any, now: Moment) -> tuple[Sequence[Found], Any]:
        rows = checks.next_rows(connection, name, after, self._stretch)
        after = key_of(name, rows[-1]) if len(rows) == self._stretch else None
        return readable(lambda part: [*self._checks.standing(connection, name, part, now)], rows), after

    def _entries(self, connection: Connection, after: Any, now: Moment) -> tuple[Sequence[Found], Any]:
        rows = next_entries(connection, after, self._stretch)
        taken = _few(rows, self._stretch * POSITIONS_OF_A_ROW)
        done = len(taken) == len(rows) < self._stretch
        found = readable(lambda part: [*self._index.standing(connection, part)], taken)
        return found, None if done else taken[-1][:3]

    def stands(self, connection: Connection, found: Found, now: Moment) -> bool:
        """Whether it is so, asked under the log's lock."""
        if isinstance(found, Suspicion):
            return self._checks.stands(connection, found, now)
        if isinstance(found, Misnamed):
            return self._index.stands(connection, found)
        return self._keys.stands(connection, found)

    def close(self) -> None:
        """Lets the memory go."""
        self._checks.close()


REST = 49
"""How many times as long as a step took nothing is done after it, so that all of it costs two percent of a core."""

TURN = 32
"""Steps of one way before those of the next. Each is in another segment of what was archived, few of which stay in
memory; and a server that does not live for long has come to all of them."""

_TOGETHER: set[object] = set()
"""The rounds of this process through the logs of its issuers, which share that."""


class ProjectionRounds:
    """One per process and log; none knows where the others are, and all of `workers` processes share the two percent.

    `tell` records a difference, if it stands under the log's lock. `begin` chooses where in the log the first round
    begins: at random, so that the end of a long log is read by servers that never live for a whole round. `now`
    (seconds) and `sleep` are a clock's.
    """

    def __init__(
        self,
        ledger: Ledger,
        url: str,
        tell: Callable[[Difference], Awaitable[None]],
        *,
        workers: int = 1,
        stretch: int = STRETCH,
        begin: Callable[[int], int] = randbelow,
        now: Callable[[], float] = perf_counter,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._url = url
        self._tell = tell
        self._rest = (REST + 1) * workers - 1
        self._stretch = stretch
        self._begin = begin
        self._now = now
        self._sleep = sleep
        self._thread = ThreadPoolExecutor(1, "checking")
        self._connection: Connection | None = None
        self._engine: Engine | None = None
        self._has_turn = False
        self._walks: Walks | None = None
        self._left: deque[Walk | Iterator[list[Difference]]] = deque()
        self._turn = 0
        self._keys_were_missing = False
        self._began: float | None = None
        self._took: float | None = None
        self.rounds = 0
        """Rounds that came to their end."""

    @property
    def round_seconds(self) -> float:
        """How long the last whole round took; until there was one, how long the first is under way."""
        if self._took is not None:
            return self._took
        return 0.0 if self._began is None else self._now() - self._began

    async def run(self) -> None:
        """Goes round until cancelled."""
        await go_round(self.step, self._rest, _TOGETHER, now=self._now, sleep=self._sleep)

    async def step(self) -> bool:
        """One stretch of one way. What looks wrong there is told."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = self._now()
        found = await loop.run_in_executor(self._thread, self._look)
        if found is None:
            return False
        for difference in found:
            await self._tell(difference)
        if not self._left:
            await self._end_round()
        return True

    async def _end_round(self) -> None:
        if not self._keys_were_missing and checks.NAME in await self._ledger.read(differing):
            await self._ledger.maintain(clear, checks.NAME)
        self.rounds += 1
        now = self._now()
        self._took, self._began = now - (self._began or now), now

    def _look(self) -> list[Difference] | None:
        """What looks wrong; None when it is not this log's turn, of many that share their connections."""
        shared = self._ledger.shared
        if shared is None:
            return self._looked()
        if not self._left and not self._has_turn and not shared.rounds.acquire(blocking=False):
            return None
        self._has_turn = True
        try:
            return self._looked()
        finally:
            self._let_go()
            if not self._left:
                self._end_turn(shared)

    def _end_turn(self, shared: SharedConnections | None) -> None:
        if self._has_turn and shared is not None:
            self._has_turn = False
            shared.rounds.release()

    def _looked(self) -> list[Difference]:
        try:
            connection = self._opened()
            if not self._left:
                self._start(connection)
            way = self._left.popleft()
            if isinstance(way, Iterator):
                return self._passed(way)
            with transaction(connection, snapshot=True):
                found, done = way.step(connection, self._ledger.clock.now())
        except SQLAlchemyError as error:
            self._close()
            if (meant := away(error)) is not None:
                raise meant from error
            raise
        if not done:
            self._go_on(way)
        self._keys_were_missing |= any(isinstance(each, checks.MissingKey) for each in found)
        return [self._doubted(each) for each in found]

    def _passed(self, way: Iterator[list[Difference]]) -> list[Difference]:
        try:
            unlike = next(way, None)
        except ArchiveAway:
            # What is made of the whole log is compared in a round that has all of it.
            return []
        if unlike is not None:
            self._go_on(way)
        return unlike or []

    def _go_on(self, way: Walk | Iterator[list[Difference]]) -> None:
        self._turn = (self._turn + 1) % TURN
        if self._turn:
            self._left.appendleft(way)
        else:
            self._left.append(way)

    def _doubted(self, found: Found) -> Difference:
        walks = self._walks
        if walks is None:
            raise AssertionError("what was found was found on a walk")

        def stands(connection: Connection) -> bool:
            return walks.stands(connection, found, self._ledger.clock.now())

        return Difference(found.projection, found.key_sha256, stands)

    def _opened(self) -> Connection:
        if self._engine is None:
            self._engine = reading(self._url, 1, self._ledger.shared)
            authenticate(self._engine, self._ledger.vault)
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _start(self, connection: Connection) -> None:
        if self._walks is None:
            size = search.newest(connection)
            self._walks = Walks(self._ledger.privacy, self._begin(size) if size else 0, self._stretch)
        self._keys_were_missing = False
        ledger = self._ledger
        self._left.extend((*self._walks.all, passing(self._url, ledger.privacy, ledger.clock.now, ledger.shared)))

    def _close(self) -> None:
        """After an error: the round begins anew, where the walks stand."""
        for way in self._left:
            close: Any = getattr(way, "close", None)
            if close is not None:
                close()
        self._left.clear()
        self._let_go()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        self._end_turn(self._ledger.shared)

    def close(self) -> None:
        """Waits for what is running and lets the database go."""
        self._thread.submit(self._close).result()
        self._thread.shutdown(wait=True)
        if self._walks is not None:
            self._walks.close()
