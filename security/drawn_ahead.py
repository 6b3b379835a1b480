"""Random values that are no secret, drawn many at a time: to ask the system for each lets other threads go first."""

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T", str, bytes)

AT_A_TIME = 2_048


class _Ahead(threading.local, Generic[T]):
    """What a thread drew and has not handed out yet. Each thread begins with nothing."""

    def __init__(self, draw: Callable[[int], T]) -> None:
        self._draw: Callable[[int], T] = draw
        self._left: T = draw(0)

    def forget(self) -> None:
        self._left = self._draw(0)

    def take(self, count: int) -> T:
        if len(self._left) < count:
            self._left = self._draw(AT_A_TIME)
        drawn: T = self._left[:count]
        self._left = self._left[count:]
        return drawn


def drawn_ahead(draw: Callable[[int], T]) -> Callable[[int], T]:
    """As `draw`, which gives so many characters or octets, but many at a time; `AT_A_TIME` are the most.

    A forked process never hands out what its parent has drawn.
    """
    ahead = _Ahead(draw)
    os.register_at_fork(after_in_child=ahead.forget)
    return ahead.take
