"""A stretch of a list, and the key after which the next one begins (keyset pagination)."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key")


class Page(NamedTuple, Generic[Item, Key]):
    """`next` is the key to hand in as `after`; None at the end."""

    items: tuple[Item, ...]
    next: Key | None


def cut(found: Sequence[Item], limit: int, key: Callable[[Item], Key]) -> Page[Item, Key]:
    """A page of `limit` items out of one more than that, whose presence tells that the list goes on."""
    items = tuple(found[:limit])
    return Page(items, key(items[-1]) if len(found) > limit else None)
