"""Load at a given rate, whatever the server does: requests are sent when they are due and not when others are answered.

A request's latency counts from the moment at which it was due. So a server that stalls is charged for every request
that came meanwhile, which a load that waits for answers would leave out (coordinated omission).
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter

from bench import asking
from bench.asking import Answer, Connection

TICK = 0.001
"""Seconds between looks at what is due: so late a request may be sent, and its latency includes that."""

LAST_ANSWERS_WITHIN = 10.0
"""Seconds after the last request."""


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of a load. Times in milliseconds; those of latencies are of answers with status 200.

    `unsent` were due when every connection was busy; `late` is by how much the sender was behind, p99.
    """

    offered: float
    accepted: float
    statuses: dict[int, int]
    unsent: int
    p50: float
    p99: float
    late: float
    without_retry_after: int

    @property
    def shed(self) -> float:
        """The share of answers that were 503."""
        answered = sum(self.statuses.values())
        return self.statuses.get(503, 0) / answered if answered else 0.0

    @property
    def broken(self) -> int:
        """Answers that are neither a success nor a refusal for overload."""
        return sum(count for status, count in self.statuses.items() if status not in (200, 503))


class _Load:
    """`queue` says what becomes of a request for which no connection is free: it waits, or else it is not sent."""

    def __init__(self, requests: Iterator[bytes], opened: list[Connection], *, queue: bool) -> None:
        self._requests = requests
        self._free = opened[:]
        self._queue = queue
        self._waiting: deque[float] = deque()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.unsent = 0
        self.under_way = 0
        self.without_retry_after = 0
        for each in opened:
            each.answered = self._answered(each)

    def _answered(self, connection: Connection) -> Callable[[Answer], None]:
        latencies, statuses, free, waiting = self.latencies, self.statuses, self._free, self._waiting

        def answered(answer: Answer) -> None:
            status = answer[0]
            statuses[status] += 1
            if status == 200:
                latencies.append(perf_counter() - connection.due)
            elif status == 503 and b"retry-after" not in answer[1].lower():
                self.without_retry_after += 1
            self.under_way -= 1
            if not connection.open:
                return
            if waiting:
                self._send(connection, waiting.popleft())
            else:
                free.append(connection)

        return answered

    def _send(self, connection: Connection, due: float) -> None:
        connection.due = due
        self.under_way += 1
        connection.send(next(self._requests))

    def due(self, moment: float, now: float) -> None:
        """One request became due."""
        free = self._free
        while free:
            connection = free.pop()
            if connection.open:
                self.late.append(now - moment)
                self._send(connection, moment)
                return
        if self._queue:
            self._waiting.append(moment)
        else:
            self.unsent += 1


async def pace(
    port: int, requests: list[bytes], *, rate: float, seconds: float, connections: int, queue: bool = True
) -> Paced:
    """Offers so many requests a second for so long, in turn; `queue=False` gives up what finds no free connection."""
    total = int(rate * seconds)
    async with asking.connections(port, connections) as opened:
        load = _Load(cycle(requests), opened, queue=queue)
        start, sent = perf_counter(), 0
        while sent < total:
            now = perf_counter()
            upto = min(total, int((now - start) * rate) + 1)
            for place in range(sent, upto):
                load.due(start + place / rate, now)
            sent = upto
            await asyncio.sleep(TICK)
        took = perf_counter() - start
        accepted = load.statuses[200]
        end = perf_counter() + LAST_ANSWERS_WITHIN
        while load.under_way and perf_counter() < end:
            await asyncio.sleep(0.01)
        load.statuses[0] += load.under_way
    return Paced(
        offered=total / took,
        accepted=accepted / took,
        statuses={status: count for status, count in load.statuses.items() if count},
        unsent=load.unsent,
        p50=share(load.latencies, 0.5) * 1000,
        p99=share(load.latencies, 0.99) * 1000,
        late=share(load.late, 0.99) * 1000,
        without_retry_after=load.without_retry_after,
    )


def share(values: list[float], part: float) -> float:
    """The value below which that part of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
