"""How PostgreSQL finds the rows that a transaction writes, however few there were when it was first asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, Executable, text

from eventstore.database.engines import in_schema, shared_connections, writing
from projections import grants, tokens
from projections.prepared import Prepared

DIGEST = {"b_digest": bytes(32), "ended_position": 1}
GRANT = {
    **dict.fromkeys(("secret_id", "refresh_digest"), None),
    **dict.fromkeys(("last_used_at", "last_position", "b_expires_at"), 1),
    "b_grant_id": "1",
}
STATEMENTS: dict[str, tuple[Executable, dict[str, Any]]] = {
    "tokens": (tokens.REDEEM, {**DIGEST, "prune_at": 1}),
    "grants": (grants._REFRESH, {**GRANT, "grace_ends_at": 1}),
}
KEYS = {"tokens": "b_digest", "grants": "b_grant_id"}


@contextmanager
def engines(url: str, *, is_shared: bool) -> Iterator[Engine]:
    shared = shared_connections(1) if is_shared else None
    engine = writing(in_schema(url, "public") if is_shared else url, shared)
    yield engine
    engine.dispose()
    if shared is not None:
        shared.close_unused(0)


@pytest.mark.parametrize("is_shared", [False, True], ids=["its own connection", "one for many logs"])
@pytest.mark.parametrize("table", STATEMENTS)
def test_a_plan_that_is_kept_goes_by_the_rows_keys(postgresql_url: str, table: str, is_shared: bool) -> None:
    statement, first = STATEMENTS[table]
    key = KEYS[table]
    second = first | {key: first[key][:-1] + (b"2" if isinstance(first[key], bytes) else "2")}
    with engines(postgresql_url, is_shared=is_shared) as engine, engine.connect() as connection:
        connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        update = Prepared(statement)
        # The driver has a statement prepared that it has sent so often.
        for _ in range(10):
            update.run(connection, [first, second])
        kept = f"SELECT name FROM pg_prepared_statements WHERE statement LIKE 'UPDATE {table} SET %'"  # noqa: S608
        explain = f"EXPLAIN EXECUTE \"{connection.execute(text(kept)).scalar_one()}\"('[]')"
        plan = "\n".join(connection.scalars(text(explain)))
    assert "Nested Loop" in plan
    assert f" on {table}" in plan
    assert "Seq Scan" not in plan
