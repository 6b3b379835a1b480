"""From where each client secret version was used: one row for each address, user agent and month, however often.

Addresses stand here as blind indexes and as they are sealed in the newest event that named them. Rows of a person's
own addresses leave when the person is erased, and those of a month when its key is destroyed.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import Moment
from projections.prepared import Prepared
from projections.tables import metadata

VERSION = 1
NAME = "sightings"

NOBODY = ""
"""In the place of a person: the client itself, or somebody unknown."""

TABLE = sa.Table(
    "sightings",
    metadata,
    sa.Column("secret_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("address", sa.LargeBinary, primary_key=True),
    sa.Column("agent", sa.LargeBinary, primary_key=True),
    sa.Column("month", sa.Text, primary_key=True),
    sa.Column("first_at", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("uses_after_end", sa.BigInteger, nullable=False),
    sa.Column("ip", sa.Text),
    sa.Column("user_agent", sa.Text),
    sa.Index(None, "secret_id", "last_at"),
    sa.Index(None, "account_id"),
    sa.Index(None, "month"),
)


MOST_AMONG: Final = 10_000
"""Places used last at the same moment of which a page is told where they go on."""


class Sighting(NamedTuple):
    """Uses from one place in a month, `YYYY-MM`, or until it.

    `ip` and `user_agent` are sealed references; `address` and `agent` their keyed digests.
    """

    secret_id: str
    account_id: str
    address: bytes
    agent: bytes
    month: str
    first_at: Moment
    last_at: Moment
    uses: int
    uses_after_end: int
    ip: str | None
    user_agent: str | None


def _upsert(name: str) -> Any:
    insert: Any = (sqlite if name == "sqlite" else postgresql).insert(TABLE)
    earlier, later = (sa.func.min, sa.func.max) if name == "sqlite" else (sa.func.least, sa.func.greatest)
    return insert.on_conflict_do_update(
        index_elements=list(TABLE.primary_key.columns),
        set_={
            "first_at": earlier(TABLE.c.first_at, insert.excluded.first_at),
            "last_at": later(TABLE.c.last_at, insert.excluded.last_at),
            "uses": TABLE.c.uses + insert.excluded.uses,
            "uses_after_end": TABLE.c.uses_after_end + insert.excluded.uses_after_end,
            "ip": insert.excluded.ip,
            "user_agent": insert.excluded.user_agent,
        },
    )


_UPSERT = {name: Prepared(_upsert(name)) for name in ("sqlite", "postgresql")}
_THEIRS = TABLE.c.account_id == sa.bindparam("b_account_id")
_SUMMED = (
    sa.select(
        TABLE.c.secret_id,
        TABLE.c.month,
        sa.func.min(TABLE.c.first_at),
        sa.func.max(TABLE.c.last_at),
        sa.func.sum(TABLE.c.uses),
        sa.func.sum(TABLE.c.uses_after_end),
    )
    .where(_THEIRS)
    .group_by(TABLE.c.secret_id, TABLE.c.month)
)
_FORGET = sa.delete(TABLE).where(_THEIRS)
_OF_MONTH = (
    sa.select(*TABLE.c)
    .where(
        TABLE.c.month == sa.bindparam("b_month"),
        sa.or_(
            TABLE.c.address != b"",
            TABLE.c.agent != b"",
            TABLE.c.ip.is_not(None),
            TABLE.c.user_agent.is_not(None),
        ),
    )
    .limit(sa.bindparam("b_limit"))
)
_DELETE = sa.delete(TABLE).where(*(column == sa.bindparam(f"b_{column.name}") for column in TABLE.primary_key.columns))


def add(connection: sa.Connection, found: Iterable[Sighting]) -> None:
    """Counts uses; one entry a place."""
    rows = [each._asdict() for each in sorted(found)]
    if rows:
        _UPSERT[connection.dialect.name].run(connection, rows)


def forget(connection: sa.Connection, account_id: str) -> None:
    """Removes a person's own places. When and how often secrets were used there is nobody's secret, and stays."""
    rows = connection.execute(_SUMMED, {"b_account_id": account_id}).all()
    add(
        connection,
        [
            Sighting(secret_id, NOBODY, b"", b"", month, first_at, last_at, int(uses), int(after_end), None, None)
            for secret_id, month, first_at, last_at, uses, after_end in rows
        ],
    )
    connection.execute(_FORGET, {"b_account_id": account_id})


def forget_month(connection: sa.Connection, month: str, limit: int) -> int:
    """Removes at most `limit` places of a month; how many. When and how often secrets were used then stays."""
    found = [Sighting(*row) for row in connection.execute(_OF_MONTH, {"b_month": month, "b_limit": limit})]
    if found:
        names = [column.name for column in TABLE.primary_key.columns]
        connection.execute(_DELETE, [{f"b_{name}": getattr(each, name) for name in names} for each in found])
        add(connection, without_places(found))
    return len(found)


def without_places(found: Iterable[Sighting]) -> list[Sighting]:
    """The same uses summed up by secret, person and month alone."""
    summed: dict[tuple[str, str, str], Sighting] = {}
    for each in found:
        nowhere = each._replace(address=b"", agent=b"", ip=None, user_agent=None)
        known = summed.setdefault((each.secret_id, each.account_id, each.month), nowhere)
        if known is not nowhere:
            summed[each.secret_id, each.account_id, each.month] = nowhere._replace(
                first_at=min(known.first_at, each.first_at),
                last_at=max(known.last_at, each.last_at),
                uses=known.uses + each.uses,
                uses_after_end=known.uses_after_end + each.uses_after_end,
            )
    return list(summed.values())


class Summary(NamedTuple):
    """A version's uses altogether."""

    first_at: Moment | None
    last_at: Moment | None
    uses: int
    uses_after_end: int


def summary(connection: sa.Connection, secret_id: str) -> Summary:
    """When it was used first and last, and how often after its end."""
    query = sa.select(
        sa.func.min(TABLE.c.first_at),
        sa.func.max(TABLE.c.last_at),
        sa.func.sum(TABLE.c.uses),
        sa.func.sum(TABLE.c.uses_after_end),
    ).where(TABLE.c.secret_id == secret_id)
    first_at, last_at, uses, after_end = connection.execute(query).one()
    return Summary(first_at, last_at, int(uses or 0), int(after_end or 0))


class SightingKey(NamedTuple):
    """Where a list of places goes on: behind the place with this `mark`, which was `tried` after the version's end, or
    not, and used last at `last_at`. Where it has been used again, behind those `among` which it was the last one of
    which that is so. It tells nothing of an address."""

    tried: int
    last_at: Moment
    among: int
    mark: int


def page(
    connection: sa.Connection, secret_id: str, limit: int, after: SightingKey | None = None
) -> tuple[list[Sighting], SightingKey | None]:
    """At most `limit` places, and where the list goes on, None at its end."""
    passed = 0 if after is None else min(max(0, after.among), MOST_AMONG)
    found = newest(connection, secret_id, limit + 1 + passed, after)
    found = found if after is None else found[_passed(found, after, passed) :]
    shown = found[:limit]
    if len(found) == len(shown):
        return shown, None
    keys = [_ordered(each) for each in shown]
    before = passed if after is not None and keys[-1] == after[:2] else 0
    return shown, SightingKey(*keys[-1], keys.count(keys[-1]) + before, _mark(shown[-1]))


def _passed(found: Iterable[Sighting], after: SightingKey, among: int) -> int:
    """How many of those found have been shown."""
    alike = [_mark(each) for each in found if _ordered(each) == after[:2]]
    if after.mark in alike:
        return alike.index(after.mark) + 1
    # It stands further up by now, and is not to be counted among them.
    return min(max(0, among - 1), len(alike))


def _ordered(place: Sighting) -> tuple[int, Moment]:
    return int(place.uses_after_end > 0), place.last_at


def _mark(place: Sighting) -> int:
    digest = sha256(b"\0".join((place.account_id.encode(), place.address, place.agent))).digest()
    return int.from_bytes(digest[:6])


def newest(connection: sa.Connection, secret_id: str, limit: int, after: SightingKey | None = None) -> list[Sighting]:
    """Places of all months, as sealed in the newest: those tried after the version's end first, then the last used."""
    own = TABLE.c.secret_id == secret_id
    place = (TABLE.c.secret_id, TABLE.c.account_id, TABLE.c.address, TABLE.c.agent)
    sums = (
        sa.func.max(TABLE.c.month).label("month"),
        sa.func.min(TABLE.c.first_at).label("first_at"),
        sa.func.max(TABLE.c.last_at).label("last_at"),
        sa.func.sum(TABLE.c.uses).label("uses"),
        sa.func.sum(TABLE.c.uses_after_end).label("uses_after_end"),
    )
    tried = sa.case((sums[4] > 0, 1), else_=0)
    grouped = sa.select(*place, *sums).where(own).group_by(*place)
    if after is not None:
        goes_on = sa.and_(tried == after.tried, sums[2] <= after.last_at)
        grouped = grouped.having(sa.or_(tried < after.tried, goes_on))
    places = grouped.order_by(tried.desc(), sums[2].desc(), *place[1:]).limit(limit).subquery()
    at = sa.and_(*(TABLE.c[column.name] == places.c[column.name] for column in TABLE.primary_key.columns))
    query = (
        sa.select(*places.c, TABLE.c.ip, TABLE.c.user_agent)
        .join(TABLE, at)
        .order_by(
            (places.c.uses_after_end > 0).desc(), places.c.last_at.desc(), *(places.c[each.name] for each in place)
        )
    )
    return [
        Sighting(*row)._replace(uses=int(row.uses), uses_after_end=int(row.uses_after_end))
        for row in connection.execute(query)
    ]
