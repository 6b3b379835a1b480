"""The stored form of events, and the order that they must keep among themselves."""

import re
from typing import NamedTuple

import msgspec

_TIME = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z").fullmatch


class Row(NamedTuple):
    """An event as a source gives it. The columns are None where the source has the leaf alone."""

    position: int
    leaf: bytes
    stream: str | None = None
    version: int | None = None
    type: str | None = None


class _Form(msgspec.Struct):
    """Those members of the stored form that can be checked against others."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str


class Order:
    """Follows events in order of position, and tells what is wrong with one.

    With `complete` the events are the whole log from position 1, so the versions of a stream have no gap; otherwise
    some are left out, and versions may only never go back.
    """

    def __init__(self, *, complete: bool = True) -> None:
        self._complete = complete
        self._decode = msgspec.json.Decoder(_Form).decode
        self._versions: dict[str, int] = {}
        self._time = ""

    def fault(self, row: Row) -> str | None:
        """Why the event cannot stand here, in plain words; None when it can."""
        try:
            form = self._decode(row.leaf)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "what is stored there is not an event"
        stream, version = form.stream, form.version
        if form.position != row.position:
            return f"the event there says that it belongs to position {form.position}"
        if row.stream is not None and (stream, version, form.type) != (row.stream, row.version, row.type):
            return "the stored event and the columns beside it name different streams, versions or types"
        before = self._versions.get(stream, 0)
        if version != before + 1 and (self._complete or version <= before):
            return f"its stream {stream} had {before} events before it, and it says that it is number {version}"
        self._versions[stream] = version
        if form.time != self._time:
            if _TIME(form.time.encode()) is None:
                return "its time is not written as times are"
            if form.time < self._time:
                return f"its time {form.time} lies before that of the event in front of it, {self._time}"
            self._time = form.time
        return None
