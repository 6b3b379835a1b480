"""The one bounded mapping, which drops what was used longest ago. Several threads may use it."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lru(OrderedDict[Key, Value]):
    """At most `limit` entries, or as many as weigh that together, and the last one in any case. `used` and `put` count
    as a use, what a dictionary does, such as `get`, as none."""

    def __init__(self, limit: int, weigh: Callable[[Value], int] | None = None) -> None:
        super().__init__()
        if limit < 1:
            raise ValueError("a cache holds at least one entry")
        self._limit = limit
        self._weigh = weigh
        self._lock = Lock()

    def used(self, key: Key) -> Value | None:
        """The entry, now the most recently used; None when there is none."""
        with self._lock:
            value = self.get(key)
            if value is not None:
                self.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> None:
        """Keep an entry, and drop those used longest ago when there are too many."""
        with self._lock:
            self[key] = value
            self.move_to_end(key)
            weigh = self._weigh
            if weigh is None:
                if len(self) > self._limit:
                    self.popitem(last=False)
                return
            while len(self) > 1 and sum(map(weigh, self.values())) > self._limit:
                self.popitem(last=False)
