"""Whose turn it is where many ask at once: nobody waits behind a storm from elsewhere."""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item", bound=Hashable)

# Whose turn it is: round by round one of each address, and within an address one of each person. A storm of callers
# waits behind itself: anyone who comes from elsewhere waits for no more than those who came from as many other
# addresses, whatever the length of their queues. It decides nothing by time or chance, and knows no thread.


class Asker(NamedTuple):
    """For whom something is done: the address that asks, and the person it is about. Texts that mean nothing here."""

    address: str = ""
    person: str = ""


class FairQueue(Generic[Item]):
    """At most `running` at a time, at most `share` of them for one address; at most `room` wait. Not thread-safe."""

    def __init__(self, *, running: int, share: int, room: int) -> None:
        self._running = running
        self._share = share
        self._room = room
        self._queues: OrderedDict[str, OrderedDict[str, deque[Item]]] = OrderedDict()
        """By address and person, in the order of their turns."""
        self._askers: dict[Item, Asker] = {}
        self._waiting_at: Counter[str] = Counter()
        self._waiting_for: Counter[str] = Counter()
        self._running_at: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many have no turn yet."""
        return len(self._askers)

    @property
    def running(self) -> int:
        """How many have their turn."""
        return self._running_at.total()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._askers and not self._running_at

    def put(self, asker: Asker, item: Item) -> Item | None:
        """One more that waits. Who has to go for it is returned: the newest of the longest queue, or this one itself.

        Nobody goes for one who waits in as long a queue. The longest is that of an address, and among addresses with
        one each that of a person.
        """
        self._enter(asker, item)
        if len(self._askers) <= self._room + self._free():
            return None
        leaving = self._newest_of_the_longest(asker, item)
        self.remove(leaving)
        return leaving

    def take(self) -> tuple[Asker, Item] | None:
        """The next one; it runs until `done`. None where nobody may have a turn now."""
        if not self._free():
            return None
        for address, people in self._queues.items():
            if self._running_at[address] < self._share:
                person, queue = next(iter(people.items()))
                item = queue[0]
                # Both go to the end of their round.
                self._queues.move_to_end(address)
                people.move_to_end(person)
                self.remove(item)
                self._running_at[address] += 1
                return Asker(address, person), item
        return None

    def done(self, asker: Asker) -> None:
        """One that ran does not run any more."""
        _less(self._running_at, asker.address)

    def remove(self, item: Item) -> None:
        """It waits no longer; nothing if it does not wait."""
        asker = self._askers.pop(item, None)
        if asker is None:
            return
        people = self._queues[asker.address]
        people[asker.person].remove(item)
        if not people[asker.person]:
            del people[asker.person]
        if not people:
            del self._queues[asker.address]
        _less(self._waiting_at, asker.address)
        _less(self._waiting_for, asker.person)

    def _free(self) -> int:
        return self._running - self.running

    def _enter(self, asker: Asker, item: Item) -> None:
        self._queues.setdefault(asker.address, OrderedDict()).setdefault(asker.person, deque()).append(item)
        self._askers[item] = asker
        self._waiting_at[asker.address] += 1
        self._waiting_for[asker.person] += 1

    def _newest_of_the_longest(self, asker: Asker, item: Item) -> Item:
        address, most = self._waiting_at.most_common(1)[0]
        if most > 1:
            if most == self._waiting_at[asker.address]:
                address = asker.address
            people = self._queues[address]
            longest = max(map(len, people.values()))
            # Of as long ones the one whose turn comes last.
            return next(queue[-1] for queue in reversed(people.values()) if len(queue) == longest)
        person, most = self._waiting_for.most_common(1)[0]
        if most == self._waiting_for[asker.person]:
            return item
        return next(other for other in reversed(self._askers) if self._askers[other].person == person)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


NOBODY = Asker()
"""For whom the server itself asks."""
