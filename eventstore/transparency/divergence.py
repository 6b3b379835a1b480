"""That the log is not the one that its tree was built over."""


class Diverged(Exception):
    """The log is not the one that the stored tree was built over: an alarm. Nothing is signed any more.

    `position` is the event's that was looked at, where it was one.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position

    @classmethod
    def at(cls, position: int) -> "Diverged":
        """The event there is another one, or has gone."""
        return cls(f"the event at position {position} is not the one that the tree holds", position)
