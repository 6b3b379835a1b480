"""Cut-off windows in a row: one text that grows with each cut-off and is emptied by one that leaves nothing to others.

A window is a JSON array with a comma behind it, so that one is added without reading what is there.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Executable, Table, bindparam

from domain import cut_off
from domain.cut_off import Windows
from domain.event import Recorded
from projections.write import Write

_decode = msgspec.json.Decoder(Windows).decode


class Statements(NamedTuple):
    """`add` puts one window behind the others, `replace` makes it the only one; both take `b_window`."""

    add: Executable
    replace: Executable


def statements(table: Table, one: Any) -> Statements:
    """For a table with a column `windows`; `one` updates the row that is meant."""
    window = bindparam("b_window", type_=table.c.windows.type)
    return Statements(one.values(windows=table.c.windows + window), one.values(windows=window))


def write(of: Statements, recorded: Recorded, where: dict[str, Any], key: Hashable) -> Write:
    """The change that a cut-off makes."""
    window = cut_off.window(recorded)
    text = msgspec.json.encode(window).decode() + ","
    return Write(of.replace if cut_off.whole(window) else of.add, where | {"b_window": text}, key)


def parse(text: str | None) -> Windows:
    """The windows of a row."""
    return _decode(f"[{text[:-1]}]") if text else ()
