"""Going round in a running server: a step, and then a rest so many times as long that nobody notices the cost."""

from collections.abc import Awaitable, Callable

from eventstore.commands import DatabaseAway, Overloaded

LEAST_REST_S = 0.02
"""Rest even when a step took no time that could be measured."""

AWAY_S = 1.0
"""Rest when the database is away, or when there was nothing to do."""


async def go_round(
    step: Callable[[], Awaitable[bool]],
    rest: float,
    *,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Steps until cancelled or over. A step says whether there was anything to do; `rest` is a multiple of its time."""
    while not is_over():
        began = now()
        try:
            stepped = await step()
        except (DatabaseAway, Overloaded):
            stepped = False
        await sleep(max(LEAST_REST_S, rest * (now() - began)) if stepped else AWAY_S)
