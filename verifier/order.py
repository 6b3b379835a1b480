"""Reads events in their stored form, and says what order they must keep among themselves."""

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn, Protocol

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII).fullmatch


class Row(NamedTuple):
    """An event as a source gives it. The columns are None where the source has the leaf alone."""

    position: int
    leaf: bytes
    stream: str | None = None
    version: int | None = None
    type: str | None = None


class _Form(Protocol):
    """Those members of the stored form that can be checked against others."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str


_MEMBERS: dict[str, type] = {each: int if each in ("position", "version") else str for each in _Form.__annotations__}


def read_object(text: str) -> dict[str, Any]:
    """A JSON object; ValueError or RecursionError when it is none, or has numbers or characters that do not exist."""
    found = json.loads(text, parse_constant=_no_number)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    if "\\u" in text:
        # Half of a surrogate pair is no character, and cannot be encoded.
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _fastest() -> Callable[[str], _Form]:
    """The way to read a form. With msgspec, which the stand-alone verifier does without, it takes a fifth of the time;
    both ways read the same (tests/verifier/test_order.py)."""
    try:
        import msgspec
    except ModuleNotFoundError:
        return read_plainly
    decoder: Any = msgspec.json.Decoder(msgspec.defstruct("Form", list(_MEMBERS.items())))
    read: Callable[[str], _Form] = decoder.decode
    return read


def read_plainly(text: str) -> _Form:
    """Reads a form by Python's own library; ValueError or RecursionError when it is none."""
    found = read_object(text)
    for name, kind in _MEMBERS.items():
        if type(found.get(name)) is not kind:
            raise ValueError(f"{name} is missing or of another kind")
    return SimpleNamespace(**{name: found[name] for name in _MEMBERS})


read_form = _fastest()
"""Reads a form; ValueError or RecursionError when it is none."""


class Order:
    """Follows events in order of position, and tells what is wrong with one. With `complete` the events are the whole
    log from position 1, so the versions of a stream have no gap; otherwise some are left out, and versions may only
    never go back."""

    def __init__(self, *, complete: bool = True) -> None:
        self._complete = complete
        self._versions: dict[str, int] = {}
        self._time = ""

    def fault(self, row: Row) -> str | None:
        """Why the event cannot stand here, in plain words; None when it can."""
        try:
            form = read_form(row.leaf.decode())
        except (ValueError, RecursionError):
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
            if _TIME(form.time) is None:
                return "its time is not written as times are"
            if form.time < self._time:
                return f"its time {form.time} lies before that of the event in front of it, {self._time}"
            self._time = form.time
        return None


Progress = Callable[[int, int], None]
"""(events done, events in all), called every few thousand events and at the end."""


def no_progress(_done: int, _total: int) -> None:
    """For callers who do not watch."""
