"""Between an event and its one stored form.

The stored form is one JSON object, written once and never encoded again: its bytes are the leaf of the
transparency log. Tags are the topics; a tag that was retired is read through an upcast.

Its last member, `mac`, authenticates it: under the key that is good for its position (`Ring`), over the log's name and
the exact bytes without that member. **Anyone who reads an event reads it through a mapper**, which gives out nothing
that does not verify: through `recorder.store(connection)`, or, of a row that another query found,

    row = select(*ROW).where(...)                 # the five columns, in this order
    decoder(connection).recorded(row)             # the event, its columns compared with what it says
    decoder(connection).text(row)                 # the stored form, for who shows or hashes it

Both raise `unavailable.Forged`, which names the position. A connection has a mapper when its engine was given one, by
`authenticate` or, in a process that has a ledger, by the ledger.
"""

import os
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Generic, NamedTuple, Self, TypeVar

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent
from sqlalchemy import Connection, Engine

from domain.event import Actor, Recorded
from domain.events import EVENTS
from domain.keys import mac_key
from eventstore.unavailable import Forged
from security.clock import Moment, format_rfc3339, parse_rfc3339
from security.keyring import KEY_BYTES, MasterKeyError, WrapBroken
from security.vault import Vault

# HMAC-SHA-256 (RFC 2104) under one key, prepared once: what every message begins with is hashed beforehand.

HEX_DIGITS = 32
"""Of a MAC as it is written: 128 bits of the 256 (RFC 2104 §5)."""

_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class Authenticator:
    """Makes MACs of messages that are bound to a name. Any thread may use it."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, name: str) -> None:
        """`key` is of 32 bytes; the name comes before every message with its length, so that neither runs over."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a MAC key is of {KEY_BYTES} bytes")
        padded, bound = key.ljust(_BLOCK, b"\0"), name.encode()
        self._inner = sha256(padded.translate(_INNER) + len(bound).to_bytes(8) + bound)
        self._outer = sha256(padded.translate(_OUTER))

    def mac(self, message: bytes) -> str:
        """The first half of the message's MAC, in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()[:HEX_DIGITS]


# The MAC keys of a log: the ring of them, as the vault keeps it.
#
# Each key is a named secret of the vault that also holds the name under which it authenticates and the first position
# for which it is good. All of it is wrapped together and never written again, so that nobody without the master key can
# say anything about it, and an older copy of it says the same. A key is good up to where the next one begins: the event
# that introduces a key is itself authenticated by it, and without that key it does not verify.


MAC_KEY_PREFIX = "mac_key:"
"""How the vault's names of these keys begin; the key's id follows."""

WRONG_KEY = "the master key does not open this database's vault: start with the key that it was made with"

_ID_HEX = 16


class _KeptKey(msgspec.Struct):
    """What is wrapped: the key in base64, the log's name, and the first position."""

    key: str
    origin: str
    first: int


class MacKey(NamedTuple):
    """A key as it is used. `first` is the first position for which it is good."""

    key_id: str
    origin: str
    first: int
    authenticator: Authenticator

    def __repr__(self) -> str:
        return f"MacKey({self.key_id}, first={self.first})"


class Ring:
    """The MAC keys of one log, in the order of their ranges. One per process; any thread may ask."""

    def __init__(self, vault: Vault, origin: str = "") -> None:
        """`origin` is the name of a log that has no key yet."""
        self._vault = vault
        self._origin = origin
        self._keys: tuple[MacKey, ...] = ()
        self._firsts: tuple[int, ...] = ()
        self._beginning: MacKey | None = None
        self._stale = True

    @property
    def keys(self) -> tuple[MacKey, ...]:
        """As the vault had them when it was asked last."""
        return self._keys

    @property
    def origin(self) -> str:
        """The name under which events are authenticated now."""
        return self._keys[-1].origin if self._keys else self._origin

    @property
    def beginning(self) -> MacKey | None:
        """The key that this very transaction begins."""
        return self._beginning

    def load(self, connection: Connection) -> None:
        """Reads the keys as this connection sees them. Raises MasterKeyError."""
        found = []
        try:
            secrets = self._vault.secrets_like(connection, MAC_KEY_PREFIX)
        except WrapBroken:
            raise MasterKeyError(WRONG_KEY) from None
        for name, stored in secrets.items():
            kept = msgspec.json.decode(stored.value, type=_KeptKey)
            authenticator = Authenticator(b64decode(kept.key), kept.origin)
            found.append(MacKey(name.removeprefix(MAC_KEY_PREFIX), kept.origin, kept.first, authenticator))
        found.sort(key=lambda key: key.first)
        # Anyone who asks meanwhile has the older keys or the newer ones, never half of each.
        self._keys, self._firsts = tuple(found), tuple(key.first for key in found)

    def of(self, position: int) -> MacKey | None:
        """The key that is good for a position; None for one before the first key."""
        keys = self._keys
        if keys and position >= keys[-1].first:
            return keys[-1]
        at = bisect_right(self._firsts, position)
        return keys[at - 1] if at else None

    def writing(self, position: int) -> MacKey:
        """The key for an event that is written there, a key that this very transaction begins included."""
        beginning = self._beginning
        key = beginning if beginning is not None and position >= beginning.first else self.of(position)
        if key is None:
            raise AssertionError(f"no key is good for position {position}")
        return key

    def settle(self, connection: Connection, head: int, now: Callable[[], Moment]) -> None:
        """Under the log's lock: reads the keys if one began or a transaction broke, and makes an empty log's first."""
        if not self._stale:
            return
        self._beginning = None
        self.load(connection)
        self._stale = False
        if not self._keys and head == 0:
            self.begin(connection, 0, now())

    def begin(self, connection: Connection, head: int, now: Moment, origin: str | None = None) -> MacKey:
        """Makes a key for everything behind `head`, in the ledger's transaction, which no other command may share.

        With a new `origin` it authenticates under that name. Every process learns of it by the first event that does
        not verify under the key before.
        """
        secret, name = os.urandom(KEY_BYTES), self.origin if origin is None else origin
        key_id = sha256(secret).hexdigest()[:_ID_HEX]
        kept = _KeptKey(b64encode(secret).decode(), name, head + 1)
        self._vault.put_secret(connection, MAC_KEY_PREFIX + key_id, msgspec.json.encode(kept), now)
        self._beginning = MacKey(key_id, name, head + 1, Authenticator(secret, name))
        self._stale = True
        return self._beginning

    def unsettle(self) -> None:
        """A transaction broke, and with it perhaps the beginning of a key: the vault is asked again."""
        self._stale = True


# A MAC key that must begin before anything else is written: after an import, and after forged events were removed.
#
# What made it due happens outside the ledger, by the owner of the tables. It is noted in the same transaction, in the
# vault, so that the one who opens the log next begins the key, even if the command that was to do so was killed. The
# note names the position that comes next: an older one that somebody puts back says nothing.


DUE_KEY = "mac_key_due"
"""Under which the vault keeps the note."""


class Removal(msgspec.Struct, frozen=True):
    """What was taken away: from which position on, how many rows, and the digest of the file that has them, in hex."""

    first: int
    count: int
    sha256: str


class DueKey(msgspec.Struct, frozen=True):
    """Why a key must begin, and at which position."""

    reason: mac_key.MacKeyReason
    first: int
    removal: Removal | None = None


def put_due_key(connection: Connection, vault: Vault, due: DueKey, now: Moment) -> None:
    """Notes it, in the transaction of what made it due."""
    vault.put_secret(connection, DUE_KEY, msgspec.json.encode(due), now)


def get_due_key(connection: Connection, vault: Vault) -> DueKey | None:
    """What is due; None when nothing is."""
    noted = vault.get_secret(connection, DUE_KEY)
    return None if noted is None else msgspec.json.decode(noted.value, type=DueKey)


D = TypeVar("D")

MAX_BYTES = 65_535
"""What a tlog-tiles entry bundle can hold: a 16-bit length (C2SP tlog-tiles, "Log entries")."""

_EVENTS = {event.type: event for event in EVENTS}

Upcast = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]

UPCASTS: dict[str, Upcast] = {}
"""Retired tag → function from its stored data to a living tag and its data."""


EventColumns = Sequence[Any]
"""Position, stream, version, topic and stored form of an event, as its columns say; the form as text or its bytes."""

_MEMBER = ',"mac":"'
_MAC_BYTES = len(_MEMBER) + HEX_DIGITS + len('"}')
_MAPPER = "grantlog_mapper"


class _Leaf(msgspec.Struct, Generic[D], omit_defaults=True):
    """The stored form, member order included."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str
    actor: Actor
    data: D
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class StoredColumns(msgspec.Struct, gc=False):
    """Those members of the stored form that stand in columns as well."""

    position: int
    stream: str
    version: int
    type: str

    def is_of(self, row: EventColumns) -> bool:
        """Whether the columns of a row say the same."""
        return (self.position, self.stream, self.version, self.type) == (row[0], row[1], row[2], row[3])


PLACE = msgspec.json.Decoder(StoredColumns)
"""Reads of a stored form where it stands and what it is, and passes over the rest."""


class EventTooLarge(Exception):
    """A stored form beyond `MAX_BYTES`: some field lacks its maximum length, which is a bug."""


@cache
def _decoders() -> Mapping[str, Any]:
    """How each type of event is read. To find that out takes longer than many a command, and there are more types than
    Python remembers."""
    return {
        event.type: msgspec.json.Decoder(_Leaf[event]).decode  # type: ignore[valid-type]
        for event in EVENTS
    }


class LogMapper(Mapper[str]):
    """The library's mapper, from `Recorded` to the stored form and back. Where an event does not verify, its `reader`
    is asked for keys which began meanwhile.
    """

    def __init__(self, ring: Ring, reader: Engine | Connection | None = None) -> None:
        self.ring = ring
        self._reader = reader
        self._encoder = msgspec.json.Encoder()
        self._retired = msgspec.json.Decoder(_Leaf[msgspec.Raw])
        self._decoders = _decoders()
        # Events of one batch share one time.
        self._time: tuple[Moment, str] = (0, format_rfc3339(0))

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
        tag, at = r.event.type, self._time
        if at[0] != r.time:
            at = self._time = (r.time, format_rfc3339(r.time))
        state = self._encoder.encode(
            _Leaf(r.position, r.id, tag, r.stream, r.version, at[1], r.actor, r.event, r.request_id, r.ip, r.user_agent)
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

    def form(self, row: EventColumns) -> bytes:
        """The stored form of an authentic row; raises `Forged`."""
        form = self.authentic(row[0], row[4])
        if not PLACE.decode(form).is_of(row):
            raise Forged(row[0])
        return form

    def text(self, row: EventColumns) -> str:
        """The same as text."""
        return self.form(row).decode()

    def recorded(self, row: EventColumns) -> Recorded:
        """The event of an authentic row; raises `Forged`."""
        return self.decoded(row[3], self.form(row))

    def decoded(self, tag: str, form: bytes) -> Recorded:
        """The event of a stored form that `form` gave out, which is of this type."""
        decode, at = self._decoders.get(tag), self._time
        r: Any = self._retired.decode(form) if decode is None else decode(form)
        if at[1] != r.time:
            at = self._time = (parse_rfc3339(r.time), r.time)
        if decode is None:
            tag, old = UPCASTS[tag](msgspec.json.decode(r.data))
            r.data = msgspec.convert(old, _EVENTS[tag])
        return Recorded(r.position, r.id, r.stream, r.version, at[0], r.actor, r.request_id, r.ip, r.user_agent, r.data)

    def authentic(self, position: int, form: str | bytes) -> bytes:
        """A stored form that was written for this position; raises `Forged`. What it says of where it stands is for who
        has columns beside it to compare."""
        if isinstance(form, str):
            form = form.encode()
        if not self.is_authentic(position, form):
            # Another process may have begun a key: the vault says so wherever the event under it is to be seen.
            self._ask_for_keys()
            if not self.is_authentic(position, form):
                raise Forged(position)
        return form

    def _ask_for_keys(self) -> None:
        if isinstance(self._reader, Engine):
            with self._reader.connect() as connection:
                self.ring.load(connection)
        elif self._reader is not None:
            self.ring.load(self._reader)


def decoder(connection: Connection) -> LogMapper:
    """The mapper of whatever this connection reads. KeyError when its engine was given none, which is a bug."""
    mapper: LogMapper = connection.get_execution_options()[_MAPPER]
    return mapper.over(connection)


def is_authenticated(connection: Connection) -> bool:
    """Whether whatever this connection reads has a mapper."""
    return _MAPPER in connection.get_execution_options()


def attach(reader: Engine | Connection, mapper: LogMapper) -> None:
    """Has the connection, or those that the engine makes from now on, read events by this mapper."""
    if isinstance(reader, Engine):
        reader.update_execution_options(**{_MAPPER: mapper})
    else:
        reader.execution_options(**{_MAPPER: mapper})


def authenticate(reader: Engine | Connection, vault: Vault) -> None:
    """The same with the keys of that vault, where there is no ledger that did."""
    attach(reader, LogMapper(Ring(vault)))
