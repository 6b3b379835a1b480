"""How what is to be told to many is tried side by side: anyone who is slow to answer keeps nobody else waiting."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

AT_ONCE = 16
"""So many does one process have under way at a time."""

OF_ONE = 4
"""How many of these may be for one client."""

Claim = Callable[[int, tuple[str, ...]], Awaitable[Sequence[T]]]
"""Takes at most so many of what is due, and nothing of these clients."""


async def try_all(
    claim: Claim[T], attempt: Callable[[T], Coroutine[Any, Any, None]], whose: Callable[[T], str]
) -> None:
    """Tries what is claimed, until nothing is. `whose` tells for which client something is."""
    under_way: dict[asyncio.Task[None], str] = {}
    try:
        while True:
            busy = Counter(under_way.values())
            if (room := AT_ONCE - busy.total()) > 0:
                for each in await claim(room, tuple(busy)):
                    under_way[asyncio.create_task(attempt(each))] = whose(each)
            if not under_way:
                return
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for over in done:
                del under_way[over]
                over.result()
    finally:
        for left in under_way:
            left.cancel()
