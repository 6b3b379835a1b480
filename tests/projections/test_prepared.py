"""Statements for many rows do what the same statements do one by one, however they are sent."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, case, insert, select, update
from sqlalchemy.exc import IntegrityError

from eventstore.database.engines import is_sqlite, migrating, together, with_settings
from projections import grants, secrets, tokens
from projections.prepared import Prepared

USES = secrets.USES
_THIS = USES.c.secret_id == bindparam("b_secret_id")
_LATEST = bindparam("b_at", type_=USES.c.last_used_at.type)

UPDATES = {
    "set": update(USES).where(_THIS).values(last_used_at=bindparam("b_at")),
    "counted": update(USES).where(_THIS).values(use_count=USES.c.use_count + bindparam("b_at")),
    "with a constant": update(USES).where(_THIS).values(last_used_at=bindparam("b_at"), use_count=7),
    "compared": update(USES)
    .where(_THIS)
    .values(last_used_at=case((USES.c.last_used_at > _LATEST, USES.c.last_used_at), else_=_LATEST)),
    "not by the key alone": update(USES).where(_THIS, USES.c.use_count > 0).values(last_used_at=bindparam("b_at")),
}
ROWS = [{"secret_id": name, "use_count": count, "last_used_at": at} for name, count, at in
        (("a", 0, None), ("b", 1, 50), ("c", 2, 5), ("d", 3, 1))]  # fmt: skip


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = migrating(database_url)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def rows_after(connection: Connection, parameters: list[dict[str, Any]], statement: Any, *, at_once: bool) -> list[Any]:
    with connection.begin() as transaction:
        connection.execute(insert(USES), ROWS)
        prepared = Prepared(statement)
        for given in [parameters] if at_once else [[each] for each in parameters]:
            prepared.run(connection, given)
        found = list(connection.execute(select(USES).order_by(USES.c.secret_id)))
        transaction.rollback()
    return found


@pytest.mark.parametrize("parameters", [
    [{"b_secret_id": name, "b_at": at} for name, at in (("c", 20), ("a", 2**53 + 1), ("b", 3))],
    [{"b_secret_id": name, "b_at": at} for name, at in (("b", 70), ("d", 4), ("b", 60))],
], ids=["each another row", "one row twice"])  # fmt: skip
@pytest.mark.parametrize("kind", UPDATES)
def test_many_updates_at_once(connection: Connection, kind: str, parameters: list[dict[str, Any]]) -> None:
    one_by_one = rows_after(connection, parameters, UPDATES[kind], at_once=False)
    assert rows_after(connection, parameters, UPDATES[kind], at_once=True) == one_by_one
    assert one_by_one != [tuple(row.values()) for row in ROWS]


def test_bytes_none_and_awkward_text_round_trip(connection: Connection) -> None:
    row = dict.fromkeys((column.key for column in grants.TABLE.c), None)
    row |= {"grant_type": "password", "client_id": "a\\x41 \N{SNOWMAN} \"'", "scope": "a b", "started_at": 1}
    row |= {"last_used_at": 1, "last_position": 1, "expires_at": 1, "branched": 0}
    started = [row | {"started_position": number, "grant_id": f"g{number}"} for number in (1, 2)]
    awkward = 'back\\slash "quoted" \N{SNOWMAN} \n'
    changes = [
        {"b_grant_id": "g1", "refresh_digest": bytes(range(32)), "ended_reason": awkward, "predecessor_digest": None},
        {"b_grant_id": "g2", "refresh_digest": None, "ended_reason": None, "predecessor_digest": b"\x00" * 32},
    ]
    columns = ("refresh_digest", "ended_reason", "predecessor_digest")
    statement = update(grants.TABLE).where(grants.TABLE.c.grant_id == bindparam("b_grant_id"))
    with connection.begin():
        Prepared(insert(grants.TABLE)).run(connection, started)
        Prepared(statement.values({name: bindparam(name) for name in columns})).run(connection, changes)
        found = connection.execute(select(grants.TABLE).order_by(grants.TABLE.c.grant_id)).mappings().all()
    expected = [
        start | {name: change[name] for name in columns} for start, change in zip(started, changes, strict=True)
    ]
    assert [dict(each) for each in found] == expected


def insert_twice(connection: Connection) -> None:
    with connection.begin(), together(connection):
        Prepared(insert(USES)).run(connection, ROWS)
        Prepared(insert(USES)).run(connection, ROWS)
        Prepared(tokens.REVOKE).run(connection, [{"b_digest": b"", "ended_position": 1}])


def test_what_is_sent_together_fails_together(connection: Connection) -> None:
    with pytest.raises(IntegrityError):
        insert_twice(connection)
    assert connection.execute(select(USES)).all() == []


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_octets_are_the_same_whatever_literals_are(database_url: str, conforming: str) -> None:
    """Whoever owns the database may set that, and no digest would be found again."""
    if not is_sqlite(database_url):
        database_url = with_settings(database_url, {"standard_conforming_strings": conforming})
    engine = migrating(database_url)
    texts = dict.fromkeys(("kind", "grant_id", "client_id", "scope"), "b\\x00'\\\\")
    moments = dict.fromkeys(("alone", "position", "issued_at", "expires_at", "prune_at"), 7)
    rows = [(bytes([each]) * 32, *texts.values(), *moments.values()) for each in (0, 39, 92, 255)]
    with engine.connect() as connection:
        names = ("digest", *texts, *moments)
        Prepared(insert(tokens.TABLE)).run_all(connection, names, rows)
        query = select(*(tokens.TABLE.c[name] for name in names)).order_by(tokens.TABLE.c.digest)
        found = [tuple(row) for row in connection.execute(query)]
        connection.rollback()
    engine.dispose()
    assert found == rows
