"""What is throttled, and by which rule: an attacker slows themselves and nobody else.

Attempts are counted by account and address together, by client and address together, and by address. By account alone
they are counted only from addresses that the person never signed in from: guessing from many is slow, and nobody locks
a person out of where they are at home. By client alone nothing is counted. An attempt counts as failed from its
beginning, so that many at once gain nothing, and a success takes that back: success never costs anything.
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from api.config.settings import Settings
from api.http.request_context import parse_address
from security.clock import MINUTE, SECOND, Moment
from security.scanning import MOST

FORGET = 900 * SECOND
"""Failures are forgotten after a quarter of an hour without one: slower for a guesser than the longest delay."""

UNDER_WAY = 1 << 24
"""What an attempt under way adds to a number: so many failures are told apart from it."""

CHANGES_AT_ONCE = 20
"""Changes of its own registration that a client may ask for one after the other, refused or not; then one a minute."""

KEYS_AT_ONCE = 20
"""Reports with private keys that may come from an address one after the other; then one a second."""

SECTIONS = {
    "sign_in_pair": 4096,
    "sign_in_address": 2048,
    "client_pair": 2048,
    "client_address": 2048,
    "public_address": 8192,
    "sign_in_person": 2048,
    "at_home": 1024,
    "tokens": 2048,
    "registrations": 1024,
}
"""Places of each table, eight entries of 32 bytes each: 6 MiB altogether, for ever."""


class Cell(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of one subject: a moment in microseconds and a number. Both are 0 for an unknown one."""

    moment: int = 0
    times: int = 0


class Rule(msgspec.Struct, frozen=True):
    """How one kind of attempt is slowed. Times are microseconds."""

    def wait(self, cell: Cell, now: Moment) -> int:
        """How long until the next attempt may be made; 0 for now."""
        raise NotImplementedError

    def take(self, cell: Cell, now: Moment) -> Cell:
        """The cell after one more attempt."""
        raise NotImplementedError

    def admit(self, cell: Cell, now: Moment) -> Cell | None:
        """The cell after one more attempt; None where that has to wait."""
        return None if self.wait(cell, now) else self.take(cell, now)

    def charge(self, cell: Cell, now: Moment, more: int) -> Cell:
        """The cell after so many attempts that were not asked about one by one."""
        for _ in range(more):
            cell = self.fail(self.take(cell, now))
        return cell

    def give_back(self, cell: Cell) -> Cell:
        """The cell after one attempt less, where others have been made since."""
        raise NotImplementedError

    def fresh(self, cell: Cell) -> Moment:
        """From when on the cell means nothing any more."""
        raise NotImplementedError

    def fail(self, cell: Cell) -> Cell:
        """The cell after one of the attempts under way has failed: the same, where these count like failures."""
        return cell

    def succeed(self, cell: Cell) -> Cell:
        """The cell after one of the attempts under way has succeeded: the same, where success makes no difference."""
        return cell

    def settled(self, cell: Cell) -> Cell:
        """The cell as if all attempts under way succeeded."""
        return cell


class Bucket(Rule, frozen=True):
    """`burst` attempts at once, one more after every `interval`. The cell's moment is when the bucket is full again: no
    emptier than empty but for what was charged, of which up to `owed` are paid back first, and none if it lies more
    than an interval beyond, which comes from another clock."""

    burst: int
    interval: int
    owed: int = 0

    def _full_at(self, cell: Cell, now: Moment) -> Moment:
        latest = self._emptiest(now) + (self.owed + 1) * self.interval
        return now if cell.moment > latest else max(cell.moment, now)

    def _emptiest(self, now: Moment) -> Moment:
        return now + self.burst * self.interval

    def wait(self, cell: Cell, now: Moment) -> int:
        return max(0, self._full_at(cell, now) - (self.burst - 1) * self.interval - now)

    def take(self, cell: Cell, now: Moment) -> Cell:
        return self._later(cell, now, self.interval, self._emptiest(now))

    def charge(self, cell: Cell, now: Moment, more: int) -> Cell:
        return self._later(cell, now, more * self.interval, self._emptiest(now) + self.owed * self.interval)

    def _later(self, cell: Cell, now: Moment, by: int, latest: Moment) -> Cell:
        # What is owed already stays so.
        full_at = self._full_at(cell, now)
        return Cell(max(full_at, min(full_at + by, latest)), 0)

    def give_back(self, cell: Cell) -> Cell:
        return Cell(cell.moment - self.interval, 0)

    def succeed(self, cell: Cell) -> Cell:
        return self.give_back(cell)

    def fresh(self, cell: Cell) -> Moment:
        return cell.moment


class Backoff(Rule, frozen=True):
    """`free` failures without delay, then `first`, twice that, and so on up to `longest` after each further one. The
    cell's moment is that of the last failure; one in the future comes from another clock, and counts as none. Its
    number is that of failures, and above them that of attempts under way, which count alike until they are over."""

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


class PerMinute(Rule, frozen=True):
    """At most `most` in any minute, as if those of the former minute had come evenly spread. The cell's moment is when
    its minute began; its number is that of this minute, and above it that of the former."""

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

    def admit(self, cell: Cell, now: Moment) -> Cell | None:
        # Asked for every token of a client, so what was counted is worked out once.
        began, present, former = self._counted(cell, now)
        if present + former >= self.most and self.wait(cell, now):
            return None
        return Cell(began, former * UNDER_WAY + min(present + 1, UNDER_WAY - 1))

    def admit_all(self, cell: Cell, now: Moment, number: int) -> tuple[Cell, Moment] | None:
        """The cell after so many attempts, and until when they are of its minute; None unless there is room for far
        more."""
        began, present, former = self._counted(cell, now)
        if 2 * (present + former + number) > self.most:
            return None
        return Cell(began, former * UNDER_WAY + present + number), began + MINUTE

    def give_back(self, cell: Cell) -> Cell:
        return Cell(cell.moment, cell.times - 1 if cell.times % UNDER_WAY else cell.times)

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


def sign_in_known(realm: str, name: str, device: str) -> Limits:
    """The limit of password attempts on a device that is known for the name: its own failures, and nobody else's."""
    return (Limit("sign_in_pair", f"device {device} {realm} {name}"),)


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


def private_keys(address: str | None) -> Limits:
    """The limit of what anybody reports as private keys: to find out whether one is that takes as long as a hundred
    other requests, and is there as soon as somebody knows the public half."""
    return (Limit("public_address", f"private keys {group(address)}", Bucket(KEYS_AT_ONCE, SECOND)),)


def registration(address: str | None, settings: Settings) -> Limits:
    """The limits of clients that register themselves as anybody may: of one address, and of all together."""
    most = settings.registrations_per_hour
    own = max(1, most // 10)
    alone, together = Bucket(own, 3600 * SECOND // own), Bucket(most, 3600 * SECOND // most)
    return Limit("registrations", group(address), alone), Limit("registrations", "everybody", together)


def registration_change(client_id: str) -> Limits:
    """The limit of a client that changes its own registration: each change is a fact for ever, and so is a refusal."""
    return (Limit("registrations", f"change {client_id}", Bucket(CHANGES_AT_ONCE, MINUTE)),)


def rules(settings: Settings) -> dict[str, Rule]:
    """The rules by their tables' names. All clients of one address together may fail three times as often as one."""
    client_interval = settings.client_interval * SECOND
    return {
        "sign_in_pair": Backoff(settings.sign_in_free, settings.sign_in_longest_delay * SECOND),
        "sign_in_address": Bucket(settings.sign_in_burst, settings.sign_in_interval * SECOND),
        "sign_in_person": Bucket(settings.sign_in_person_burst, settings.sign_in_person_interval * SECOND),
        "client_pair": Bucket(settings.client_burst, client_interval),
        "client_address": Bucket(3 * settings.client_burst, client_interval),
        # A request may turn out to hold the work of so many, and the rate holds for all of it.
        "public_address": Bucket(settings.public_burst, SECOND // settings.public_rate, owed=MOST),
    }
