"""For how long addresses and user agents are kept: months end, holds keep some of them."""

from domain import hold, origin_month
from eventstore import origin_months
from eventstore.command import Command
from security.clock import end_of_month


def place_hold(hold_id: str, first: str, last: str, reason: str) -> Command[hold.State]:
    """Keeps the months `first` to `last`, `YYYY-MM`, until the hold is released."""
    return Command(
        hold.STREAM,
        lambda state, view: hold.place(state, now=view.now, hold_id=hold_id, first=first, last=last, reason=reason),
    )


def release_hold(hold_id: str) -> Command[hold.State]:
    """Ends a hold."""
    return Command(hold.STREAM, lambda state, view: hold.release(state, now=view.now, hold_id=hold_id))


def destroy_month(month: str, retention_days: int) -> Command[origin_month.State]:
    """Ends what the requests of a month told of where they came from, unless something keeps it."""
    return Command(
        origin_month.stream(month),
        lambda state, view: origin_month.destroy(
            state,
            now=view.now,
            month=month,
            ended_at=end_of_month(month),
            retention_days=retention_days,
            waits_for=origin_months.waits_for(view, month),
        ),
    )
