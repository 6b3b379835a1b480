"""Who watched: every question put to the log by way of `/audit` and `/leaks`, and every list that was handed out whole.
Stream `audit:<day>`, a day in UTC.

A stream a day, because one stream of all questions ever asked would take ever longer to be read anew after a start.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded

Question = Literal[
    "events",
    "event",
    "token_history",
    "token_state",
    "state",
    "proof",
    "entries",
    "leak_investigation",
    "leak_containment",
    "leak_containment_dry_run",
    "incidents",
    "find",
    "counts",
    "overview",
    "diff",
]
ListName = Literal["clients", "people", "grants", "roles", "incidents"]
Completion = Literal["complete", "broken_off"]


def stream(day: str) -> str:
    """The stream of the questions of a day, `YYYY-MM-DD`."""
    return f"audit:{day}"


class Read(Event, frozen=True, kw_only=True):
    """Somebody asked a question and got `count` records. `parameters` is what they asked, secrets as digests.

    `address` is the network address they asked for, sealed under keys of the day and the month; `unsealed` says that
    they were shown personal values.
    """

    type = "audit.read"
    in_doubt = True
    personal = ("address",)
    of_origin = personal

    question: Question
    parameters: dict[str, str] = {}
    address: str | None = None
    count: int
    unsealed: bool = False


class Watched(Event, frozen=True, kw_only=True):
    """Somebody asked a question that they ask again and again: within `seconds` no further event tells of it.

    `count` is what they got the first time. Were they shown more than then, such as personal values, it would be
    another event.
    """

    type = "audit.watched"
    in_doubt = True

    question: Question
    parameters: dict[str, str] = {}
    count: int
    seconds: int
    unsealed: bool = False


class ExportOpened(Event, frozen=True, kw_only=True):
    """An export of the log began. `reading_id` names it until it is closed."""

    type = "audit.export_opened"
    in_doubt = True
    personal = ("address",)
    of_origin = personal

    reading_id: str
    parameters: dict[str, str] = {}
    address: str | None = None
    unsealed: bool = False


class ListExportOpened(Event, frozen=True, kw_only=True):
    """The whole list of `list_name` was handed out as a file. `reading_id` names that until `audit.export_closed` says
    how much of it; `parameters` is what they asked for, and `unsealed` says that it had personal values.
    """

    type = "audit.list_export_opened"
    in_doubt = True

    reading_id: str
    list_name: ListName
    parameters: dict[str, str] = {}
    unsealed: bool = False


class ExportClosed(Event, frozen=True, kw_only=True):
    """An export is over, with so many records handed out."""

    type = "audit.export_closed"
    in_doubt = True

    reading_id: str
    count: int
    completion: Completion


class StreamOpened(Event, frozen=True, kw_only=True):
    """Somebody began to follow the log from `first` on; what `parameters` leave of it."""

    type = "audit.stream_opened"
    in_doubt = True
    personal = ("address",)
    of_origin = personal

    reading_id: str
    first: int
    parameters: dict[str, str] = {}
    address: str | None = None
    unsealed: bool = False


class StreamClosed(Event, frozen=True, kw_only=True):
    """They follow no longer. `last` is the position up to which they were told, `count` how many events."""

    type = "audit.stream_closed"
    in_doubt = True

    reading_id: str
    last: int
    count: int


EVENTS: tuple[type[Event], ...] = (
    *(Read, Watched, ExportOpened, ListExportOpened, ExportClosed, StreamOpened, StreamClosed),
)


class State(msgspec.Struct, frozen=True):
    """How much was asked that day. `records` counts what was handed out."""

    reads: int = 0
    records: int = 0
    opened: int = 0
    closed: int = 0


INITIAL = State()


def note(state: State, *, now: Moment, reading: Event) -> Outcome:
    """Records a question that was answered, or where an export or a stream begins or ends, maybe on a later day."""
    return accept(reading)


def evolve(state: State, recorded: Recorded) -> State:
    """The day's readings after one more event."""
    match recorded.event:
        case Read(count=count) | Watched(count=count):
            return replace(state, reads=state.reads + 1, records=state.records + count)
        case ExportOpened() | ListExportOpened() | StreamOpened():
            return replace(state, opened=state.opened + 1)
        case ExportClosed(count=count) | StreamClosed(count=count):
            return replace(state, closed=state.closed + 1, records=state.records + count)
        case _:
            raise AssertionError(f"{recorded.type} is no event of an audit")
