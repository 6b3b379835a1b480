"""What the read models' tables share: how they are declared, how values stand in them, how a list is cut into pages."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Executable, Integer, MetaData, Table, bindparam

from domain import cut_off
from domain.cut_off import Windows
from domain.event import Recorded, Sealed, sealed

# Where the read models' tables are declared: one metadata object, with one rule for naming keys and indexes.

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING_CONVENTION)

ROW_POSITION = BigInteger().with_variant(Integer(), "sqlite")
"""A position as primary key: SQLite makes only an INTEGER PRIMARY KEY the table's own row id, which saves an index."""


# What a projection gives for an event: statements with parameters, which the ledger runs in its transaction.


class Write(msgspec.Struct, frozen=True, gc=False):
    """One change of one row.

    `statement` is built once, at import, so that equal statements can be sent together with many rows of parameters;
    the parameters of its WHERE are named `b_…`, since a bare column name would be taken for a value to set.
    Writes with the same `key` keep their order. `add` names counters: where a write follows another of the same
    statement and key, those parameters are summed and the two become one.
    """

    statement: Executable
    params: dict[str, Any]
    key: Hashable
    add: tuple[str, ...] = ()


# Lists of names as JSON text in one column: the same on every database, and short enough to be read whole.

_decoder = msgspec.json.Decoder(tuple[str, ...])


def list_text(values: Sequence[str]) -> str:
    """The list as it stands in its column."""
    return msgspec.json.encode(values).decode()


def list_values(text: str) -> tuple[str, ...]:
    """The list that stands in a column."""
    return _decoder.decode(text)


def may_hold(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    """Whether the list may hold the value. SQLite's LIKE ignores case, so where case matters the values decide."""
    return column.contains(f'"{value}"', autoescape=True)


# Sealed values in rows: text that carries what it takes to open them. No row holds a personal value in clear.


def reference(recorded: Recorded, field: str) -> str | None:
    """The value of an event's personal field as `<event_id>|<field>|<sealed text>`; None when the event states none."""
    value = sealed(recorded, field)
    return None if value is None else f"{value.event_id}|{value.field}|{value.text}"


def parse_sealed(text: str | None) -> Sealed | None:
    """What `reference` made, taken apart."""
    return None if text is None else Sealed(*text.split("|", 2))


# Cut-off windows in a row: one text that grows with each cut-off and is emptied by one that leaves nothing to others.

_decode = msgspec.json.Decoder(Windows).decode


class Statements(NamedTuple):
    """`add` puts one window behind the others, `replace` makes it the only one; both take `b_window`."""

    add: Executable
    replace: Executable


def statements(table: Table, one: Any) -> Statements:
    """For a table with a column `windows`; `one` updates the row that is meant."""
    window = bindparam("b_window", type_=table.c.windows.type)
    return Statements(one.values(windows=table.c.windows + window), one.values(windows=window))


def write_windows(of: Statements, recorded: Recorded, where: dict[str, Any], key: Hashable) -> Write:
    """The change that a cut-off makes."""
    window = cut_off.window(recorded)
    text = msgspec.json.encode(window).decode() + ","
    return Write(of.replace if cut_off.whole(window) else of.add, where | {"b_window": text}, key)


def parse_windows(text: str | None) -> Windows:
    """The windows of a row; none of one that somebody spoilt, which the comparison with the log notices."""
    try:
        return _decode(f"[{text[:-1]}]") if text else ()
    except msgspec.DecodeError:
        return ()


# A stretch of a list, and the key after which the next one begins (keyset pagination).

Item = TypeVar("Item")
Key = TypeVar("Key")


class RowPage(NamedTuple, Generic[Item, Key]):
    """`next` is the key to hand in as `after`; None at the end."""

    items: tuple[Item, ...]
    next: Key | None


def cut(found: Sequence[Item], limit: int, key: Callable[[Item], Key]) -> RowPage[Item, Key]:
    """A page of `limit` items out of one more than that, whose presence tells that the list goes on."""
    items = tuple(found[:limit])
    return RowPage(items, key(items[-1]) if len(found) > limit else None)
