"""What a projection gives for an event: statements with parameters, which the ledger runs in its transaction."""

from collections.abc import Hashable
from typing import Any, NamedTuple

from sqlalchemy import Executable


class Write(NamedTuple):
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
