"""The one bounded mapping, which drops what was used longest ago. Several threads may use it."""

from collections import OrderedDict
from threading import Lock
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lru(OrderedDict[Key, Value]):
    """At most `limit` entries. `used` and `put` count as a use, what a dictionary does, such as `get`, as none."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        if limit < 1:
            raise ValueError("a cache holds at least one entry")
        self._limit = limit
        self._lock = Lock()

    def used(self, key: Key) -> Value | None:
        """The entry, now the most recently used; None when there is none."""
        with self._lock:
            value = self.get(key)
            if value is not None:
                self.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> None:
        """Keep an entry, and drop the one used longest ago when there are too many."""
        with self._lock:
            self[key] = value
            self.move_to_end(key)
            if len(self) > self._limit:
                self.popitem(last=False)
