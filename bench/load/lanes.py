"""Connections of which it is known which worker holds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.load import asking
from bench.load.asking import Connection
from bench.subjects import processes
from bench.subjects.server import Server

ATTEMPTS = 400
"""Connections that are opened until every worker has enough of them. The kernel chooses who gets which."""


class Unbalanced(Exception):
    """Some worker was given no connections."""


class Lane(tuple[Connection, ...]):
    """One connection to each worker."""

    __slots__ = ()

    def at(self, number: int) -> Connection:
        """The connections in turn."""
        return self[number % len(self)]


@asynccontextmanager
async def lanes(over: Server, count: int) -> AsyncIterator[list[Lane]]:
    """So many lanes, closed at the end. Raises `Unbalanced`."""
    held: dict[int, list[Connection]] = {pid: [] for pid in over.workers}
    opened: list[Connection] = []
    live = asking.request(over.port, "GET", "/health/live")
    try:
        for _ in range(ATTEMPTS):
            connection = await asking.connect(over.port)
            opened.append(connection)
            # An answer shows that a worker has taken it.
            await connection.ask(live)
            pid = processes.holder(over.workers, over.port, connection.port)
            if pid is not None:
                held[pid].append(connection)
            taken = [each for each in held.values() if each]
            if len(taken) >= 2 and min(len(each) for each in taken) >= count:
                break
        else:
            raise Unbalanced(f"connections of the workers: {[len(each) for each in held.values()]}")
        yield [Lane(each[number] for each in taken) for number in range(count)]
    finally:
        for each in opened:
            each.close()
