"""What a command may look at while it holds the append lock, and what any look at the present may."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import Connection

from domain.event import Moment
from domain.usage import SecretKind

P = ParamSpec("P")
T = TypeVar("T")


class OfGrant(NamedTuple):
    """To which grant a code or token belongs."""

    kind: SecretKind
    grant_id: str
    account_id: str | None


class Folds:
    """Rows and folds as one connection sees them; inside a transaction of the writer's, with what it has decided."""

    __slots__ = ("connection", "state", "together")

    def __init__(
        self,
        connection: Connection,
        state: Callable[[str], Any],
        together: Callable[[Collection[str]], object] = lambda streams: None,
    ) -> None:
        self.connection = connection
        self.state = state
        """A stream's fold; the aggregate's INITIAL when it has no events."""
        self.together = together
        """Has the folds of these streams read together, if they are not known: for who asks for many."""


class View(ABC):
    """The log and its projections as they stand under the lock, the batch's earlier commands included: what commands
    see of a `Batch`. `now` is the time that every event of this batch gets: never before the newest's.
    """

    now: Moment

    @property
    @abstractmethod
    def head(self) -> int:
        """The newest position so far."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """The transaction's connection, with the rows of earlier commands written. Vault writes go through it."""

    @abstractmethod
    def grant_of(self, presented: bytes) -> OfGrant | None:
        """To which grant a command's `presented` code or token belongs; None for one that was never issued."""

    @abstractmethod
    def state(self, stream: str) -> Any:
        """A stream's fold; the aggregate's INITIAL when it has no events."""

    @abstractmethod
    def states(self, streams: Collection[str]) -> list[Any]:
        """The folds of several streams, in their order."""

    @abstractmethod
    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for all commands that ask by the same key, until a stream that is no grant's
        gets an event, or another process writes. It may follow from the key and from folds of such streams, and from
        nothing else."""

    @abstractmethod
    def decided(self, key: Hashable, make: Callable[[], T]) -> T:
        """The same of what follows from `now` too: for this transaction alone."""

    @abstractmethod
    def look(self, at: Callable[Concatenate[Folds, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a look at the present, see `eventstore.present`, with everything decided so far."""

    def query(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a projection's query on the transaction's connection, for what is shown: no row decides."""
        return read(self.connection, *args, **kwargs)
