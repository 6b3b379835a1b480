"""From where each client secret version was used: one row for each address and user agent, however often.

Addresses stand here as blind indexes and as they are sealed in the first event that told of them. Rows of a person's
own addresses leave when the person is erased.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import Moment
from projections import derived
from projections.prepared import Prepared
from projections.schema import metadata

VERSION = 1
NAME = derived.NAME
"""Both are written in the same step."""

NOBODY = ""
"""In the place of a person: the client itself, or somebody unknown."""

TABLE = Table(
    "sightings",
    metadata,
    Column("secret_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("address", LargeBinary, primary_key=True),
    Column("agent", LargeBinary, primary_key=True),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("uses", BigInteger, nullable=False),
    Column("uses_after_end", BigInteger, nullable=False),
    Column("ip", Text),
    Column("user_agent", Text),
    Index(None, "secret_id", "last_at"),
    Index(None, "account_id"),
)


class Sighting(NamedTuple):
    """Uses from one place. `ip` and `user_agent` are sealed references; `address` and `agent` their keyed digests."""

    secret_id: str
    account_id: str
    address: bytes
    agent: bytes
    first_at: Moment
    last_at: Moment
    uses: int
    uses_after_end: int
    ip: str | None
    user_agent: str | None

    def again(self, at: Moment, uses: int, uses_after_end: int) -> "Sighting":
        """Together with later uses from the same place."""
        return self._replace(
            last_at=max(self.last_at, at), uses=self.uses + uses, uses_after_end=self.uses_after_end + uses_after_end
        )


def _upsert(name: str) -> Any:
    insert: Any = (sqlite if name == "sqlite" else postgresql).insert(TABLE)
    earlier, later = (func.min, func.max) if name == "sqlite" else (func.least, func.greatest)
    return insert.on_conflict_do_update(
        index_elements=list(TABLE.primary_key.columns),
        set_={
            "first_at": earlier(TABLE.c.first_at, insert.excluded.first_at),
            "last_at": later(TABLE.c.last_at, insert.excluded.last_at),
            "uses": TABLE.c.uses + insert.excluded.uses,
            "uses_after_end": TABLE.c.uses_after_end + insert.excluded.uses_after_end,
        },
    )


_UPSERT = {name: Prepared(_upsert(name)) for name in ("sqlite", "postgresql")}
_THEIRS = TABLE.c.account_id == bindparam("b_account_id")
_SUMMED = (
    select(
        TABLE.c.secret_id,
        func.min(TABLE.c.first_at),
        func.max(TABLE.c.last_at),
        func.sum(TABLE.c.uses),
        func.sum(TABLE.c.uses_after_end),
    )
    .where(_THEIRS)
    .group_by(TABLE.c.secret_id)
)
_FORGET = delete(TABLE).where(_THEIRS)


def add(connection: Connection, found: Iterable[Sighting]) -> None:
    """Counts uses; one entry a place."""
    rows = [each._asdict() for each in sorted(found)]
    if rows:
        _UPSERT[connection.dialect.name].run(connection, rows)


def forget(connection: Connection, account_id: str) -> None:
    """Removes a person's own places. When and how often secrets were used there is nobody's secret, and stays."""
    rows = connection.execute(_SUMMED, {"b_account_id": account_id}).all()
    add(
        connection,
        [
            Sighting(secret_id, NOBODY, b"", b"", first_at, last_at, int(uses), int(after_end), None, None)
            for secret_id, first_at, last_at, uses, after_end in rows
        ],
    )
    connection.execute(_FORGET, {"b_account_id": account_id})


class Summary(NamedTuple):
    """A version's uses altogether."""

    first_at: Moment | None
    last_at: Moment | None
    uses: int
    uses_after_end: int


def summary(connection: Connection, secret_id: str) -> Summary:
    """When it was used first and last, and how often after its end."""
    query = select(
        func.min(TABLE.c.first_at), func.max(TABLE.c.last_at), func.sum(TABLE.c.uses), func.sum(TABLE.c.uses_after_end)
    ).where(TABLE.c.secret_id == secret_id)
    first_at, last_at, uses, after_end = connection.execute(query).one()
    return Summary(first_at, last_at, int(uses or 0), int(after_end or 0))


def newest(connection: Connection, secret_id: str, limit: int, skip: int = 0) -> list[Sighting]:
    """Places, the ones tried after the version's end first, then the ones that used it last."""
    query = select(*TABLE.c).where(TABLE.c.secret_id == secret_id)
    ordered = query.order_by(
        (TABLE.c.uses_after_end > 0).desc(), TABLE.c.last_at.desc(), TABLE.c.address, TABLE.c.agent
    )
    return [Sighting(*row) for row in connection.execute(ordered.limit(limit).offset(skip))]
