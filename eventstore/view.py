"""What a command may look at while it holds the append lock."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from domain.event import Moment

if TYPE_CHECKING:
    from eventstore.batch import Batch
    from eventstore.present.folds import Folds
    from eventstore.present.grants import OfGrant

P = ParamSpec("P")
T = TypeVar("T")


class View:
    """The log and its projections as they stand under the lock, the batch's earlier commands included.

    The batch has none of its own: the two would keep each other alive, and with them everything that was decided, until
    a collection finds them.
    """

    __slots__ = ("_batch",)

    def __init__(self, batch: "Batch") -> None:
        self._batch = batch

    @property
    def now(self) -> Moment:
        """The time that every event of this batch gets: never before the newest event's."""
        return self._batch.now

    @property
    def head(self) -> int:
        """The newest position so far."""
        return self._batch.position

    @property
    def connection(self) -> Connection:
        """The transaction's connection, with the rows of earlier commands written. Vault writes go through it."""
        self._batch.flush()
        return self._batch.connection

    def grant_of(self, presented: bytes) -> "OfGrant | None":
        """To which grant a command's `presented` code or token belongs; None for one that was never issued."""
        return self._batch.grants[presented]

    def state(self, stream: str) -> Any:
        """A stream's fold; the aggregate's INITIAL when it has no events."""
        return self._batch.folded(stream)[0]

    def look(self, at: Callable[Concatenate["Folds", P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a look at the present, see `eventstore.present`, with everything decided so far."""
        return at(self._batch.folds(), *args, **kwargs)

    def query(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a projection's query on the transaction's connection, for what is shown: no row decides."""
        return read(self.connection, *args, **kwargs)
