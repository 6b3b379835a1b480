"""Between an event and its one stored form.

The stored form is one JSON object, written once and never encoded again: its bytes are the leaf of the
transparency log. Tags are the topics; a tag that was retired is read through an upcast.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent

from domain.event import Actor, Event, Moment, Recorded
from domain.events import EVENTS
from security.clock import format_rfc3339, parse_rfc3339

MAX_BYTES = 65_535
"""What a tlog-tiles entry bundle can hold: a 16-bit length (C2SP tlog-tiles, "Log entries")."""

Upcast = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]

UPCASTS: dict[str, Upcast] = {}
"""Retired tag → function from its stored data to a living tag and its data."""


class _Leaf(msgspec.Struct, omit_defaults=True):
    """The stored form, member order included."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str
    actor: Actor
    data: Any
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class _RawLeaf(msgspec.Struct):
    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str
    actor: Actor
    data: msgspec.Raw
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class EventTooLarge(Exception):
    """A stored form beyond `MAX_BYTES`: some field lacks its maximum length, which is a bug."""


class LogMapper(Mapper[str]):
    """Encodes `Recorded` to the stored form and back. It keeps the library's interface and none of its transcoding."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._leaf = msgspec.json.Decoder(_RawLeaf)
        self._data: dict[str, msgspec.json.Decoder[Any]] = {e.type: msgspec.json.Decoder(e) for e in EVENTS}
        self._times: tuple[Moment, str] = (0, format_rfc3339(0))

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The stored form of one recorded event; raises `EventTooLarge`."""
        r: Recorded = domain_event
        return StoredEvent(r.stream, r.version, r.event.type, self.stored(r))

    def stored(self, r: Recorded) -> bytes:
        """The text of the `state` column, in UTF-8; raises `EventTooLarge`."""
        if self._times[0] != r.time:
            self._times = (r.time, format_rfc3339(r.time))
        tag = r.event.type
        state = self._encoder.encode(
            _Leaf(
                r.position,
                r.id,
                tag,
                r.stream,
                r.version,
                self._times[1],
                r.actor,
                r.event,
                r.request_id,
                r.ip,
                r.user_agent,
            )
        )
        if len(state) > MAX_BYTES:
            raise EventTooLarge(f"{tag} takes {len(state)} bytes")
        return state

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The recorded event of a stored form."""
        return self.recorded(stored_event.state)

    def recorded(self, state: bytes | str) -> Recorded:
        """Decodes the text of a `state` column; raises `msgspec.DecodeError` when it is none of our stored forms."""
        leaf = self._leaf.decode(state)
        return Recorded(
            leaf.position,
            leaf.id,
            leaf.stream,
            leaf.version,
            parse_rfc3339(leaf.time),
            leaf.actor,
            leaf.request_id,
            leaf.ip,
            leaf.user_agent,
            self._event(leaf.type, leaf.data),
        )

    def _event(self, tag: str, data: msgspec.Raw) -> Event:
        decoder = self._data.get(tag)
        if decoder is None:
            tag, old = UPCASTS[tag](msgspec.json.decode(data))
            upcast: Event = msgspec.convert(old, self._data[tag].type)
            return upcast
        event: Event = decoder.decode(data)
        return event  # noqa: RET504 - the annotation tells the type checker what a decoder of Any gives
