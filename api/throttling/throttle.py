"""Who has to wait: the limits' memory, one small file of fixed size that every worker of the machine has mapped."""

import fcntl
import mmap
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from pathlib import Path
from struct import Struct

import msgspec

from api.config.settings import Settings
from api.throttling.limits import SECTIONS, Cell, Limit, Limits, PerMinute, Rule, group, rules
from security.clock import DAY, MINUTE, SECOND, Moment, SteadyClock, Timer
from security.lru import Lru

# Room on the disk for a file that is going to be mapped.


def allocate(descriptor: int, size: int) -> None:
    """Has the disk keep room for so many bytes, zero where nothing was written. Raises OSError, and changes nothing
    then."""
    before = os.fstat(descriptor).st_size
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            # What was written before is taken already.
            written = before
            while written < size:
                written += os.pwrite(descriptor, b"\0" * (size - written), written)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


MAGIC = b"grantlog throttle 2\n".ljust(32, b"\0")
HEAD = Struct("<32s32s32s")
HEAD_SIZE = 128
ENTRY = Struct("<16sqq")
CELL = Struct("<qq")
CELL_AT = ENTRY.size - CELL.size
WAYS = 8
"""Entries of one place: a subject may stand in any of these."""

NOTHING = b"\0" * 16
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


Spot = tuple[bytes, int, int]
"""A digest, and the stretch of the file in which it stands if anything is remembered under it."""

Fresh = Callable[[Cell], int]
"""The moment from which a cell says nothing that an empty one would not say."""


def boot_digest() -> bytes:
    """32 bytes that change with every boot of the machine; constant where the system does not tell."""
    text = BOOT_ID.read_bytes() if BOOT_ID.exists() else b"unknown"
    return blake2b(text, digest_size=32).digest()


class _Lock:
    """Alone with a file, among threads and processes. A generator would take twice as long, with every token."""

    __slots__ = ("_descriptor", "_threads")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()


class ThrottleFile:
    """The mapped file. `sections` are independent tables by name, each with its number of places. Everything between
    `locked()` and its end is atomic among the processes that have the file open."""

    def __init__(self, path: Path, sections: Mapping[str, int], *, boot: bytes | None = None) -> None:
        self._starts: dict[str, tuple[int, int]] = {}
        size = HEAD_SIZE
        for name, places in sections.items():
            self._starts[name] = (size, places)
            size += places * WAYS * ENTRY.size
        self.size = size
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._prepare(boot or boot_digest())
            self._memory = mmap.mmap(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._lock = _Lock(self._descriptor)
        self._key = bytes(self._memory[64:96])
        self._place = lru_cache(maxsize=8192)(self._find_place)

    def _prepare(self, boot: bytes) -> None:
        """Makes the file what it must be, no matter who comes first; the others find it done."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            head = os.pread(self._descriptor, HEAD.size, 0)
            if os.fstat(self._descriptor).st_size > self.size:
                # Cutting a file that another process has mapped would kill that process.
                raise OSError("the throttle's file belongs to another version of the server; remove it")
            was = os.fstat(self._descriptor).st_size
            allocate(self._descriptor, self.size)
            if was == self.size and head[:64] == MAGIC + boot:
                return
            if was:
                # What a new file has been given is zero.
                os.pwrite(self._descriptor, b"\0" * (self.size - HEAD_SIZE), HEAD_SIZE)
            os.pwrite(self._descriptor, HEAD.pack(MAGIC, boot, secrets.token_bytes(32)), 0)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        self._memory.close()
        os.close(self._descriptor)

    def locked(self) -> _Lock:
        """Alone with the file, among threads and processes, for microseconds; a process that dies lets go of it."""
        return self._lock

    def digest(self, section: str, subject: str) -> bytes:
        """The name under which a subject is remembered: 16 bytes that are never all zero."""
        found = blake2b(
            subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key, person=section.encode()[:16]
        ).digest()
        return found if found != NOTHING else b"\1" * 16

    def read(self, section: str, digest: bytes) -> Cell:
        """What is remembered; an empty cell if nothing is."""
        offset = self.offset(section, digest)
        return Cell() if offset < 0 else self.at(offset)

    def offset(self, section: str, digest: bytes) -> int:
        """Where a subject's entry is, for as long as the file is locked; negative where there is none."""
        return self._find(self._place(section, digest), digest)

    def at(self, offset: int) -> Cell:
        """The cell of the entry there."""
        return Cell(*CELL.unpack_from(self._memory, offset + CELL_AT))

    def put(self, offset: int, digest: bytes, cell: Cell) -> None:
        """Writes the entry there."""
        ENTRY.pack_into(self._memory, offset, digest, cell.moment, cell.times)

    def _find(self, place: range, digest: bytes) -> int:
        """Where in its place a subject's entry is; negative where there is none."""
        offset = self._memory.find(digest, place.start, place.stop)
        while offset >= 0 and (offset - place.start) % ENTRY.size:
            offset = self._memory.find(digest, offset + 1, place.stop)
        return offset

    def spot(self, section: str, digest: bytes) -> Spot:
        """Where to look whether anything is remembered."""
        place = self._place(section, digest)
        return digest, place.start, place.stop

    def is_silent(self, spots: Iterable[Spot]) -> bool:
        """Whether surely nothing is remembered there, as of nearly everybody: one search in C for each tells."""
        find = self._memory.find
        for digest, start, stop in spots:  # noqa: SIM110 - asked for with every request, and a generator costs more
            if find(digest, start, stop) >= 0:
                return False
        return True

    def write(self, section: str, digest: bytes, cell: Cell, fresh: Fresh) -> None:
        """Remembers a cell. In a full place the one that is fresh again soonest is forgotten for it."""
        place, best_fresh = self._place(section, digest), None
        best = self._find(place, digest)
        for offset in place if best < 0 else ():
            mark, moment, times = ENTRY.unpack_from(self._memory, offset)
            # An empty entry has been fresh since ever.
            when = fresh(Cell(moment, times)) if mark != NOTHING else -1
            if best_fresh is None or when < best_fresh:
                best, best_fresh = offset, when
        self.put(best, digest, cell)

    def _find_place(self, section: str, digest: bytes) -> range:
        start, places = self._starts[section]
        first = start + int.from_bytes(digest[:8], "little") % places * WAYS * ENTRY.size
        return range(first, first + WAYS * ENTRY.size, ENTRY.size)


# The rules applied to that memory.

FILE = "throttle-1"
LONGEST_KEPT = 300
"""Characters of a subject whose place in the file is kept."""

AT_HOME = "at_home"
"""The table of addresses from which a person has signed in."""

REMEMBERED = 400 * DAY
"""How long that is remembered, as far as there is room."""

LOT = 16
"""Attempts of one subject that a process counts at once, under a limit of so many a minute that it matters little
whether a worker has some of them left. None is made that was not counted."""

FEWEST_LOTS = 64
LOTS = 4_096
"""Subjects of which a process has such a lot."""

STRANGERS = 10_000
STRANGER_FOR = MINUTE
"""So many of whom the log says that they never signed in from an address are known, and for so long."""


class _Ticket(msgspec.Struct, frozen=True, gc=False):
    limit: Limit
    digest: bytes
    before: Cell
    after: Cell


class _Lot(msgspec.Struct, eq=False):
    """Attempts that are counted and not made yet, which they may be until a moment."""

    left: int = 0
    until: Moment = 0


class Admission(msgspec.Struct, eq=False):
    """Whether an attempt may be made. `retry_after` is None if so, else whole seconds to wait; `depends` is whether it
    might be made if those under way succeeded. `take_back`, `succeeded` or `failed` ends it, once; one that nobody
    ends, because its process was killed, counts as failed."""

    _throttle: "Throttle"
    retry_after: int | None
    _tickets: tuple[_Ticket, ...] = ()
    depends: bool = False
    _lot: _Lot | None = None

    def take_back(self) -> None:
        """There was no attempt, or nobody could tell what became of it."""
        if self._lot is not None:
            self._lot.left += 1
            self._lot = None
        self._throttle.give_back(self._end())

    def succeeded(self) -> None:
        """It was no failure, and what failed before it is forgiven where it is told by account and address."""
        self._throttle.settle(self._end(), succeeded=True)

    def failed(self) -> None:
        """It is over."""
        self._throttle.settle(self._end(), succeeded=False)

    def _end(self) -> tuple[_Ticket, ...]:
        tickets, self._tickets = self._tickets, ()
        return tickets


class Throttle:
    """Applies the rules. Without a file nothing is throttled, and nobody is at home anywhere."""

    def __init__(
        self,
        file: ThrottleFile | None,
        rules: Mapping[str, Rule],
        clock: Timer,
        on_wait: Callable[[str], None] = lambda rule: None,
    ) -> None:
        self._file = file
        self._rules = rules
        self._clock = clock
        self._on_wait = on_wait
        self.waiting: Counter[Limit] = Counter()
        """How many of this process wait for attempts under way."""
        self._strangers: Lru[bytes, Moment] = Lru(STRANGERS)
        self._lots: Lru[Limit, _Lot] = Lru(LOTS)
        # Clients authenticate with every request, from a few addresses each.
        self._spots = lru_cache(maxsize=4096)(self._find_spots)
        # What has a rule of its own is a client, or a person at one, and not what somebody typed.
        self._marks = lru_cache(maxsize=4096)(self._mark)

    def _find_spots(self, limits: Limits) -> tuple[Spot, ...]:
        file = self._file
        return () if file is None else tuple([file.spot(each.rule, file.digest(*each[:2])) for each in limits])

    def _mark(self, rule: str, subject: str) -> bytes:
        return b"" if self._file is None else self._file.digest(rule, subject)

    def _rule(self, limit: Limit) -> Rule:
        return limit.own or self._rules[limit.rule]

    def begin(self, *limits: Limit) -> Admission:
        """Counts an attempt against all limits, or against none if one of them says to wait."""
        file = self._file
        if file is None:
            return Admission(self, None)
        if len(limits) == 1 and type(own := limits[0].own) is PerMinute and own.most >= LOT * FEWEST_LOTS:
            lot = self._lots.get(limits[0])
            if (lot is not None and lot.left and self._clock.now() < lot.until) or (
                lot := self._take_lot(file, limits[0], own)
            ):
                lot.left -= 1
                return Admission(self, None, _lot=lot)
        if len(limits) == 1 and (ticket := self._take_alone(file, limits[0])) is not None:
            return Admission(self, None, (ticket,))
        marks = [
            (each, file.digest(*each[:2]) if each.own is None else self._marks(each.rule, each.subject))
            for each in limits
        ]
        with file.locked():
            now = self._clock.now()
            cells = [file.read(limit.rule, digest) for limit, digest in marks]
            if wait := self._longest_wait(marks, cells, now):
                settled = [self._rule(limit).settled(cell) for (limit, _), cell in zip(marks, cells, strict=True)]
                depends = not self._longest_wait(marks, settled, now, told=False)
                return Admission(self, ceil(wait / SECOND), depends=depends)
            tickets = []
            for (limit, digest), cell in zip(marks, cells, strict=True):
                rule = self._rule(limit)
                after = rule.take(cell, now)
                file.write(limit.rule, digest, after, rule.fresh)
                tickets.append(_Ticket(limit, digest, cell, after))
        return Admission(self, None, tuple(tickets))

    def _take_alone(self, file: ThrottleFile, limit: Limit) -> _Ticket | None:
        """Counts an attempt against one limit under which something is remembered and nobody has to wait: nearly every
        token's, and those of who comes again. None, and nothing counted, for all else."""
        rule = limit.own
        if rule is None:
            rule, digest = self._rules[limit.rule], file.digest(limit.rule, limit.subject)
        else:
            digest = self._marks(limit.rule, limit.subject)
        with file.locked():
            offset = file.offset(limit.rule, digest)
            if offset < 0:
                return None
            cell = file.at(offset)
            after = rule.admit(cell, self._clock.now())
            if after is None:
                return None
            file.put(offset, digest, after)
        return _Ticket(limit, digest, cell, after)

    def _take_lot(self, file: ThrottleFile, limit: Limit, rule: PerMinute) -> _Lot | None:
        """Counts a lot of attempts at once, where there is room for many times as many: the file is looked at with one
        of them. None, and nothing counted, for all else."""
        digest = self._marks(limit.rule, limit.subject)
        with file.locked():
            taken = rule.admit_all(file.read(limit.rule, digest), self._clock.now(), LOT)
            if taken is None:
                return None
            after, until = taken
            file.write(limit.rule, digest, after, rule.fresh)
        lot = _Lot(LOT, until)
        self._lots.put(limit, lot)
        return lot

    def retry_after(self, *limits: Limit) -> int | None:
        """Whole seconds to wait, or None, without counting: for a check that nobody overtakes. It takes no lock: what
        another worker is writing may be seen half, and a wrong delay, once, is a fair price for a look at every
        request."""
        file = self._file
        if file is None:
            return None
        # Long subjects, which nobody needs, would make the memory as large as a caller likes. The first is the longest.
        spots = self._spots(limits) if len(limits[0].subject) <= LONGEST_KEPT else self._find_spots(limits)
        if file.is_silent(spots):
            return None
        marks = [(limit, digest) for limit, (digest, _, _) in zip(limits, spots, strict=True)]
        cells = [file.read(limit.rule, digest) for limit, digest in marks]
        wait = self._longest_wait(marks, cells, self._clock.now())
        return ceil(wait / SECOND) if wait else None

    def failed(self, *limits: Limit) -> None:
        """Counts a failure after `retry_after` allowed the attempt, whatever has happened since."""
        self.charge(*limits, times=1)

    def charge(self, *limits: Limit, times: int) -> None:
        """Counts so many attempts of which nobody was asked."""
        self._change(
            self._untaken(limits), lambda rule, cell, _: rule.charge(cell, self._clock.now(), times), unknown=True
        )

    def forgive(self, *limits: Limit) -> None:
        """Forgets the failures of these, as if an attempt had succeeded."""
        self._change(self._untaken(limits), lambda rule, cell, _: rule.succeed(rule.take(cell, cell.moment)))

    def settle(self, tickets: Sequence[_Ticket], *, succeeded: bool) -> None:
        """Ends counted attempts."""
        self._change(tickets, lambda rule, cell, _: rule.succeed(cell) if succeeded else rule.fail(cell))

    def give_back(self, tickets: Sequence[_Ticket]) -> None:
        """Undoes counted attempts: exactly where nothing else happened meanwhile, by one where something did."""
        self._change(
            tickets, lambda rule, cell, ticket: ticket.before if cell == ticket.after else rule.give_back(cell)
        )

    def _untaken(self, limits: Limits) -> list[_Ticket]:
        file = self._file
        return [] if file is None else [_Ticket(each, file.digest(*each[:2]), Cell(), Cell()) for each in limits]

    def _change(
        self, tickets: Sequence[_Ticket], change: Callable[[Rule, Cell, _Ticket], Cell], *, unknown: bool = False
    ) -> None:
        """Changes what is remembered of these at one moment; what was forgotten meanwhile only where `unknown`."""
        file = self._file
        if file is None or not tickets:
            return
        with file.locked():
            for ticket in tickets:
                rule, section, digest = self._rule(ticket.limit), ticket.limit.rule, ticket.digest
                offset = file.offset(section, digest)
                cell = Cell() if offset < 0 else file.at(offset)
                if not unknown and cell == Cell():
                    continue
                if offset < 0:
                    file.write(section, digest, change(rule, cell, ticket), rule.fresh)
                else:
                    file.put(offset, digest, change(rule, cell, ticket))

    def come_home(self, realm: str, name: str, address: str | None) -> None:
        """Remembers that the person of this name has signed in from there."""
        if self._file is not None:
            digest = self._home(self._file, realm, name, address)
            self._strangers.pop(digest, None)
            with self._file.locked():
                self._file.write(AT_HOME, digest, Cell(self._clock.now(), 1), lambda cell: cell.moment + REMEMBERED)

    def is_at_home(self, realm: str, name: str, address: str | None) -> bool:
        """Whether that is remembered."""
        file = self._file
        return file is not None and file.read(AT_HOME, self._home(file, realm, name, address)) != Cell()

    def note_stranger(self, realm: str, name: str, address: str | None) -> None:
        """Remembers for a while, in this process, that the log has nothing of this person's signing in from there."""
        if self._file is not None:
            self._strangers.put(self._home(self._file, realm, name, address), self._clock.now() + STRANGER_FOR)

    def is_stranger(self, realm: str, name: str, address: str | None) -> bool:
        """Whether that is remembered."""
        if self._file is None:
            return True
        return self._strangers.get(self._home(self._file, realm, name, address), 0) > self._clock.now()

    @staticmethod
    def _home(file: ThrottleFile, realm: str, name: str, address: str | None) -> bytes:
        return file.digest(AT_HOME, f"{group(address)} {realm} {name}")

    def _longest_wait(
        self, marks: list[tuple[Limit, bytes]], cells: list[Cell], now: Moment, *, told: bool = True
    ) -> int:
        longest, decisive = 0, ""
        for (limit, _), cell in zip(marks, cells, strict=True):
            wait = self._rule(limit).wait(cell, now)
            if wait > longest:
                longest, decisive = wait, limit.rule
        if longest and told:
            self._on_wait(decisive)
        return longest

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def open_throttle(
    settings: Settings, clock: Timer | None = None, on_wait: Callable[[str], None] = lambda rule: None
) -> Throttle:
    """The throttle of this machine's server, opened by each worker after forking. All must have the same clock, one
    that nobody sets: what is remembered are its moments. `on_wait` is told the rule by which somebody has to wait."""
    path: Path = settings.data_dir / FILE
    file = ThrottleFile(path, SECTIONS) if settings.throttle else None
    return Throttle(file, rules(settings), clock or SteadyClock(), on_wait)
