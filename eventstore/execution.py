"""What is asked of the ledger, by whom, and what came of it. Who makes what is asked is the room `commands`."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

import msgspec

from domain.decision import Outcome, Refusal
from domain.event import ANONYMOUS, Actor, Recorded
from eventstore.command import Command, Sweep
from eventstore.view import View

T = TypeVar("T")


Single = Command[Any]
"""A command on one stream, whatever the state there is."""

Step = Command[Any] | Sweep[Any]
"""What is executed together, in order."""


class Origin(msgspec.Struct, frozen=True):
    """Who asks and from where, in clear; the ledger seals address and user agent before they are stored.

    `on_device` is the client that asks, if it runs on a person's own device, as public clients and dashboards do: what
    is said of the device is said of the person, where the event is about what they gave to that client.
    """

    actor: Actor = ANONYMOUS
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    on_device: str | None = None


def person_on(device: str, state: Any, event: Any) -> str | None:
    """Whose grant it is, if it is the own one of the client on the `device`: what others present may be stolen, and
    the device a thief's."""
    for told in (state, event):
        if whose := getattr(told, "client_id", None):
            return (getattr(told, "account_id", None) or None) if whose == device else None
    return None


class Executed(msgspec.Struct, Generic[T], frozen=True):
    """What became of the commands. With a refusal, `recorded` holds the facts that the refusal itself established."""

    outcomes: tuple[Outcome, ...]
    recorded: tuple[Recorded, ...]
    refusal: Refusal | None = None
    value: T | None = None


def _nothing(request: "PendingRequest") -> None:
    """What is done about one that is in no queue."""


class PendingRequest(msgspec.Struct, eq=False):
    """The commands of one caller and how to answer. Writer and clock settle whether it is still to be executed."""

    commands: tuple[Step, ...]
    origin: Origin
    then: Callable[[View, tuple[Recorded, ...]], Any] | None
    answer: Callable[[Executed[Any] | None, BaseException | None], None]
    sweeps: bool = False
    """Whether it takes long, or must have a transaction for itself for another reason."""
    since: float = msgspec.field(default_factory=monotonic)
    """When it came, or got ahead last, by the monotonic clock."""
    late: Callable[["PendingRequest"], None] = _nothing
    """What is to be done when it has waited for too long."""
    told: bool = False
    """Whether its caller has an answer."""
    _begun: bool = False
    _settling: Lock = msgspec.field(default_factory=Lock)

    def begin(self) -> bool:
        """Whether it may be executed: from here on it is in a transaction. Its caller may have left meanwhile."""
        with self._settling:
            self._begun = not self.told
            return self._begun

    def leave(self) -> bool:
        """Its caller waits no longer. Whether it is in a transaction; if not, it is never executed."""
        with self._settling:
            begun, self._begun = self._begun, False
            self.told = True
        return begun

    def give_up(self) -> None:
        self.late(self)


Answer = tuple[PendingRequest, Executed[Any] | None, BaseException | None]
"""What became of a request."""
