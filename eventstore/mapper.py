"""Between an event and its one stored form.

The stored form is one JSON object, written once and never encoded again: its bytes are the leaf of the
transparency log. Tags are the topics; a tag that was retired is read through an upcast.

Its last member, `mac`, authenticates it: under the key that is good for its position (`mac_keys`), over the log's name
and the exact bytes without that member. **Whoever reads an event reads it through a mapper**, which gives out nothing
that does not verify: through `recorder.store(connection)`, or, of a row that another query found,

    row = select(*ROW).where(...)                 # the five columns, in this order
    decoder(connection).recorded(row)             # the event, its columns compared with what it says
    decoder(connection).text(row)                 # the stored form, for who shows or hashes it

Both raise `execution.Forged`, which names the position. A connection has a mapper when its engine was given one, by
`authenticate` or, in a process that has a ledger, by the ledger.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent
from sqlalchemy import Connection, Engine

from domain.event import Actor, Event, Moment, Recorded
from domain.events import EVENTS
from eventstore.execution import Forged
from eventstore.keys.mac_keys import Ring
from security.clock import format_rfc3339, parse_rfc3339
from security.mac import HEX_DIGITS
from security.vault import Vault

MAX_BYTES = 65_535
"""What a tlog-tiles entry bundle can hold: a 16-bit length (C2SP tlog-tiles, "Log entries")."""

Upcast = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]

UPCASTS: dict[str, Upcast] = {}
"""Retired tag → function from its stored data to a living tag and its data."""


Row = Sequence[Any]
"""Position, stream, version, topic and stored form of an event, as its columns say; the form as text or its bytes."""

_MEMBER = ',"mac":"'
_MAC_BYTES = len(_MEMBER) + HEX_DIGITS + len('"}')
_MAPPER = "grantlog_mapper"


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


class _Place(msgspec.Struct, gc=False):
    """Those members of the stored form that stand in columns as well."""

    position: int
    stream: str
    version: int
    type: str


class EventTooLarge(Exception):
    """A stored form beyond `MAX_BYTES`: some field lacks its maximum length, which is a bug."""


class LogMapper(Mapper[str]):
    """The library's mapper: encodes `Recorded` to the stored form and back, with nothing of its transcoding.

    It reads what its `reader` reads: where an event does not verify, that is asked for keys which began meanwhile.
    """

    def __init__(self, ring: Ring, reader: Engine | Connection | None = None) -> None:
        self.ring = ring
        self._reader = reader
        self._encoder = msgspec.json.Encoder()
        self._leaf = msgspec.json.Decoder(_RawLeaf)
        self._place = msgspec.json.Decoder(_Place)
        self._data: dict[str, msgspec.json.Decoder[Any]] = {e.type: msgspec.json.Decoder(e) for e in EVENTS}
        self._times: tuple[Moment, str] = (0, format_rfc3339(0))

    def over(self, reader: Engine | Connection) -> Self:
        """The same for another reader; they have the ring in common. To make it costs next to nothing."""
        mapper = type(self).__new__(type(self))
        mapper.__dict__ = {**self.__dict__, "_reader": reader}
        return mapper

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
        mac = self.ring.writing(r.position).authenticator.mac(state)
        state = b'%b,"mac":"%b"}' % (state[:-1], mac.encode())
        if len(state) > MAX_BYTES:
            raise EventTooLarge(f"{tag} takes {len(state)} bytes")
        return state

    def to_domain_event(self, stored_event: Any) -> Any:
        """The event of a notification, or of a stored event that the recorder gave; raises `Forged`."""
        return self.recorded(stored_event)

    def is_authentic(self, position: int, form: bytes) -> bool:
        """Whether that stored form was written for this position, as far as the ring knows."""
        key = self.ring.of(position)
        end = len(form) - _MAC_BYTES
        if key is None or end < 1:
            return False
        return form[end:] == b',"mac":"%b"}' % key.authenticator.mac(form[:end] + b"}").encode()

    def form(self, row: Row) -> bytes:
        """The stored form of an authentic row; raises `Forged`."""
        form = self._authenticated(row)
        self._compare(row, self._place.decode(form))
        return form

    def text(self, row: Row) -> str:
        """The same as text."""
        return self.form(row).decode()

    def recorded(self, row: Row) -> Recorded:
        """The event of an authentic row; raises `Forged`."""
        leaf = self._leaf.decode(self._authenticated(row))
        self._compare(row, leaf)
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

    def _authenticated(self, row: Row) -> bytes:
        position, form = row[0], row[4]
        if type(form) is str:
            form = form.encode()
        if not self.is_authentic(position, form):
            # Another process may have begun a key: the vault says so wherever the event under it is to be seen.
            self._ask_for_keys()
            if not self.is_authentic(position, form):
                raise Forged(position)
        return form  # type: ignore[no-any-return]

    def _ask_for_keys(self) -> None:
        if isinstance(self._reader, Engine):
            with self._reader.connect() as connection:
                self.ring.load(connection)
        elif self._reader is not None:
            self.ring.load(self._reader)

    @staticmethod
    def _compare(row: Row, form: "_Place | _RawLeaf") -> None:
        if (form.position, form.stream, form.version, form.type) != (row[0], row[1], row[2], row[3]):
            raise Forged(row[0])

    def _event(self, tag: str, data: msgspec.Raw) -> Event:
        decoder = self._data.get(tag)
        if decoder is None:
            tag, old = UPCASTS[tag](msgspec.json.decode(data))
            upcast: Event = msgspec.convert(old, self._data[tag].type)
            return upcast
        event: Event = decoder.decode(data)
        return event  # noqa: RET504 - the annotation tells the type checker what a decoder of Any gives


def decoder(connection: Connection) -> LogMapper:
    """The mapper of whatever this connection reads. KeyError when its engine was given none, which is a bug."""
    mapper: LogMapper = connection.get_execution_options()[_MAPPER]
    return mapper.over(connection)


def attach(reader: Engine | Connection, mapper: LogMapper) -> None:
    """Has the connection, or those that the engine makes from now on, read events by this mapper."""
    if isinstance(reader, Engine):
        reader.update_execution_options(**{_MAPPER: mapper})
    else:
        reader.execution_options(**{_MAPPER: mapper})


def authenticate(reader: Engine | Connection, vault: Vault) -> None:
    """The same with the keys of that vault, where there is no ledger that did."""
    attach(reader, LogMapper(Ring(vault)))
