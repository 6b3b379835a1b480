"""What the search index has of archived events is packed before their text is dropped.

What many events name goes to rows that are wider (`projections.named.wide`); so do addresses, but for those that a
person's erasure may take away. A request, which is named by one event or two, goes there by the hours in which it
came: who asks for one looks at events anyway (`requests`). That an event tells of a use of the secret whose stream it
is in leaves, where an earlier version noted it: such a use is found by its stream, as what a grant's own stream tells
is. A rebuild of the index unpacks it; packing goes by what stands there, and may be done again. What names a grant has
no key in common with anything and goes to runs (`packed_grants`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Table, bindparam, literal_column, select

from domain.event import Recorded
from domain.log import positions_of
from eventstore.archiving import archived, dropping
from eventstore.archiving.stretch import rows_between
from eventstore.mapper import PLACE, decoder
from eventstore.personal_data import may_leave_with_a_person
from eventstore.projecting import requests
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.recorder import portions
from eventstore.sealed import packed_rows
from eventstore.sealed.excerpt import IS_DROPPED, is_excerpt
from eventstore.sealed.segment import LONGEST
from eventstore.sealed.short_names import kept_stream
from eventstore.search import OWN_STREAMS
from eventstore.stored import events
from eventstore.unavailable import Forged
from projections import event_index
from projections.event_index import IndexName, IndexRow, NameKind
from projections.named import distances, runs, wide
from projections.named.runs import FARTHEST, expanded
from projections.prepared import Prepared

AT_ONCE = 500
"""Keys, or events, that are looked at together."""

_SECRET, _REQUEST, _ADDRESS, GRANT = map(int, (NameKind.SECRET, NameKind.REQUEST, NameKind.ADDRESS, NameKind.GRANT))
WIDER = frozenset((int(NameKind.CLIENT), int(NameKind.ACCOUNT), _SECRET, _REQUEST, _ADDRESS, int(NameKind.ISSUED_WITH)))
"""What goes to wider rows. Of types there are few rows."""

KINDS = WIDER | {GRANT}
"""What is packed."""

OF_LIVING = KINDS - {_REQUEST, int(NameKind.ISSUED_WITH)}
"""The same of what lives: an archived request is found among many that are looked at, and of what was issued with a
secret some of what lives is drawn (`eventstore.leaked.about`)."""

_USES = f"{OWN_STREAMS[NameKind.SECRET]}:"
_TABLE = event_index.TABLE
_ADDRESSES = (
    select(_TABLE.c.key)
    .distinct()
    .where(
        _TABLE.c.kind == _ADDRESS, _TABLE.c.position >= bindparam("b_first"), _TABLE.c.position <= bindparam("b_last")
    )
)
_IDS = Prepared(
    select(events.c.id).where(
        events.c.id >= bindparam("b_first", type_=BigInteger), events.c.id <= bindparam("b_last", type_=BigInteger)
    )
)
_STREAMS = select(events.c.id, events.c.originator_id, literal_column(f"({IS_DROPPED})").label("dropped")).where(
    events.c.id.in_(bindparam("b_positions", expanding=True))
)


def own_use(stream: str, position: int) -> IndexRow | None:
    """The row by which the index may have an event of a stream of uses beside that stream, as all did before; None for
    other streams."""
    return (_SECRET, stream.removeprefix(_USES).encode(), position) if stream.startswith(_USES) else None


IndexEntry = tuple[int, bytes | None]
"""The last of a row's positions, and how far before it the others are."""


class Packing(NamedTuple):
    """A key of the index, the positions that leave its rows, and under which key they are kept; None for none."""

    kind: int
    key: bytes
    positions: frozenset[int]
    into: bytes | None


def told(connection: Connection, forms: Mapping[int, bytes]) -> dict[int, Recorded]:
    """The events of a segment that was verified, decoded once for all that is made of them."""
    decoded = decoder(connection).decoded
    return {position: decoded(PLACE.decode(form).type, form) for position, form in forms.items()}


def beside(connection: Connection, forms: Mapping[int, bytes]) -> dict[int, Recorded]:
    """The events that live among archived ones, from where the stretch of a segment begins, as far as they are
    authentic."""
    recorded_of, found = decoder(connection).recorded, dict[int, Recorded]()
    first, last = first_of(min(forms)), max(forms)
    living = [each for (each,) in _IDS.all(connection, {"b_first": first, "b_last": last}) if each not in forms]
    for row in rows_between(connection, living, first, last):
        # Somebody may have accepted that it is not.
        with suppress(Forged):
            if not is_excerpt(row.state):
                found[row.id] = recorded_of(row)
    return found


def first_of(position: int) -> int:
    """Where the stretch of a segment begins that has a position."""
    return position - (position - 1) % LONGEST


def prepared(
    connection: Connection, archived: Mapping[int, Recorded], living: Mapping[int, Recorded], owners: StreamOwners
) -> list[Packing]:
    """What is to be packed of archived events and those that live among them, by what they name. Raises `ArchiveAway`
    and `Forged`."""
    named: dict[IndexName, set[int]] = defaultdict(set)
    own: dict[bytes, set[int]] = defaultdict(set)
    by_moment = requests.is_by_moment(connection)
    every = {**living, **archived}
    lasting = set(every)
    for some in portions(sorted(every), AT_ONCE):
        portion = [every[position] for position in some]
        belongs = owners.of(connection, portion)
        lasting.difference_update(each.position for each in portion if may_leave_with_a_person(each))
        for each in portion:
            rows = event_index.rows(each, None, belongs.get(each.stream))
            use = own_use(each.stream, each.position)
            if use is not None and use not in rows:
                own[use[1]].add(use[2])
            for kind, key, position in _packable(rows, KINDS if each.position in archived else OF_LIVING):
                named[kind, key[: requests.MOMENT] if kind == _REQUEST and by_moment else key].add(position)
    together = Counter[bytes]()
    for (kind, key), positions in named.items():
        if kind == _REQUEST:
            for shorter in requests.packed_keys(key):
                together[shorter] += len(positions)
    leaving = [Packing(_SECRET, key, frozenset(positions), None) for key, positions in own.items()]
    for (kind, key), positions in named.items():
        into = requests.packed_key(key, together) if kind == _REQUEST else key
        leaving.append(Packing(kind, key, frozenset(positions), into))
    # By which address is not asked: each would have to be unsealed.
    stretch, any_of_them = {"b_first": min(every), "b_last": max(archived) + FARTHEST}, frozenset(lasting)
    keys = map(bytes, connection.scalars(_ADDRESSES, stretch))
    leaving += [Packing(_ADDRESS, key, any_of_them, key) for key in keys]
    return sorted(leaving, key=lambda each: each[:2])


def _packable(rows: Iterable[IndexRow], kinds: Collection[int]) -> Iterator[IndexRow]:
    """Those of some kinds, without requests by the ids of others."""
    return (row for row in rows if row[0] in kinds and (row[0] != _REQUEST or requests.tells_moment(row[1])))


def pack(connection: Connection, packings: Sequence[Packing], first: int, last: int) -> bool:
    """Packs some keys of one kind, of events `first` to `last`, in a transaction of its own. False where the index has
    not come so far, and nothing is done."""
    if not is_followed(connection, last):
        return False
    entering = defaultdict[bytes, set[int]](set)
    for packing, going in taken(connection, packings, first, last):
        if packing.into is not None:
            entering[packing.into].update(going)
    if entering:
        wide.add(connection, packings[0].kind, entering, first - (first - 1) % wide.STRETCH)
    return True


def is_followed(connection: Connection, last: int) -> bool:
    """Keeps the index where it is until the transaction ends; whether it has come so far."""
    event_index.hold(connection, event_index.NAME)
    return event_index.reached(connection) >= last


def taken(
    connection: Connection, packings: Sequence[Packing], first: int, last: int
) -> list[tuple[Packing, Collection[int]]]:
    """Takes what leaves the rows of some keys of one kind; of each key that has any which positions did."""
    kind, of = packings[0].kind, {each.key: each for each in packings}
    standing, found = defaultdict[bytes, list[IndexEntry]](list), list[tuple[Packing, Collection[int]]]()
    for key, at, before in event_index.standing(connection, kind, [*of], first, last + FARTHEST):
        standing[bytes(key)].append((at, before))
    removed, left, alone = [], [], set[tuple[int, int]]()
    for key, rows in standing.items():
        if kind == _ADDRESS:
            # It may stand alone since a person's erasure takes it away, and then stays so.
            alone.update((kind, at) for at, before in rows if before is None)
        packing = of[key]
        if len(rows) == 1 and rows[0][1] is None:
            # As nearly all are of requests and of grants.
            if (at := rows[0][0]) in packing.positions:
                removed.append((key, at))
                found.append((packing, (at,)))
            continue
        every = {each for row in rows for each in expanded(*row)}
        if going := packing.positions & every:
            # Rows of which nothing goes too: what is left is joined, and must not reach around one that stands.
            removed += [(key, at) for at, _ in rows]
            left += [(kind, key, each) for each in every - going]
            found.append((packing, going))
    event_index.remove(connection, kind, removed)
    event_index.insert(connection, runs.joined(sorted(left), alone))
    return found


def finish(connection: Connection, sha256: str, last: int) -> None:
    """Notes that all that is to be packed of a segment is, unless the index is being made anew meanwhile."""
    if is_followed(connection, last):
        wide.note(connection, bytes.fromhex(sha256), last)


def finished(connection: Connection) -> frozenset[str]:
    """The digests of the segments of which that is noted; a rebuild of the index forgets it."""
    return frozenset(each.hex() for each in wide.done(connection))


def by_kind(packings: Iterable[Packing]) -> Iterator[Sequence[Packing]]:
    """Those that go to wider rows, sorted, in portions, each of one kind."""
    for kind in sorted(WIDER):
        yield from portions([each for each in packings if each.kind == kind], AT_ONCE)


# What may be there or not, for who compares the index with what the log says.


def unpacked(rows: Iterable[tuple[Any, ...]]) -> Iterator[IndexRow]:
    """Rows of the wider table with a position in each, in the same order; without requests, which are there by other
    keys, and what is noted."""
    for kind, key, last, before in rows:
        # What is no octets, or no number, SQLite has of somebody else, and nobody finds it.
        is_whole = isinstance(key, bytes) and isinstance(last, int)
        if is_whole and kind not in (wide.DONE, _REQUEST):
            for position in distances.expanded(last, before):
                yield kind, key, position


def awaiting(connection: Connection, table: Table) -> frozenset[int]:
    """The positions whose requests the wider `table` has, and whose text is not dropped yet, or back again."""
    done, found = dropping.dropped(connection), set[int]()
    for fact in archived.find(connection):
        of = fact.archived
        if of.sha256 in done:
            continue
        rows = select(table.c.position, table.c.before).where(
            table.c.kind == _REQUEST, table.c.position >= of.first, table.c.position <= of.last + wide.FARTHEST
        )
        every = {each for last, before in connection.execute(rows) for each in distances.expanded(last, before)}
        found |= every.intersection(positions_of(of))
    return frozenset(found)


def without_optional(connection: Connection, rows: Iterable[IndexRow], packed: frozenset[int]) -> Iterator[IndexRow]:
    """Rows of the index but those that may be there or not, or by another key: requests of what is dropped, or of what
    is `packed` and waits for that."""
    following = iter(rows)
    while some := list(islice(following, AT_ONCE)):
        positions = [position for kind, _, position in some if kind in (_SECRET, _REQUEST)]
        found = connection.execute(_STREAMS, {"b_positions": positions}).all() if positions else ()
        names = {row.id: str(row.originator_id) for row in found}
        gone = {row.id for row in found if row.dropped}
        for position, name, *_ in packed_rows.at(connection, [each for each in positions if each not in names]):
            names[position] = name
            gone.add(position)
        for row in some:
            is_packed = row[0] == _REQUEST and (row[2] in gone or row[2] in packed)
            if not is_packed and not _is_own_use(row, names.get(row[2], "")):
                yield row


def _is_own_use(row: IndexRow, name: str) -> bool:
    """Whether the event stands in the stream of the uses of what the row names, by the name that is given to it."""
    if row[0] != _SECRET:
        return False
    stream = _USES + row[1].decode(errors="replace")
    return name in (stream, kept_stream(stream))
