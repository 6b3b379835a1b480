"""What a decision gives: events to record, or a refusal that may carry events of its own."""

from enum import StrEnum
from typing import Any

import msgspec

from domain.event import Event


class Reason(StrEnum):
    """Parent of the closed lists of reasons in `domain.refusal`; each list is one error code of the wire."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a command was refused. `detail` is for the caller and never repeats what they sent; `field` is at fault."""

    reason: Reason
    detail: str | None = None
    field: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """Events to append and, when the command was refused, why. A refusal is a fact: its events are recorded too."""

    events: tuple[Event, ...] = ()
    refusal: Refusal | None = None
    result: Any = None


def accept(*events: Event, result: Any = None) -> Outcome:
    """The command is carried out; with no events it had been already."""
    return Outcome(events, None, result)


def refuse(reason: Reason, *events: Event, detail: str | None = None, field: str | None = None) -> Outcome:
    """The command is refused; `events` are the facts that the attempt itself established."""
    return Outcome(events, Refusal(reason, detail, field))
