"""The history that the demo plays: that it begins is said before anything else is recorded."""

from domain.event import Moment
from domain.moving import demo_history
from eventstore.command import Command


def begin(played_at: Moment) -> Command[demo_history.State]:
    """Says that what follows is played, up to `played_at`; refused where the log has events."""
    return Command(
        demo_history.STREAM,
        lambda state, view: demo_history.begin(state, now=view.now, played_at=played_at, head=view.head),
    )
