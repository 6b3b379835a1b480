"""What is asked of the ledger, and what it answers. Who makes what is asked is the room `commands`."""

from typing import Any, Generic, TypeVar

import msgspec

from domain.decision import Outcome, Refusal
from domain.event import ANONYMOUS, Actor, Recorded
from eventstore.command import Command, Sweep

T = TypeVar("T")


Single = Command[Any]
"""A command on one stream, whatever the state there is."""

Step = Command[Any] | Sweep[Any]
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
