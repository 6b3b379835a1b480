"""Facts that anyone can repeat: the first is recorded at once, later ones as a count within a window."""

from domain.decision import Outcome, refuse
from domain.refusal import InvalidRequest

COUNT_MAXIMUM = 1_000_000_000
WINDOW_MAXIMUM = 366 * 86_400


def problem(count: int, window_seconds: int) -> Outcome | None:
    """Refuses what is no count of at least one within a window of seconds; a window of 0 is the moment itself."""
    if not 1 <= count <= COUNT_MAXIMUM:
        return refuse(InvalidRequest.MALFORMED, detail=f"must be between 1 and {COUNT_MAXIMUM}", field="count")
    if not 0 <= window_seconds <= WINDOW_MAXIMUM:
        return refuse(
            InvalidRequest.MALFORMED, detail=f"must be between 0 and {WINDOW_MAXIMUM}", field="window_seconds"
        )
    return None
