"""Who asks, and the event that every answer leaves behind: nobody reads the log unseen."""

import asyncio
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from commands import audit as commands
from domain import audit
from domain.event import SECOND, Moment
from eventstore.execution import Origin, Step
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from security.clock import day_of
from security.masking import masking
from security.tokens import digest, new_id

if TYPE_CHECKING:
    from api.config.settings import Settings
    from eventstore.ledger import Ledger
    from eventstore.projecting.catch_up import CatchUpSubscription
    from eventstore.transparency.published import Diverged
    from security.tokens import Format


class DivergenceAlarm(Protocol):
    """Takes note that the log does not fit its tree."""

    async def diverge(self, found: "Diverged", /) -> None: ...


class Sources(Protocol):
    """What answers are made of. A server has it among its services, a command for as long as it runs."""

    @property
    def settings(self) -> "Settings": ...

    @property
    def ledger(self) -> "Ledger": ...

    @property
    def format(self) -> "Format": ...

    @property
    def search_index(self) -> "CatchUpSubscription": ...

    @property
    def event_counts(self) -> "CatchUpSubscription": ...

    @property
    def transparency(self) -> DivergenceAlarm: ...


# Who watches asks the same again and again, and one event tells of all of it.

WATCH = 300
"""Seconds for which one event tells of the same question."""

WATCHABLE: frozenset[audit.Question] = frozenset(
    {"overview", "counts", "events", "event", "incidents", "leak_investigation"}
)
"""Questions that their parameters tell from each other."""

WATCHING_AT_MOST = 10_000

_WATCHING: dict[tuple[Hashable, ...], tuple[Moment, int]] = {}
"""Since when this process knows that somebody watches, and how many records they were told to have got."""


class Auditor(NamedTuple):
    """Somebody who may read the log. `personal` says that they may see personal values too; `note` is told the
    position of each event that an answer leaves. With `watching` they ask the same again and again."""

    sources: Sources
    origin: Origin
    personal: bool
    note: Callable[[int], None] = lambda _: None
    watching: bool = False

    @property
    def now(self) -> Moment:
        return self.sources.ledger.clock.now()

    @property
    def stream(self) -> str:
        """Where their readings of today are told."""
        return audit.stream(day_of(self.now))

    def words(self, asked: dict[str, str | None]) -> dict[str, str]:
        """What was asked as it may be recorded: a secret in the place of an id is masked."""
        mask = masking(*self.sources.format.prefixes).text
        return {name: mask(value) for name, value in asked.items() if value is not None}

    def unknown(self, text: str) -> str:
        """What was asked for and is not there, as it may be recorded: it may be anything, also a secret."""
        return f"sha256:{digest(text).hex()}"

    async def record(
        self,
        question: audit.Question,
        asked: dict[str, str | None],
        count: int,
        *,
        unsealed: bool,
        address: str | None = None,
    ) -> None:
        """Records an answer, which is sent after this: it is committed before anybody sees what they asked for."""
        words = self.words(asked)
        if self.watching and address is None and question in WATCHABLE and "foreign" not in words:
            await self._watch(question, words, count, unsealed=unsealed)
            return
        answered = commands.read(self.stream, question, words, count, unsealed=unsealed, address=address)
        await self._told(answered)

    async def _watch(self, question: audit.Question, words: dict[str, str], count: int, *, unsealed: bool) -> None:
        """Records that they watch, unless that was told a moment ago by this process, of as many records."""
        actor, now = self.origin.actor, self.now
        means = tuple(sorted((actor.credential or {}).items()))
        key = (id(self.sources.ledger), actor.kind, actor.id, means, question, tuple(sorted(words.items())), unsealed)
        begun, told = _WATCHING.get(key, (now + 1, 0))
        if begun <= now < begun + WATCH * SECOND and count <= told:
            return
        await self._told(commands.watch(self.stream, question, words, count, seconds=WATCH, unsealed=unsealed))
        if len(_WATCHING) >= WATCHING_AT_MOST:
            _WATCHING.clear()
        _WATCHING[key] = now, count

    async def _told(self, answered: Step) -> None:
        executed = await self.sources.ledger.execute(answered, origin=self.origin)
        for each in executed.recorded:
            self.note(each.position)


# Readings that take a while, exports and streams: an event when they begin, and one when they are over.

log = structlog.get_logger("api")

FOLLOWING: dict[str, "Ledger"] = {}
"""Ids of the streams that this process serves, each with the ledger that it follows."""

GIVE_UP_AFTER = 100
"""Looks, of 10 ms each, that a stopping server waits for: a reader who takes nothing must not keep it from stopping."""

_CLOSING: dict[asyncio.Task[None], "Ledger"] = {}


def following(ledger: "Ledger") -> int:
    """How many streams of this ledger the process serves."""
    return sum(each is ledger for each in FOLLOWING.values())


async def open_export(asking: Auditor, parameters: dict[str, str], *, address: str | None, unsealed: bool) -> str:
    """Records that an export begins; its id."""
    reading_id = new_id()
    opened = commands.open_export(asking.stream, reading_id, parameters, address=address, unsealed=unsealed)
    await asking.sources.ledger.execute(opened, origin=asking.origin)
    return reading_id


async def open_list_export(asking: Auditor, name: audit.ListName, parameters: dict[str, str], *, unsealed: bool) -> str:
    """Records that a list begins to be handed out whole; the id of that, by which `close_export` ends it."""
    reading_id = new_id()
    opened = commands.open_list_export(asking.stream, reading_id, name, parameters, unsealed=unsealed)
    await asking._told(opened)
    return reading_id


async def open_stream(
    asking: Auditor, first: int, asked: dict[str, str | None], *, address: str | None
) -> tuple[str, int]:
    """Records that somebody follows the log from position `first` on; an id, and the position of that event."""
    reading_id, words = new_id(), asking.words(asked)
    opened = commands.open_stream(asking.stream, reading_id, first, words, address=address, unsealed=asking.personal)
    executed = await asking.sources.ledger.execute(opened, origin=asking.origin)
    return reading_id, executed.recorded[0].position


def close_export(asking: Auditor, reading_id: str, count: int, *, complete: bool) -> None:
    """Sees to it that the end of an export is recorded."""
    _close(asking, commands.close_export(asking.stream, reading_id, count, complete=complete))


def close_stream(asking: Auditor, reading_id: str, last: int, count: int) -> None:
    """Sees to it that the end of a stream is recorded."""
    _close(asking, commands.close_stream(asking.stream, reading_id, last, count))


def _close(asking: Auditor, closed: Step) -> None:
    task = asyncio.create_task(_record(asking, closed))
    _CLOSING[task] = asking.sources.ledger
    task.add_done_callback(_CLOSING.pop)


async def _record(asking: Auditor, closed: Step) -> None:
    try:
        await asking.sources.ledger.execute(closed, origin=asking.origin)
    except (DatabaseAway, LedgerOverloaded) as error:
        log.warning("the end of a reading is not recorded", error=type(error).__name__)


async def closed(ledger: "Ledger") -> None:
    """Returns when its streams are over and every end is recorded. The bell that wakes them has been closed."""
    for _ in range(GIVE_UP_AFTER):
        if not following(ledger):
            break
        await asyncio.sleep(0.01)
    while closing := [task for task, its in _CLOSING.items() if its is ledger]:
        await asyncio.gather(*closing)
