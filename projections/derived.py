"""What came of client secrets, as counts: how much was ever issued, and what of it is alive at any moment.

A million tokens are a few hundred rows here: whatever was issued in one second and lives until the same second is one
row, and all that ends in one day is one more. So the blast radius of a secret (`projections.blast_radius`) is known at
once, whatever its size. Whose they are is in `projections.derived_people`. The counts follow the log instead of being
written with it; ends of single things are taken off their rows, and a cut-off empties whole stretches of them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    SmallInteger,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import SECOND, Moment
from projections import event_index
from projections.prepared import Prepared
from projections.schema import metadata

VERSION = 1
NAME = "derived"

NO_SECRET = ""
"""In the place of a secret version: what a public client has, codes, and what is counted for the client as a whole."""


class Kind(IntEnum):
    """What a row counts. The numbers are stored.

    A grant counts once as `GRANT` under each secret version that authenticated for it, and once as `NEWEST` under the
    one that did last: those of all versions together are the client's grants.
    """

    ACCESS = 1
    REFRESH = 2
    CODE = 3
    GRANT = 4
    NEWEST = 5


LIVES = Table(
    "derived_lives",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("secret_id", Text, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    # Whole seconds: the one in which it ends rounded up, the one in which it was issued rounded down.
    Column("until", BigInteger, primary_key=True, autoincrement=False),
    Column("issued", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Index(None, "until"),
    sqlite_with_rowid=False,
)

TOTALS = Table(
    "derived_totals",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("secret_id", Text, primary_key=True),
    Column("grants", BigInteger, nullable=False),
    Column("codes", BigInteger, nullable=False),
    Column("access_tokens", BigInteger, nullable=False),
    Column("refresh_tokens", BigInteger, nullable=False),
    Column("cuts", BigInteger, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)
"""Everything ever issued. The row without a secret has the client's grants and codes, the others their version's.
`cuts` counts the cut-offs of everything: what stands under an earlier number in `derived_people` is dead."""

DAYS = Table(
    "derived_days",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("secret_id", Text, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The rows of `LIVES` that end within one day, as one. Only of days that are still to come is it read."""

TABLES = (LIVES, TOTALS, DAYS)
TABLE = LIVES

SECONDS_OF_DAY = 86_400


Row = tuple[str, str, int, int, int]
"""Client, secret version, kind, and the seconds in which it ends and was issued: what a row of `LIVES` counts."""


class Piece(NamedTuple):
    """One thing as it is counted."""

    client_id: str
    secret_id: str
    kind: Kind
    until: Moment
    issued_at: Moment

    @property
    def row(self) -> Row:
        return (self.client_id, self.secret_id, int(self.kind), -(-self.until // SECOND), self.issued_at // SECOND)


class Total(NamedTuple):
    """What is added to a row of totals."""

    client_id: str
    secret_id: str
    grants: int = 0
    codes: int = 0
    access_tokens: int = 0
    refresh_tokens: int = 0

    def plus(self, other: "Total") -> "Total":
        """Both together, of one row."""
        return Total(*self[:2], *map(sum, zip(self[2:], other[2:], strict=True)))


class Cleared(NamedTuple):
    """A cut-off: of one secret version or of the whole client, of everything or of what was issued since a moment."""

    client_id: str
    secret_id: str | None
    since: Moment | None


# Writing ----------------------------------------------------------------------------------------------------------


def upserts(table: Table, summed: Iterable[str], latest: Iterable[str] = ()) -> Mapping[str, Prepared]:
    """By dialect: an insert that adds to a row which is there, or keeps the later moment."""
    made = {}
    for name, dialect, greatest in (("sqlite", sqlite, func.max), ("postgresql", postgresql, func.greatest)):
        insert: Any = dialect.insert(table)
        values = {column: table.c[column] + insert.excluded[column] for column in summed}
        values |= {column: greatest(table.c[column], insert.excluded[column]) for column in latest}
        made[name] = Prepared(insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values))
    return made


_LIVE = upserts(LIVES, ("count",))
_DAY = upserts(DAYS, ("count",))
_TOTAL = upserts(TOTALS, Total._fields[2:])


def count(connection: Connection, pieces: Mapping[Row, int]) -> None:
    """Adds to the rows of pieces, or takes off."""
    names = ("client_id", "secret_id", "kind", "until", "issued", "count")
    rows = [dict(zip(names, (*row, change), strict=True)) for row, change in sorted(pieces.items()) if change]
    if rows:
        _LIVE[connection.dialect.name].run(connection, rows)
    days: Counter[tuple[str, str, int, int]] = Counter()
    for (client_id, secret_id, kind, until, _), change in pieces.items():
        days[client_id, secret_id, kind, until // SECONDS_OF_DAY] += change
    of_days = ("client_id", "secret_id", "kind", "day", "count")
    rows = [dict(zip(of_days, (*row, change), strict=True)) for row, change in sorted(days.items()) if change]
    if rows:
        _DAY[connection.dialect.name].run(connection, rows)


def add_totals(connection: Connection, totals: Iterable[Total]) -> None:
    """Adds to what was ever issued; one entry a row."""
    rows = [each._asdict() for each in sorted(totals)]
    if rows:
        _TOTAL[connection.dialect.name].run(connection, rows)


def clear(connection: Connection, cut: Cleared) -> None:
    """Empties what a cut-off ended."""
    lives = delete(LIVES).where(LIVES.c.client_id == cut.client_id)
    days = delete(DAYS).where(DAYS.c.client_id == cut.client_id)
    totals = update(TOTALS).where(TOTALS.c.client_id == cut.client_id).values(cuts=TOTALS.c.cuts + 1)
    if cut.secret_id is not None:
        lives = lives.where(LIVES.c.secret_id == cut.secret_id)
        days = days.where(DAYS.c.secret_id == cut.secret_id)
        totals = totals.where(TOTALS.c.secret_id == cut.secret_id)
    if cut.since is not None:
        lives = lives.where(LIVES.c.issued >= cut.since // SECOND)
    connection.execute(lives)
    connection.execute(days)
    if cut.since is None:
        connection.execute(totals)
    else:
        _sum_days(connection, cut)


def _sum_days(connection: Connection, cut: Cleared) -> None:
    """Sums what a cut-off since a moment left alive."""
    day = LIVES.c.until // SECONDS_OF_DAY
    left = select(LIVES.c.client_id, LIVES.c.secret_id, LIVES.c.kind, day, func.sum(LIVES.c.count))
    left = left.where(LIVES.c.client_id == cut.client_id)
    if cut.secret_id is not None:
        left = left.where(LIVES.c.secret_id == cut.secret_id)
    left = left.group_by(LIVES.c.client_id, LIVES.c.secret_id, LIVES.c.kind, day)
    connection.execute(insert(DAYS).from_select(["client_id", "secret_id", "kind", "day", "count"], left))


def prune(connection: Connection, before: Moment, limit: int = 500) -> int:
    """Deletes rows of what had ended before a moment: those of at most `limit` seconds; says how many rows."""
    event_index.hold(connection, NAME)
    connection.execute(delete(DAYS).where(DAYS.c.day < before // SECOND // SECONDS_OF_DAY))
    seconds = select(LIVES.c.until).where(LIVES.c.until < before // SECOND).distinct().limit(limit)
    return connection.execute(delete(LIVES).where(LIVES.c.until.in_(seconds))).rowcount
