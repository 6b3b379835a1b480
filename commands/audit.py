"""What auditors do: they read the log, each time an event, and hold addresses that would end with their month."""

from collections.abc import Callable, Mapping

from domain import audit, hold, origin_month
from domain.decision import Outcome, Refusal
from domain.event import Event
from eventstore import origin_months
from eventstore.command import Command
from eventstore.view import View
from security.clock import Moment, end_of_month


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
        reading = audit.Read(
            question=question, parameters=dict(parameters), count=found, address=address, unsealed=unsealed
        )
        return audit.note(state, now=view.now, reading=reading)

    return Command(stream, decide)


def watch(
    stream: str,
    question: audit.Question,
    parameters: Mapping[str, str],
    count: int,
    *,
    seconds: int,
    unsealed: bool,
) -> Command[audit.State]:
    """A question was answered that will be asked again and again for so many seconds."""
    reading = audit.Watched(
        question=question, parameters=dict(parameters), count=count, seconds=seconds, unsealed=unsealed
    )
    return _noted(stream, reading)


def open_export(
    stream: str, reading_id: str, parameters: Mapping[str, str], *, address: str | None, unsealed: bool
) -> Command[audit.State]:
    """An export begins."""
    return _noted(
        stream,
        audit.ExportOpened(reading_id=reading_id, parameters=dict(parameters), address=address, unsealed=unsealed),
    )


def open_list_export(
    stream: str, reading_id: str, name: audit.ListName, parameters: Mapping[str, str], *, unsealed: bool
) -> Command[audit.State]:
    """A list begins to be handed out whole."""
    opened = audit.ListExportOpened(
        reading_id=reading_id, list_name=name, parameters=dict(parameters), unsealed=unsealed
    )
    return _noted(stream, opened)


def close_export(stream: str, reading_id: str, count: int, *, complete: bool) -> Command[audit.State]:
    """An export is over, with so many records handed out."""
    completion: audit.Completion = "complete" if complete else "broken_off"
    return _noted(stream, audit.ExportClosed(reading_id=reading_id, count=count, completion=completion))


def open_stream(
    stream: str, reading_id: str, first: int, parameters: Mapping[str, str], *, address: str | None, unsealed: bool
) -> Command[audit.State]:
    """Somebody follows the log from position `first` on, or what filters leave of it."""
    opened = audit.StreamOpened(
        reading_id=reading_id, first=first, parameters=dict(parameters), address=address, unsealed=unsealed
    )
    return _noted(stream, opened)


def close_stream(stream: str, reading_id: str, last: int, count: int) -> Command[audit.State]:
    """They follow no longer, and were told `count` events up to position `last`."""
    return _noted(stream, audit.StreamClosed(reading_id=reading_id, last=last, count=count))


def _noted(stream: str, reading: Event) -> Command[audit.State]:
    return Command(stream, lambda state, view: audit.note(state, now=view.now, reading=reading))


def place_hold(hold_id: str, first: str, last: str, reason: str) -> Command[hold.State]:
    """Keeps the months `first` to `last`, `YYYY-MM`, until the hold is released."""
    return Command(
        hold.STREAM,
        lambda state, view: hold.place(state, now=view.now, hold_id=hold_id, first=first, last=last, reason=reason),
    )


def release_hold(hold_id: str) -> Command[hold.State]:
    """Ends a hold."""
    return Command(hold.STREAM, lambda state, view: hold.release(state, now=view.now, hold_id=hold_id))


def destroy_month(month: str, retention_days: int, certain: Moment) -> Command[origin_month.State]:
    """Ends what the requests of a month said of where they came from, unless something keeps it. `certain` is a moment
    that has come whatever clocks say."""
    return Command(
        origin_month.stream(month),
        lambda state, view: origin_month.destroy(
            state,
            now=min(view.now, certain),
            month=month,
            ended_at=end_of_month(month),
            retention_days=retention_days,
            waits_for=origin_months.waits_for(view, month),
        ),
    )
