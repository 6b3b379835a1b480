"""Readings of the log, each of which the log tells: `stream` is that of the reader's day, `audit.stream`."""

from collections.abc import Callable, Mapping

from domain import audit
from domain.decision import Outcome, Refusal
from eventstore.command import Command
from eventstore.view import View


def read(
    stream: str,
    question: audit.Question,
    parameters: Mapping[str, str],
    count: int | Callable[[View], int | Refusal],
    *,
    unsealed: bool = False,
    address: str | None = None,
) -> Command[audit.State]:
    """A question was answered with `count` records, or with as many as are counted under the lock."""

    def decide(state: audit.State, view: View) -> Outcome | Refusal:
        found = count if isinstance(count, int) else count(view)
        if isinstance(found, Refusal):
            return found
        return audit.read(
            state,
            now=view.now,
            question=question,
            parameters=dict(parameters),
            count=found,
            address=address,
            unsealed=unsealed,
        )

    return Command(stream, decide)


def open_export(
    stream: str, reading_id: str, parameters: Mapping[str, str], *, address: str | None, unsealed: bool
) -> Command[audit.State]:
    """An export begins."""
    return Command(
        stream,
        lambda state, view: audit.open_export(
            state,
            now=view.now,
            reading_id=reading_id,
            parameters=dict(parameters),
            address=address,
            unsealed=unsealed,
        ),
    )


def close_export(stream: str, reading_id: str, count: int, *, complete: bool) -> Command[audit.State]:
    """An export is over, with so many records handed out."""
    return Command(
        stream,
        lambda state, view: audit.close_export(
            state,
            now=view.now,
            reading_id=reading_id,
            count=count,
            completion="complete" if complete else "broken_off",
        ),
    )


def open_stream(stream: str, reading_id: str, first: int, *, unsealed: bool) -> Command[audit.State]:
    """Somebody follows the log from position `first` on."""
    return Command(
        stream,
        lambda state, view: audit.open_stream(
            state, now=view.now, reading_id=reading_id, first=first, unsealed=unsealed
        ),
    )


def close_stream(stream: str, reading_id: str, last: int, count: int) -> Command[audit.State]:
    """They follow no longer, and were told `count` events up to position `last`."""
    return Command(
        stream,
        lambda state, view: audit.close_stream(state, now=view.now, reading_id=reading_id, last=last, count=count),
    )
