"""Lists of names as JSON text in one column: the same on every database, and short enough to be read whole."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement

_decoder = msgspec.json.Decoder(tuple[str, ...])


def text(values: Sequence[str]) -> str:
    """The list as it stands in its column."""
    return msgspec.json.encode(values).decode()


def values(text: str) -> tuple[str, ...]:
    """The list that stands in a column."""
    return _decoder.decode(text)


def may_hold(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    """Whether the list may hold the value. SQLite's LIKE ignores case, so where case matters the values decide."""
    return column.contains(f'"{value}"', autoescape=True)
