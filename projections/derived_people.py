"""Whose it is that came of client secrets: each person's living tokens and codes, by the second, and who they all are.

It stands beside `projections.derived` and is written in the same step. A cut-off of everything only counts `cuts` on,
so that it costs the same for a million tokens; what stands under an earlier number is pruned when it has expired.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Index, Table, Text, bindparam, delete, func, select

from domain.event import SECOND, Moment
from projections import derived, event_index
from projections.derived import TOTALS, Cleared, Kind, Row, upserts
from projections.prepared import Prepared
from projections.schema import metadata

VERSION = 1
NAME = derived.NAME

LIVES = Table(
    "derived_people_lives",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("secret_id", Text, primary_key=True),
    Column("cuts", BigInteger, primary_key=True, autoincrement=False),
    Column("account_id", Text, primary_key=True),
    # Whole seconds, as in `derived.LIVES`.
    Column("until", BigInteger, primary_key=True, autoincrement=False),
    Column("issued", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Index(None, "until"),
    sqlite_with_rowid=False,
)

PEOPLE = Table(
    "derived_people",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("client_id", Text, primary_key=True),
    Column("secret_id", Text, primary_key=True),
    Column("issued_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Index(None, "client_id", "secret_id", "until"),
    sqlite_with_rowid=False,
)
"""On whose behalf anything was ever issued. Nothing of theirs is newer than `issued_at` or outlives `until`: whether
something still lives is for `LIVES` to say."""

TABLES = (LIVES, PEOPLE)
TABLE = LIVES

Life = tuple[str, str, str, int, int]
"""Client, secret version, person, and the seconds in which it ends and was issued."""

_TOKENS = frozenset(map(int, (Kind.ACCESS, Kind.REFRESH, Kind.CODE)))
_KEY = ("client_id", "secret_id", "cuts", "account_id", "until", "issued")
_LIFE = upserts(LIVES, ("count",))
_OVER = Prepared(
    delete(LIVES).where(*(LIVES.c[name] == bindparam(f"b_{name}") for name in _KEY), LIVES.c["count"] == 0)
)
_PERSON = upserts(PEOPLE, (), ("issued_at", "until"))
_EACH_ONCE = func.count(PEOPLE.c.account_id.distinct())
_CUTS = Prepared(select(TOTALS.c.secret_id, TOTALS.c.cuts).where(TOTALS.c.client_id == bindparam("b_client_id")))


class Person(NamedTuple):
    """Something was issued on behalf of a person, at a client by a secret version."""

    account_id: str
    client_id: str
    secret_id: str
    issued_at: Moment
    until: Moment


def lives_of(account_id: str, rows: Iterable[Row]) -> Iterable[Life]:
    """What of a grant's rows is a token or code of that person's."""
    for client_id, secret_id, kind, until, issued in rows:
        if kind in _TOKENS:
            yield client_id, secret_id, account_id, until, issued


def count(connection: Connection, lives: Mapping[Life, int]) -> None:
    """Adds to what is alive, or takes off. What was ever issued has been counted before."""
    changed = [(life, change) for life, change in sorted(lives.items()) if change]
    cuts = {
        (client_id, secret_id): number
        for client_id in {life[0] for life, _ in changed}
        for secret_id, number in _CUTS.all(connection, {"b_client_id": client_id})
    }
    rows, over = [], []
    for (client_id, secret_id, account_id, until, issued), change in changed:
        key = (client_id, secret_id, cuts.get((client_id, secret_id), 0), account_id, until, issued)
        rows.append(dict(zip(_KEY, key, strict=True)) | {"count": change})
        if change < 0:
            over.append({f"b_{name}": value for name, value in zip(_KEY, key, strict=True)})
    if rows:
        _LIFE[connection.dialect.name].run(connection, rows)
    if over:
        _OVER.run(connection, over)


def add(connection: Connection, people: Iterable[Person]) -> None:
    """Something more was issued on behalf of people; one entry a row."""
    rows = [each._asdict() for each in sorted(people)]
    if rows:
        _PERSON[connection.dialect.name].run(connection, rows)


def clear(connection: Connection, cut: Cleared) -> None:
    """Empties what a cut-off since a moment ended. One of everything counts on, and `derived.clear` sees to that."""
    if cut.since is None:
        return
    lives = delete(LIVES).where(LIVES.c.client_id == cut.client_id, LIVES.c.issued >= cut.since // SECOND)
    if cut.secret_id is not None:
        lives = lives.where(LIVES.c.secret_id == cut.secret_id)
    connection.execute(lives)


def prune(connection: Connection, before: Moment, limit: int = 500) -> int:
    """Deletes rows of what had ended before a moment: those of at most `limit` seconds; says how many rows."""
    event_index.hold(connection, NAME)
    seconds = select(LIVES.c.until).where(LIVES.c.until < before // SECOND).distinct().limit(limit)
    return connection.execute(delete(LIVES).where(LIVES.c.until.in_(seconds))).rowcount


# Reading ----------------------------------------------------------------------------------------------------------


def alive(
    connection: Connection, client_id: str, secret_ids: Sequence[str] | None, now: Moment, since: Moment | None = None
) -> int:
    """How many people have something alive, issued since a moment: of secret versions, or of the whole client."""
    second = now // SECOND
    life = (
        select(LIVES.c.client_id)
        .where(
            LIVES.c.client_id == PEOPLE.c.client_id,
            LIVES.c.secret_id == PEOPLE.c.secret_id,
            LIVES.c.cuts == TOTALS.c.cuts,
            LIVES.c.account_id == PEOPLE.c.account_id,
            LIVES.c.until > second,
            LIVES.c["count"] > 0,
        )
        .correlate(PEOPLE, TOTALS)
    )
    of_version = (TOTALS.c.client_id == PEOPLE.c.client_id) & (TOTALS.c.secret_id == PEOPLE.c.secret_id)
    query = (
        select(func.count() if secret_ids is not None and len(secret_ids) == 1 else _EACH_ONCE)
        .select_from(PEOPLE.join(TOTALS, of_version))
        .where(PEOPLE.c.client_id == client_id, PEOPLE.c.until > second * SECOND)
    )
    if secret_ids is not None:
        query = query.where(PEOPLE.c.secret_id.in_(secret_ids))
    if since is not None:
        query = query.where(PEOPLE.c.issued_at >= since // SECOND * SECOND)
        life = life.where(LIVES.c.issued >= since // SECOND)
    # Not EXISTS, which PostgreSQL may answer by reading every token: one look into the index for each person.
    return connection.scalar(query.where(life.limit(1).scalar_subquery().is_not(None))) or 0


def page(
    connection: Connection, client_id: str, secret_id: str | None, *, after: str | None = None, limit: int = 50
) -> list[str]:
    """At most `limit + 1` ids of people on whose behalf something was ever issued, in the order of their ids."""
    query = select(PEOPLE.c.account_id).distinct().where(PEOPLE.c.client_id == client_id)
    if secret_id is not None:
        query = query.where(PEOPLE.c.secret_id == secret_id)
    if after is not None:
        query = query.where(PEOPLE.c.account_id > after)
    return list(connection.scalars(query.order_by(PEOPLE.c.account_id).limit(limit + 1)))
