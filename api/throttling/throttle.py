"""Throttling: an attacker slows themselves and nobody else.

Attempts are counted by account and address together, by client and address together, and by address. By account alone
they are counted only from addresses that the person never signed in from: guessing from many is slow, and nobody locks
a person out of where they are at home. By client alone nothing is counted. An attempt counts as failed from its
beginning, so that many at once gain nothing, and a success takes that back: success never costs anything.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from api.config.settings import Settings
from api.http.request_context import parse_address
from api.throttling.throttle_file import Cell, Spot, ThrottleFile
from security.clock import DAY, MINUTE, SECOND, Moment, SteadyClock, Timer
from security.lru import Lru

FILE = "throttle-1"
LONGEST_KEPT = 300
"""Characters of a subject whose place in the file is kept."""

FORGET = 900 * SECOND
"""Failures are forgotten after a quarter of an hour without one: slower for a guesser than the longest delay."""

UNDER_WAY = 1 << 24
"""What an attempt under way adds to a number: so many failures are told apart from it."""

SECTIONS = {
    "sign_in_pair": 4096,
    "sign_in_address": 2048,
    "client_pair": 2048,
    "client_address": 2048,
    "public_address": 8192,
    "sign_in_person": 2048,
    "at_home": 1024,
    "tokens": 2048,
}
"""Places of each table, eight entries of 32 bytes each: 5.75 MiB altogether, for ever."""

AT_HOME = "at_home"
"""The table of addresses from which a person has signed in."""

REMEMBERED = 400 * DAY
"""How long that is remembered, as far as there is room."""

STRANGERS = 10_000
STRANGER_FOR = MINUTE
"""So many of whom the log says that they never signed in from an address are known, and for so long."""


class Rule(Protocol):
    """How one kind of attempt is slowed. Times are microseconds."""

    def wait(self, cell: Cell, now: Moment) -> int:
        """How long until the next attempt may be made; 0 for now."""

    def take(self, cell: Cell, now: Moment) -> Cell:
        """The cell after one more attempt."""

    def give_back(self, cell: Cell) -> Cell:
        """The cell after one attempt less, where others have been made since."""

    def fail(self, cell: Cell) -> Cell:
        """The cell after one of the attempts under way has failed."""

    def succeed(self, cell: Cell) -> Cell:
        """The cell after one of the attempts under way has succeeded."""

    def settled(self, cell: Cell) -> Cell:
        """The cell as if all attempts under way succeeded."""

    def fresh(self, cell: Cell) -> Moment:
        """From when on the cell means nothing any more."""


class Bucket(msgspec.Struct, frozen=True):
    """`burst` attempts at once, and one more after every `interval`.

    The cell's moment is when the bucket is full again, so a stored moment is all the state there is. An empty bucket
    gets no emptier, whoever fails at once. A moment that lies more than an interval beyond comes from another clock
    than this one, and counts as none.
    """

    burst: int
    interval: int

    def _full_at(self, cell: Cell, now: Moment) -> Moment:
        return now if cell.moment > self._emptiest(now) + self.interval else max(cell.moment, now)

    def _emptiest(self, now: Moment) -> Moment:
        return now + self.burst * self.interval

    def wait(self, cell: Cell, now: Moment) -> int:
        return max(0, self._full_at(cell, now) - (self.burst - 1) * self.interval - now)

    def take(self, cell: Cell, now: Moment) -> Cell:
        return Cell(min(self._full_at(cell, now) + self.interval, self._emptiest(now)), 0)

    def give_back(self, cell: Cell) -> Cell:
        return Cell(cell.moment - self.interval, 0)

    def fail(self, cell: Cell) -> Cell:
        return cell

    def succeed(self, cell: Cell) -> Cell:
        return self.give_back(cell)

    def settled(self, cell: Cell) -> Cell:
        return cell

    def fresh(self, cell: Cell) -> Moment:
        return cell.moment


class Backoff(msgspec.Struct, frozen=True):
    """`free` failures without delay, then `first`, twice that, and so on up to `longest` after each further one.

    The cell's moment is that of the last failure. One in the future comes from another clock, and counts as none. Its
    number is that of failures, and above them that of attempts under way, which count alike until they are over.
    """

    free: int
    longest: int
    first: int = SECOND

    def _times(self, cell: Cell, now: Moment) -> int:
        return cell.times if 0 <= now - cell.moment < FORGET else 0

    def _failures(self, cell: Cell, now: Moment) -> int:
        times = self._times(cell, now)
        return times % UNDER_WAY + times // UNDER_WAY

    def wait(self, cell: Cell, now: Moment) -> int:
        beyond = self._failures(cell, now) - self.free
        if beyond < 0 or cell.moment > now:
            return 0
        # The exponent is bounded before the power is taken: failures are counted without end.
        delay = min(self.longest, self.first << min(beyond, 40))
        return max(0, cell.moment + delay - now)

    def take(self, cell: Cell, now: Moment) -> Cell:
        return Cell(now, self._times(cell, now) + UNDER_WAY)

    def give_back(self, cell: Cell) -> Cell:
        return Cell(cell.moment, max(0, cell.times - UNDER_WAY))

    def fail(self, cell: Cell) -> Cell:
        if cell.times < UNDER_WAY or cell.times % UNDER_WAY == UNDER_WAY - 1:
            return cell
        return Cell(cell.moment, cell.times - UNDER_WAY + 1)

    def succeed(self, cell: Cell) -> Cell:
        # Failures before it were the person's own, or made where they are at home.
        left = self.give_back(cell)
        return Cell(left.moment, left.times - left.times % UNDER_WAY)

    def settled(self, cell: Cell) -> Cell:
        return Cell(cell.moment, cell.times % UNDER_WAY)

    def fresh(self, cell: Cell) -> Moment:
        return cell.moment + FORGET


class PerMinute(msgspec.Struct, frozen=True):
    """At most `most` in any minute, as if those of the former minute had come evenly spread.

    The cell's moment is when its minute began; its number is that of this minute, and above it that of the former.
    """

    most: int

    def _counted(self, cell: Cell, now: Moment) -> tuple[Moment, int, int]:
        """When the present minute began, and how many came in it and in the former."""
        former, present = divmod(cell.times, UNDER_WAY)
        passed = (now - cell.moment) // MINUTE if cell.times and now >= cell.moment else 2
        if passed >= 2:
            return now, 0, 0
        return (cell.moment, present, former) if passed == 0 else (cell.moment + MINUTE, 0, present)

    def wait(self, cell: Cell, now: Moment) -> int:
        began, present, former = self._counted(cell, now)
        if present >= self.most:
            # Of those that are the former ones by then, enough must have passed to leave room for one.
            return began + MINUTE - now + MINUTE * (present - self.most + 1) // present
        room = self.most - present - 1
        return 0 if former <= room else max(0, began + MINUTE * (former - room) // former - now)

    def take(self, cell: Cell, now: Moment) -> Cell:
        began, present, former = self._counted(cell, now)
        return Cell(began, former * UNDER_WAY + min(present + 1, UNDER_WAY - 1))

    def give_back(self, cell: Cell) -> Cell:
        return Cell(cell.moment, cell.times - 1 if cell.times % UNDER_WAY else cell.times)

    def fail(self, cell: Cell) -> Cell:
        return cell

    def succeed(self, cell: Cell) -> Cell:
        return cell

    def settled(self, cell: Cell) -> Cell:
        return cell

    def fresh(self, cell: Cell) -> Moment:
        return cell.moment + 2 * MINUTE


class Limit(NamedTuple):
    """One rule and whom it is about. `own` is the rule itself where there is one for this subject alone."""

    rule: str
    subject: str
    own: Rule | None = None


Limits = tuple[Limit, ...]


@lru_cache(maxsize=4096)
def group(address: str | None) -> str:
    """The addresses that are one caller: an IPv4 address, or an IPv6 /64, which is what one line gets (RFC 6177 §2)."""
    parsed = parse_address(address) if address else None
    if parsed is None:
        return "unknown"
    return str(parsed) if parsed.version == 4 else (parsed.packed[:8].hex() + "/64")


def sign_in(realm: str, name: str, address: str | None) -> Limits:
    """The limits of a password attempt. `name` is what was typed, normalised; only its keyed digest is remembered."""
    where = group(address)
    return Limit("sign_in_pair", f"{where} {realm} {name}"), Limit("sign_in_address", where)


def sign_in_elsewhere(realm: str, name: str) -> Limits:
    """The limit of password attempts for a person from addresses that they never signed in from."""
    return (Limit("sign_in_person", f"{realm} {name}"),)


def client_authentication(client_id: str, address: str | None) -> Limits:
    """The limits of a client's failed authentications."""
    where = group(address)
    return Limit("client_pair", f"{where} {client_id}"), Limit("client_address", where)


def public(address: str | None, apart: str = "") -> Limits:
    """The limit of endpoints that anybody may call; those that are `apart` have one of their own for each address."""
    where = group(address)
    return (Limit("public_address", f"{apart} {where}" if apart else where),)


class _Ticket(NamedTuple):
    limit: Limit
    digest: bytes
    before: Cell
    after: Cell


class Admission:
    """Whether an attempt may be made. `retry_after` is None if so, else whole seconds to wait.

    `depends` is whether it might be made if those under way succeeded: it is worth asking again when they are over.

    One of `take_back`, `succeeded` and `failed` is to be called; an attempt that nobody finishes, because its process
    was killed, counts like a failed one. Further calls do nothing.
    """

    __slots__ = ("_throttle", "_tickets", "depends", "retry_after")

    def __init__(
        self,
        throttle: "Throttle",
        retry_after: int | None,
        tickets: tuple[_Ticket, ...] = (),
        *,
        depends: bool = False,
    ) -> None:
        self._throttle = throttle
        self._tickets = tickets
        self.retry_after = retry_after
        self.depends = depends

    def take_back(self) -> None:
        """There was no attempt, or nobody could tell what became of it."""
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
    """The rules and their memory. Every call takes microseconds and never waits for anything but a short lock."""

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
        # Clients authenticate with every request, from a few addresses each.
        self._spots = lru_cache(maxsize=4096)(self._find_spots)

    def _find_spots(self, limits: Limits) -> tuple[Spot, ...]:
        file = self._file
        return () if file is None else tuple([file.spot(each.rule, file.digest(*each[:2])) for each in limits])

    def _rule(self, limit: Limit) -> Rule:
        return limit.own or self._rules[limit.rule]

    def begin(self, *limits: Limit) -> Admission:
        """Counts an attempt against all limits, or against none if one of them says to wait."""
        file = self._file
        if file is None:
            return Admission(self, None)
        marks = [(limit, file.digest(limit.rule, limit.subject)) for limit in limits]
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

    def retry_after(self, *limits: Limit) -> int | None:
        """Whole seconds to wait, or None, without counting anything: for a check that cannot be overtaken by others.

        It takes no lock. What another worker is writing at this moment may be seen half: a delay too much or too few,
        once, is a fair price for a look that every request takes.
        """
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

    def failed(self, *limits: Limit, times: int = 1) -> None:
        """Counts failures after `retry_after` allowed the attempt, whatever has happened since."""
        file = self._file
        if file is None:
            return
        with file.locked():
            now = self._clock.now()
            for limit in limits:
                rule = self._rule(limit)
                digest = file.digest(limit.rule, limit.subject)
                cell = file.read(limit.rule, digest)
                for _ in range(times):
                    cell = rule.fail(rule.take(cell, now))
                file.write(limit.rule, digest, cell, rule.fresh)

    def forgive(self, *limits: Limit) -> None:
        """Forgets the failures of these, as if an attempt had succeeded."""
        file = self._file
        if file is None:
            return
        with file.locked():
            for limit in limits:
                rule, digest = self._rule(limit), file.digest(limit.rule, limit.subject)
                cell = file.read(limit.rule, digest)
                if cell != Cell():
                    file.write(limit.rule, digest, rule.succeed(rule.take(cell, cell.moment)), rule.fresh)

    def settle(self, tickets: tuple[_Ticket, ...], *, succeeded: bool) -> None:
        """Ends counted attempts."""
        file = self._file
        if file is None or not tickets:
            return
        with file.locked():
            for limit, digest, _, _ in tickets:
                rule, cell = self._rule(limit), file.read(limit.rule, digest)
                if cell != Cell():
                    after = rule.succeed(cell) if succeeded else rule.fail(cell)
                    file.write(limit.rule, digest, after, rule.fresh)

    def come_home(self, realm: str, name: str, address: str | None) -> None:
        """Remembers that the person of this name has signed in from there."""
        file = self._file
        if file is not None:
            digest = file.digest(AT_HOME, f"{group(address)} {realm} {name}")
            self._strangers.pop(digest, None)
            with file.locked():
                file.write(AT_HOME, digest, Cell(self._clock.now(), 1), lambda cell: cell.moment + REMEMBERED)

    def is_at_home(self, realm: str, name: str, address: str | None) -> bool:
        """Whether that is remembered; nobody is anywhere while nothing is throttled."""
        file = self._file
        if file is None:
            return False
        return file.read(AT_HOME, file.digest(AT_HOME, f"{group(address)} {realm} {name}")) != Cell()

    def note_stranger(self, realm: str, name: str, address: str | None) -> None:
        """Remembers for a while, in this process, that the log has nothing of this person's signing in from there."""
        if self._file is not None:
            digest = self._file.digest(AT_HOME, f"{group(address)} {realm} {name}")
            self._strangers.put(digest, self._clock.now() + STRANGER_FOR)

    def is_stranger(self, realm: str, name: str, address: str | None) -> bool:
        """Whether that is remembered."""
        if self._file is None:
            return True
        digest = self._file.digest(AT_HOME, f"{group(address)} {realm} {name}")
        return self._strangers.get(digest, 0) > self._clock.now()

    def give_back(self, tickets: tuple[_Ticket, ...]) -> None:
        """Undoes counted attempts: exactly where nothing else happened meanwhile, by one where something did."""
        file = self._file
        if file is None or not tickets:
            return
        with file.locked():
            for limit, digest, before, after in tickets:
                rule = self._rule(limit)
                cell = file.read(limit.rule, digest)
                # Forgotten meanwhile: there is nothing to undo.
                if cell != Cell():
                    restored = before if cell == after else rule.give_back(cell)
                    file.write(limit.rule, digest, restored, rule.fresh)

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


def rules(settings: Settings) -> dict[str, Rule]:
    """The rules by their tables' names. All clients of one address together may fail three times as often as one."""
    client_interval = settings.client_interval * SECOND
    return {
        "sign_in_pair": Backoff(settings.sign_in_free, settings.sign_in_longest_delay * SECOND),
        "sign_in_address": Bucket(settings.sign_in_burst, settings.sign_in_interval * SECOND),
        "sign_in_person": Bucket(settings.sign_in_person_burst, settings.sign_in_person_interval * SECOND),
        "client_pair": Bucket(settings.client_burst, client_interval),
        "client_address": Bucket(3 * settings.client_burst, client_interval),
        "public_address": Bucket(settings.public_burst, SECOND // settings.public_rate),
    }


def open_throttle(
    settings: Settings, clock: Timer | None = None, on_wait: Callable[[str], None] = lambda rule: None
) -> Throttle:
    """The throttle of this machine's server, in the data directory. Each worker opens it for itself, after forking.

    All workers must have the same clock, and one that nobody sets: what is remembered are its moments. `on_wait` is
    told the rule by which somebody has to wait, each time.
    """
    path: Path = settings.data_dir / FILE
    file = ThrottleFile(path, SECTIONS) if settings.throttle else None
    return Throttle(file, rules(settings), clock or SteadyClock(), on_wait)
