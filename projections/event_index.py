"""The search index of the log: what an event names → its position. It follows the log instead of being written with it.

A client, person, grant, secret version, incident, request, address or type has its positions here in order, so that a
filter reads those that match it, and several filters are merged without looking at an event. Events that are followed
together share a row for what they name in common: most of them are one client's. What stands in a grant's own stream
is found there, by the log's own index, and has no row here: most grants are one event. Nor has what stands in the
stream of a secret's uses, for that secret. Addresses stand here as blind indexes only; those of a person's own acts
leave when the person is erased.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import Actor, Event, Recorded
from domain.keys import named_keys
from projections import issued_with
from projections.named import distances, grant_runs, wide
from projections.named.distances import counted
from projections.named.runs import FARTHEST, expanded, joined, runs
from projections.named.writing import Filling, Joined
from projections.prepared import Prepared
from projections.tables import metadata

IndexName = tuple[int, bytes]
"""Kind and key."""

IndexRow = tuple[int, bytes, int]
"""The same with a position."""

# What an event names, and is found by: clients, people, grants, secret versions, its request, address and type.


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
    INCIDENT = 9
    ISSUED_WITH = 10
    KEY = 11


ADDRESS_KEY_BYTES = 16

# As plain numbers: to hash and to compare a member of an enumeration takes longer than all the rest.
_CLIENT, _ACCOUNT, _GRANT, _SECRET, _REQUEST, _ADDRESS, _TYPE, _PERSON_ACTING, _INCIDENT, _ISSUED_WITH, _KEY = map(
    int, NameKind
)

_NAMED: Mapping[str, int] = {
    "client_id": _CLIENT,
    "account_id": _ACCOUNT,
    "grant_id": _GRANT,
    "except_grant": _GRANT,
    "secret_id": _SECRET,
    "incident_id": _INCIDENT,
}
"""Members of events and credentials that name something."""

_STREAMS: Mapping[str, tuple[int, ...]] = {
    "client": (_CLIENT,),
    "account": (_ACCOUNT,),
    "consent": (_ACCOUNT, _CLIENT),
    "incident": (_INCIDENT,),
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


def rows(recorded: Recorded, address: bytes | None, belongs: Owners | None) -> list[IndexRow]:
    """A row for everything that the event names. `address` is the key of the caller's."""
    position, event, actor = recorded.position, recorded.event, recorded.actor
    naming = _NAMING.get(event.type) or _naming(event)
    named = tuple([getattr(event, member) for member, _ in naming.members])
    credential = None if actor.credential is None else tuple(actor.credential.items())
    issued = issued_with.what(event)
    alike = (event.type, issued, named, belongs, actor.kind, actor.id, credential)
    common = _COMMON.get(alike)
    if common is None:
        common = _remember(alike, _common(naming, named, belongs, actor, issued))
    found = [(kind, name, position) for kind, name in common]
    category, _, rest = recorded.stream.partition(":")
    of_stream = _STREAMS.get(category)
    if of_stream is not None or naming.grants:
        own = {(_GRANT, value.encode()) for member in naming.grants if (value := getattr(event, member)) is not None}
        own.update((kind, part.encode()) for kind, part in zip(of_stream or (), rest.split(":"), strict=False))
        found += [(kind, name, position) for kind, name in own.difference(common)]
    if keys := named_keys.of(recorded):
        found += {(_KEY, each.encode(), position) for each in keys}
    if recorded.request_id is not None:
        found.append((_REQUEST, recorded.request_id.encode(), position))
    if address is not None:
        found.append((_ADDRESS, address, position))
    return found


def of_all(tokens: Recorded, address: bytes | None) -> list[IndexName]:
    """What first events of grants that are one access token name in common where they are alike: all but requests."""
    return [(kind, key) for kind, key, _ in rows(tokens, address, None) if kind != _REQUEST]


def of_requests(tokens: Sequence[Recorded]) -> list[IndexRow]:
    """The rest of what such events name."""
    return [(_REQUEST, each.request_id.encode(), each.position) for each in tokens if each.request_id is not None]


def told(recorded: Recorded, address: bytes | None) -> Iterable[IndexRow]:
    """The rows of an address that a resource server told, None for a forgotten one: it is forgotten with the person
    whose token was brought, and the row that says so stays."""
    if address is not None:
        yield (_ADDRESS, address, recorded.position)
    account_id: str | None = getattr(recorded.event, "account_id", None)
    if account_id is not None:
        yield forgotten_with(account_id, recorded.position)


def forgotten_with(account_id: str, position: int) -> IndexRow:
    """The row by which an event's addresses are forgotten with a person who is not its actor."""
    return _PERSON_ACTING, account_id.encode(), position


class _Naming(NamedTuple):
    """Of a type of event: its key, its members that name what many events name, and those that name a grant."""

    tag: bytes
    members: tuple[tuple[str, int], ...]
    grants: tuple[str, ...]


_NAMING: dict[str, _Naming] = {}

_COMMON: dict[tuple[Any, ...], tuple[IndexName, ...]] = {}
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


def _remember(alike: tuple[Any, ...], common: tuple[IndexName, ...]) -> tuple[IndexName, ...]:
    if len(_COMMON) >= _COMMON_KEPT:
        _COMMON.clear()
    _COMMON[alike] = common
    return common


def _common(
    naming: _Naming, named: tuple[Any, ...], belongs: Owners | None, actor: Actor, issued: bytes
) -> tuple[IndexName, ...]:
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
    if issued:
        return tuple((_ISSUED_WITH, key + issued) if kind == _SECRET else (kind, key) for kind, key in found)
    return tuple(found)


# The table -----------------------------------------------------------------------------------------------------------

VERSION = 1
NAME = "event_index"

TABLE = sa.Table(
    "event_positions",
    metadata,
    sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("before", sa.LargeBinary),
    # By which the addresses of an erased person are found, whose keys nobody can compute any more.
    sa.Index(
        "ix_event_positions_addresses",
        "position",
        sqlite_where=sa.Column("kind", sa.SmallInteger) == int(NameKind.ADDRESS),
        postgresql_where=sa.Column("kind", sa.SmallInteger) == int(NameKind.ADDRESS),
    ),
    sqlite_with_rowid=False,
)
"""A row has several positions: the last one, and how far `before` it the others are, a byte each; NULL for none.

The rows of a key follow each other without overlapping. What a person may have forgotten stands alone.
"""

FOLLOWERS = sa.Table(
    "followers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
"""How far each read model that follows the log has come; the head's position less this is its lag."""

_FILLING = Filling("event_positions")
insert, standing, remove = _FILLING.insert, _FILLING.standing, _FILLING.remove


# Writing ----------------------------------------------------------------------------------------------------------

_REACHED = Prepared(sa.select(FOLLOWERS.c.position).where(FOLLOWERS.c.name == sa.bindparam("b_name")))
_HOLD = sa.select(FOLLOWERS.c.position).where(FOLLOWERS.c.name == sa.bindparam("b_name")).with_for_update()
_PROGRESS = Prepared(sa.select(FOLLOWERS.c.name, FOLLOWERS.c.position))
_ADVANCE = Prepared(
    sa.update(FOLLOWERS)
    .where(FOLLOWERS.c.name == sa.bindparam("b_name"), FOLLOWERS.c.position == sa.bindparam("b_before"))
    .values(position=sa.bindparam("b_after"))
    .returning(FOLLOWERS.c.position)
)
_BEGIN: Mapping[str, Any] = {
    "sqlite": sqlite.insert(FOLLOWERS).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(FOLLOWERS).on_conflict_do_nothing(),
}
_ACTED = sa.select(TABLE.c.position, TABLE.c.before).where(
    TABLE.c.kind == int(NameKind.PERSON_ACTING), TABLE.c.key == sa.bindparam("b_person")
)
_FORGET = sa.delete(TABLE).where(
    TABLE.c.kind == int(NameKind.ADDRESS), TABLE.c.position.in_(sa.bindparam("b_positions", expanding=True))
)
_FORGOTTEN_AT_ONCE = 500
_BEYOND = (
    sa.select(TABLE.c.key, TABLE.c.position, TABLE.c.before)
    .where(
        TABLE.c.kind == int(NameKind.ADDRESS),
        TABLE.c.position >= sa.bindparam("b_first"),
        TABLE.c.position <= sa.bindparam("b_last"),
    )
    .order_by(TABLE.c.position)
)
_ADDRESSES = _BEYOND.limit(sa.bindparam("b_limit"))
_FORGET_ROW = sa.delete(TABLE).where(
    TABLE.c.kind == int(NameKind.ADDRESS),
    TABLE.c.key == sa.bindparam("b_key"),
    TABLE.c.position == sa.bindparam("b_position"),
)


def add(
    connection: sa.Connection,
    found: Iterable[IndexRow],
    alike: Iterable[tuple[Iterable[IndexName], Sequence[int]]] = (),
) -> None:
    """Writes the positions of what events name; all that is said of an event is to be among them. `alike` has names
    that many events have in common, none of whose addresses a person may have forgotten, with their positions."""
    by_name: dict[IndexName, list[int]] = {}
    for kind, key, position in found:
        by_name.setdefault((kind, key), []).append(position)
    forgotten = {each for (kind, _), positions in by_name.items() if kind == _PERSON_ACTING for each in positions}
    for names, positions in alike:
        for name in names:
            by_name.setdefault(name, []).extend(positions)
    made: list[Joined] = []
    for name in sorted(by_name):
        positions = sorted(by_name[name])
        if forgotten and name[0] == _ADDRESS:
            made += joined([(*name, each) for each in positions], {(_ADDRESS, each) for each in forgotten})
        else:
            made += runs(*name, positions)
    insert(connection, made)


def forget_addresses(connection: sa.Connection, account_id: str) -> None:
    """Removes the addresses from which a person acted."""
    rows = connection.execute(_ACTED, {"b_person": account_id.encode()})
    acted = [position for last, before in rows for position in expanded(last, before)]
    for start in range(0, len(acted), _FORGOTTEN_AT_ONCE):
        connection.execute(_FORGET, {"b_positions": acted[start : start + _FORGOTTEN_AT_ONCE]})


def forget_stretch(connection: sa.Connection, first: int, last: int, limit: int) -> int:
    """Removes the addresses of events `first` ≤ position ≤ `last`, about `limit` rows at a time; how many."""
    ending = {"b_first": first, "b_last": last, "b_limit": limit}
    # A row that ends behind the stretch may have begun within it. Few do, and all of them go with the first rows.
    beyond = {"b_first": last + 1, "b_last": last + FARTHEST}
    rows = [*connection.execute(_ADDRESSES, ending), *connection.execute(_BEYOND, beyond)]
    rewritten, kept = [], []
    for key, position, before in rows:
        all_ = expanded(position, before)
        left = [each for each in all_ if not first <= each <= last]
        if len(left) < len(all_):
            rewritten.append({"b_key": key, "b_position": position})
            kept += [(int(NameKind.ADDRESS), bytes(key), each) for each in left]
    if rewritten:
        connection.execute(_FORGET_ROW, rewritten)
        insert(connection, joined(sorted(kept), ()))
    return len(rewritten)


def start_over(connection: sa.Connection) -> None:
    """Empties the index, so that it is made anew from the log's beginning."""
    # The follower's row first: a step of it that is under way holds its lock, and its rows are to be seen below.
    connection.execute(sa.delete(FOLLOWERS).where(FOLLOWERS.c.name == NAME))
    for table in (TABLE, wide.TABLE, grant_runs.TABLE):
        connection.execute(sa.delete(table))


def reached(connection: sa.Connection, name: str = NAME) -> int:
    """The position up to which a follower has come."""
    row = _REACHED.first(connection, {"b_name": name})
    return 0 if row is None else row[0]


def advance(connection: sa.Connection, name: str, before: int, after: int) -> bool:
    """Moves a follower on, unless another process did so first. Its row stays locked until the transaction ends."""
    if before == 0:
        connection.execute(_BEGIN[connection.dialect.name], {"name": name, "position": 0})
    return _ADVANCE.all(connection, {"b_name": name, "b_before": before, "b_after": after}) != []


def hold(connection: sa.Connection, name: str) -> None:
    """Keeps a follower where it is until the transaction ends, for all others who change its rows."""
    connection.execute(_HOLD, {"b_name": name})


def progress(connection: sa.Connection) -> dict[str, int]:
    """The position that each follower has reached."""
    return dict(_PROGRESS.all(connection, {}))


# Reading ----------------------------------------------------------------------------------------------------------


def _range(table: sa.Table, high: sa.ColumnElement[int]) -> sa.Select[Any]:
    return (
        sa.select(table.c.position, table.c.before)
        .where(
            table.c.kind == sa.bindparam("b_kind"),
            table.c.key == sa.bindparam("b_key"),
            table.c.position >= sa.bindparam("b_low"),
            table.c.position <= high,
        )
        .limit(sa.bindparam("b_limit", type_=sa.BigInteger))
    )


_MANY: Mapping[sa.Table, sa.ColumnElement[int]] = {
    TABLE: sa.func.count() + sa.func.coalesce(sa.func.sum(sa.func.length(TABLE.c.before)), 0),
    wide.TABLE: sa.cast(sa.func.coalesce(sa.func.sum(counted(wide.TABLE.c.before)), 0), sa.BigInteger),
}
"""How many positions rows have."""


class _Form:
    """One of the two tables that the index stands in, and how its rows are read. Each reads a range of the primary key
    and nothing else."""

    def __init__(self, table: sa.Table, farthest: int, expanded: Callable[[int, bytes | None], list[int]]) -> None:
        self.farthest, self.expanded = farthest, expanded
        high = sa.bindparam("b_high", type_=sa.BigInteger)
        self.ascending = Prepared(_range(table, high).order_by(table.c.position))
        self.descending = Prepared(_range(table, high).order_by(table.c.position.desc()))
        self.within = Prepared(_range(table, high).limit(None).with_only_columns(_MANY[table]))


_LIVING = _Form(TABLE, FARTHEST, expanded)
_ARCHIVED = _Form(wide.TABLE, wide.FARTHEST, distances.expanded)


def _wide_high() -> sa.ColumnElement[int]:
    """Where the row ends that goes beyond the highest position which is asked for, if one does: the next row may be as
    far from it as four segments are long."""
    beyond = wide.TABLE.alias("beyond")
    ends = sa.select(sa.func.min(beyond.c.position)).where(
        beyond.c.kind == sa.bindparam("b_kind"),
        beyond.c.key == sa.bindparam("b_key"),
        beyond.c.position >= sa.bindparam("b_wide_high"),
        # SQLite has texts, which somebody else may put there, behind all numbers.
        beyond.c.position <= sa.literal_column(str(2**63 - 1)),
    )
    return sa.func.coalesce(ends.scalar_subquery(), sa.bindparam("b_wide_high"))


def _of_both(*, descending: bool) -> Prepared:
    parts = []
    for number, (table, high) in enumerate(((TABLE, sa.bindparam("b_high")), (wide.TABLE, _wide_high()))):
        order = table.c.position.desc() if descending else table.c.position
        part = _range(table, high).order_by(order).subquery()
        parts.append(sa.select(part.c.position, part.c.before, sa.literal_column(str(number))))
    return Prepared(sa.union_all(*parts))


ASCENDING, DESCENDING = _of_both(descending=False), _of_both(descending=True)
"""A stretch of the rows of one key in both tables, each with which of them it is of."""

_IN_A_ROW = 64
"""Positions that a row is thought to have. Where rows have fewer, four times as many of them are read the next time."""


def positions(
    connection: sa.Connection, kind: int, key: bytes, low: int, high: int, limit: int, *, descending: bool
) -> list[int]:
    """At most `limit` positions from `low` to `high`, both inclusive, that name this."""
    at_once = 2 + limit // _IN_A_ROW
    # A row that ends beyond `high` may have begun before it.
    asked = {"b_kind": int(kind), "b_key": key, "b_low": low, "b_high": high + FARTHEST, "b_limit": at_once}
    both = (DESCENDING if descending else ASCENDING).all(connection, {**asked, "b_wide_high": high})
    archived = [row[:2] for row in both if row[2]]
    living = [row[:2] for row in both if not row[2]] if archived else both
    found = _read(connection, _LIVING, living, asked, high, limit, descending=descending)
    if archived:
        asked["b_high"] = high + wide.FARTHEST
        found += _read(connection, _ARCHIVED, archived, asked, high, limit, descending=descending)
        found = sorted(set(found), reverse=descending)[:limit]
    return found


def _read(
    connection: sa.Connection,
    form: _Form,
    rows: Sequence[tuple[Any, ...]],
    asked: dict[str, Any],
    high: int,
    limit: int,
    *,
    descending: bool,
) -> list[int]:
    """What the rows of one table have, the first of which were read already."""
    low, at_once = asked["b_low"], asked["b_limit"]
    asked = dict(asked)
    found: list[int] = []
    while True:
        for row in rows:
            within = [each for each in form.expanded(row[0], row[1]) if low <= each <= high]
            found += reversed(within) if descending else within
            if len(found) >= limit or not descending and row[0] >= high:
                return found[:limit]
        if len(rows) < at_once:
            return found
        asked |= {"b_high": rows[-1][0] - 1} if descending else {"b_low": rows[-1][0] + 1}
        asked["b_limit"] = at_once = at_once * 4
        rows = (form.descending if descending else form.ascending).all(connection, asked)


def count(connection: sa.Connection, kind: NameKind, key: bytes, low: int, high: int) -> int:
    """How many positions from `low` to `high`, both inclusive, name this; by rows, so that millions take no longer
    than thousands."""
    return sum(_count(connection, form, kind, key, low, high) for form in (_LIVING, _ARCHIVED))


def _count(connection: sa.Connection, form: _Form, kind: NameKind, key: bytes, low: int, high: int) -> int:
    if high < low:
        return 0
    asked = {"b_kind": int(kind), "b_key": key, "b_limit": 1}
    # Rows do not overlap: the first one alone may begin before `low`, and the first beyond `high` before that.
    first = form.ascending.first(connection, {**asked, "b_low": low, "b_high": high + form.farthest})
    if first is None:
        return 0
    edges, within = [first], None
    if first[0] < high:
        within = form.within.first(connection, {**asked, "b_low": first[0] + 1, "b_high": high})
        edges += form.ascending.all(connection, {**asked, "b_low": high + 1, "b_high": high + form.farthest})
    found = 0 if within is None else int(within[0])
    return found + sum(low <= each <= high for row in edges for each in form.expanded(*row))


def counts(connection: sa.Connection, kind: NameKind, keys: Sequence[bytes]) -> dict[bytes, int]:
    """How many positions name each of these, of those that any names."""
    found = Counter[bytes]()
    for table, many in _MANY.items():
        query = sa.select(table.c.key, many).where(table.c.kind == int(kind), table.c.key.in_(keys))
        found.update({bytes(key): int(n) for key, n in connection.execute(query.group_by(table.c.key))})
    return found
