"""What a look at the present may ask: rows for where to look, and the folds of streams for what is true there."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection


class Folds:
    """Rows and folds as one connection sees them; inside a transaction of the writer's, with what it has decided."""

    __slots__ = ("connection", "state")

    def __init__(self, connection: Connection, state: Callable[[str], Any]) -> None:
        self.connection = connection
        self.state = state
        """A stream's fold; the aggregate's INITIAL when it has no events."""
