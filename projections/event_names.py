"""What an event names, and is found by: clients, people, grants, secret versions, its request, address and type.

Addresses are named by their blind indexes only.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from domain.event import Actor, Event, Recorded
from projections.index_rows import Row


class Kind(IntEnum):
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
_CLIENT, _ACCOUNT, _GRANT, _SECRET, _REQUEST, _ADDRESS, _TYPE, _PERSON_ACTING = map(int, Kind)

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
