"""What is asked of the ledger, and what it answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from domain.decision import Outcome, Refusal
from domain.event import ANONYMOUS, Actor, Recorded

if TYPE_CHECKING:
    from eventstore.view import View

T = TypeVar("T")


class Command(msgspec.Struct, frozen=True):
    """One verb on one stream. `under_lock` reads again, under the append lock, what the caller had checked before it.

    The ledger calls `verb(state, now=…, **facts, **under_lock(view))`. A refusal in the place of facts refuses the
    command before the verb is asked. `starts` says that the stream's id was made for this command, so that nobody has
    to look whether it has events; if it has, the append fails. `presented` is the digest of a code or token: the verb
    is then about the grant to which it belongs, which is looked up under the lock, for all commands of a transaction at
    once; `view.grant_of` tells what was found, and `stream` counts only when nothing was. `elsewhere` names, under the
    lock, a stream to which the command goes in the place of `stream`, or None. `alone` says that nothing else may share
    the transaction.
    """

    stream: str
    verb: Callable[..., Outcome]
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    under_lock: "Callable[[View], Mapping[str, Any] | Refusal] | None" = None
    starts: bool = False
    presented: bytes | None = None
    elsewhere: "Callable[[View], str | None] | None" = None
    alone: bool = False


class Sweep(msgspec.Struct, frozen=True):
    """One verb on any number of streams, in the transaction of the commands around it and after all of them were
    decided. What came of it is not among what is `recorded`: only one portion of it is in memory at a time.

    `streams` is asked under the lock, portion by portion. The verb may record nothing, but must not refuse, since what
    came before has been written. A caller who sweeps has a transaction alone.
    """

    streams: "Callable[[View], Iterable[Sequence[str]]]"
    verb: Callable[..., Outcome]
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


Step = Command | Sweep
"""What is executed together, in order."""


class Origin(msgspec.Struct, frozen=True):
    """Who asks and from where, in clear; the ledger seals address and user agent before they are stored.

    `on_device` is the client that asks, if it runs on a person's own device, as public clients and dashboards do: what
    is told of the device is told of the person, where the event is about what they gave to that client.
    """

    actor: Actor = ANONYMOUS
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    on_device: str | None = None


class Executed(msgspec.Struct, Generic[T], frozen=True):
    """What became of the commands. With a refusal, `recorded` holds the facts that the refusal itself established."""

    outcomes: tuple[Outcome, ...]
    recorded: tuple[Recorded, ...]
    refusal: Refusal | None = None
    value: T | None = None


class Overloaded(Exception):
    """More commands wait than the ledger accepts (503 with Retry-After)."""


class InDoubt(Overloaded):
    """Not at present: the log has diverged, and this would let somebody do more than before (503 with Retry-After)."""


class DatabaseAway(Exception):
    """The database does not answer or keeps its lock (503 with Retry-After).

    Nothing of the command was stored, unless the database went while it committed: then nobody can tell.
    """


class DatabaseSilent(DatabaseAway):
    """The database has not answered for as long as anybody waits."""


class DatabaseReadOnly(DatabaseAway):
    """The database takes nothing at present: it is a standby, or its file may not be written."""


class StorageFull(DatabaseAway):
    """The database has no room for what was to be stored. What is stored can be read."""


class WentBack(DatabaseAway):
    """The log is not the continuation of what this process has seen (503 until it is restarted); says why.

    The database was put back to an older copy, or another one has taken its place, as after a fail-over to a standby
    that did not have everything. What this process remembers is of events that are gone.
    """


class WrongClock(DatabaseAway):
    """This machine's clock is off, so that nothing can be written here (503 with Retry-After). Nothing was stored."""


class Forged(DatabaseAway):
    """The event at `position` is not authentic, or not there: nothing obeys it, and nothing is written behind it."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the log is forged at position {position}")
        self.position = position
