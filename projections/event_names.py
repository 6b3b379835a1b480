"""What an event names, and is found by: clients, people, grants, secret versions, its request, address and type."""

from collections.abc import Container, Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from struct import Struct
from typing import Any, NamedTuple

from sqlalchemy import Connection

from domain.event import Actor, Event, Recorded
from projections.prepared import translate

# How rows of the search index are made and go over: thousands at once, in as few steps as each database allows.

TABLE = "event_positions"
Row = tuple[int, bytes, int]
"""Kind, key, position."""

Joined = tuple[int, bytes, int, bytes | None]
"""Kind, key, the last of several positions, and how far before it the others are, a byte each."""

FARTHEST = 255
"""How far apart the first and the last position of a row are at most."""

_AT_ONCE = 32
"""Rows of one statement on SQLite. More gain nothing; each is four parameters."""

_ONE = f"INSERT INTO {TABLE} (kind, key, position, before) VALUES (?, ?, ?, ?)"  # noqa: S608 - no text of anybody's
_MANY = _ONE + ", (?, ?, ?, ?)" * (_AT_ONCE - 1)

# PostgreSQL's binary COPY ("File Formats", COPY): a signature, flags and a length, both 0; then for each row the number
# of its columns, and each with its length in bytes; at the end the number -1.
_COPY = f"COPY {TABLE} (kind, key, position, before) FROM STDIN (FORMAT BINARY)"
_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_HEAD = Struct(">hihi").pack
_TAIL = Struct(">iqi").pack
_NULL = -1


def joined(rows: Iterable[Row], alone: Container[tuple[int, int]]) -> list[Joined]:
    """Sorted rows with those joined that differ in their positions only. Kind and position say what stays `alone`."""
    made: list[Joined] = []
    of_kind, of_key, found, joins = -1, b"", [0], False
    for kind, key, position in rows:
        apart = (kind, position) in alone
        if joins and not apart and key == of_key and kind == of_kind and position - found[0] <= FARTHEST:
            found.append(position)
            continue
        if of_kind >= 0:
            made.append((of_kind, of_key, found[-1], _before(found)))
        of_kind, of_key, found, joins = kind, key, [position], not apart
    if of_kind >= 0:
        made.append((of_kind, of_key, found[-1], _before(found)))
    return made


def _before(found: Sequence[int]) -> bytes | None:
    if len(found) == 1:
        return None
    last = found[-1]
    return bytes([last - position for position in found[:-1]])


def positions(last: int, before: bytes | None) -> list[int]:
    """All positions of a row, in their order."""
    if before is None:
        return [last]
    return [*(last - distance for distance in before), last]


def insert(connection: Connection, rows: Sequence[Joined]) -> None:
    """Inserts rows. Sorted ones are cheaper: neighbours share a page of the index."""
    if not rows:
        return
    postgresql = connection.dialect.name == "postgresql"
    cursor: Any = connection.connection.cursor()
    try:
        if postgresql:
            with cursor.copy(_COPY) as copy:
                copy.write(_binary(rows))
        else:
            _insert(cursor, rows)
    except Exception as error:
        translate(connection, _COPY if postgresql else _ONE, error)


def _insert(cursor: Any, rows: Sequence[Joined]) -> None:
    whole = len(rows) - len(rows) % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        cursor.execute(_MANY, tuple(chain.from_iterable(rows[start : start + _AT_ONCE])))
    cursor.executemany(_ONE, rows[whole:])


def _binary(rows: Sequence[Joined]) -> bytes:
    made = [_BEGIN]
    for kind, key, position, before in rows:
        made += (_HEAD(4, 2, kind, len(key)), key)
        if before is None:
            made.append(_TAIL(8, position, _NULL))
        else:
            made += (_TAIL(8, position, len(before)), before)
    made.append(_END)
    return b"".join(made)


class NameKind(IntEnum):
    """What a key is. The numbers are stored."""

    CLIENT = 1
    ACCOUNT = 2
    GRANT = 3
    SECRET = 4
    REQUEST = 5
    ADDRESS = 6
    TYPE = 7
    PERSON_ACTING = 8


ADDRESS_KEY_BYTES = 16

# As plain numbers: to hash and to compare a member of an enumeration takes longer than all the rest.
_CLIENT, _ACCOUNT, _GRANT, _SECRET, _REQUEST, _ADDRESS, _TYPE, _PERSON_ACTING = map(int, NameKind)

_NAMED: Mapping[str, int] = {
    "client_id": _CLIENT,
    "account_id": _ACCOUNT,
    "grant_id": _GRANT,
    "except_grant": _GRANT,
    "secret_id": _SECRET,
}
"""Members of events and credentials that name something."""

_STREAMS: Mapping[str, tuple[int, ...]] = {
    "client": (_CLIENT,),
    "account": (_ACCOUNT,),
    "grant": (_GRANT,),
    "consent": (_ACCOUNT, _CLIENT),
    "usage": (_SECRET,),
}


class Owners(NamedTuple):
    """Whose a grant or a session is: what its first event says, and its later ones do not repeat."""

    client_id: str | None
    account_id: str | None


def is_owned(stream: str) -> bool:
    """Whether the later events of a stream leave it to the first one to say whose the stream is."""
    return stream.startswith(("grant:", "session:"))


def owners(first: Recorded) -> Owners:
    """What a stream's first event says about its later ones."""
    return Owners(getattr(first.event, "client_id", None), getattr(first.event, "account_id", None))


def rows(recorded: Recorded, address: bytes | None, belongs: Owners | None) -> list[Row]:
    """A row for everything that the event names. `address` is the key of the caller's."""
    position, event, actor = recorded.position, recorded.event, recorded.actor
    naming = _NAMING.get(event.type) or _naming(event)
    named = tuple([getattr(event, member) for member, _ in naming.members])
    credential = None if actor.credential is None else tuple(actor.credential.items())
    alike = (event.type, named, belongs, actor.kind, actor.id, credential)
    common = _COMMON.get(alike)
    if common is None:
        common = _remember(alike, _common(naming, named, belongs, actor))
    found = [(kind, name, position) for kind, name in common]
    own = {(_GRANT, value.encode()) for member in naming.grants if (value := getattr(event, member)) is not None}
    category, _, rest = recorded.stream.partition(":")
    own.update((kind, part.encode()) for kind, part in zip(_STREAMS.get(category, ()), rest.split(":"), strict=False))
    found += [(kind, name, position) for kind, name in own.difference(common)]
    if recorded.request_id is not None:
        found.append((_REQUEST, recorded.request_id.encode(), position))
    if address is not None:
        found.append((_ADDRESS, address, position))
    return found


def told(recorded: Recorded, address: bytes) -> Iterable[Row]:
    """The rows of an address that a resource server told: it is forgotten with the person whose token was brought."""
    yield (_ADDRESS, address, recorded.position)
    account_id: str | None = getattr(recorded.event, "account_id", None)
    if account_id is not None:
        yield forgotten_with(account_id, recorded.position)


def forgotten_with(account_id: str, position: int) -> Row:
    """The row by which an event's addresses are forgotten with a person who is not its actor."""
    return _PERSON_ACTING, account_id.encode(), position


Name = tuple[int, bytes]


class _Naming(NamedTuple):
    """Of a type of event: its key, its members that name what many events name, and those that name a grant."""

    tag: bytes
    members: tuple[tuple[str, int], ...]
    grants: tuple[str, ...]


_NAMING: dict[str, _Naming] = {}

_COMMON: dict[tuple[Any, ...], tuple[Name, ...]] = {}
"""What events name that are alike but for stream, grant, request and address. Most of a client's are."""

_COMMON_KEPT = 4_096


def _naming(event: Event) -> _Naming:
    named = [(name, kind) for name, kind in _NAMED.items() if name in event.__struct_fields__]
    found = _NAMING[event.type] = _Naming(
        event.type.encode(),
        tuple((name, kind) for name, kind in named if kind != _GRANT),
        tuple(name for name, kind in named if kind == _GRANT),
    )
    return found


def _remember(alike: tuple[Any, ...], common: tuple[Name, ...]) -> tuple[Name, ...]:
    if len(_COMMON) >= _COMMON_KEPT:
        _COMMON.clear()
    _COMMON[alike] = common
    return common


def _common(naming: _Naming, named: tuple[Any, ...], belongs: Owners | None, actor: Actor) -> tuple[Name, ...]:
    found = {(_TYPE, naming.tag)}
    pairs = [(kind, value) for (_, kind), value in zip(naming.members, named, strict=True)]
    if belongs is not None:
        pairs += [(_CLIENT, belongs.client_id), (_ACCOUNT, belongs.account_id)]
    if actor.kind == "client":
        pairs.append((_CLIENT, actor.id))
    elif actor.kind == "person":
        pairs += [(_ACCOUNT, actor.id), (_PERSON_ACTING, actor.id)]
    pairs += [(_NAMED[member], value) for member, value in (actor.credential or {}).items() if member in _NAMED]
    found.update((kind, value.encode()) for kind, value in pairs if isinstance(value, str))
    return tuple(found)
