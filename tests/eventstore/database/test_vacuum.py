"""What the vault overwrote is in no file of PostgreSQL after the vault was written anew."""

from os import urandom
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from eventstore.database.vacuum import Busy, NotOwner, vacuum_vault


def test_an_overwritten_key_is_in_no_table_on_the_disk(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wraps = [urandom(60) for _ in range(8)]
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as connection:
        for number, wrap in enumerate(wraps):
            row = (f"account:{number}", wrap)
            connection.execute("INSERT INTO vault_keys VALUES (%s, %s, 'key', 1, NULL)", row)

        def there() -> set[int]:
            connection.execute("CHECKPOINT")
            found = (
                connection.execute("SHOW data_directory").fetchall()
                + connection.execute("SELECT pg_relation_filepath('vault_keys')").fetchall()
            )
            octets = Path(*(name for (name,) in found)).read_bytes()
            return {number for number, wrap in enumerate(wraps) if wrap in octets}

        assert there() == {*range(8)}
        connection.execute(
            "UPDATE vault_keys SET wrapped = NULL, key_id = NULL, destroyed_at = 1"
            " WHERE subject IN ('account:3', 'account:7')"
        )
        # A plain vacuum would leave the last one in the free room of its page.
        vacuum_vault(postgresql_url)
        assert there() == {0, 1, 2, 4, 5, 6}
        connection.execute("CREATE ROLE vacuum_visitor LOGIN")
        try:
            visitor = make_url(postgresql_url).set(username="vacuum_visitor")
            with pytest.raises(NotOwner):
                vacuum_vault(visitor.render_as_string(hide_password=False))
        finally:
            connection.execute("DROP ROLE vacuum_visitor")
        monkeypatch.setattr("eventstore.database.vacuum.WAITS_MS", 1)
        with connection.transaction():
            connection.execute("LOCK vault_keys IN ACCESS SHARE MODE")
            with pytest.raises(Busy):
                vacuum_vault(postgresql_url)


def test_what_an_older_transaction_sees_is_not_said_to_be_gone(postgresql_url: str) -> None:
    """Such as a dump of the database, which need not have come to the vault yet."""
    url = postgresql_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection, psycopg.connect(url) as older:
        connection.execute("INSERT INTO vault_keys VALUES ('account:1', '\\x01', 'key', 1, NULL)")
        older.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        older.execute("SELECT 1")
        connection.execute("UPDATE vault_keys SET wrapped = NULL, key_id = NULL, destroyed_at = 1")
        with pytest.raises(Busy):
            vacuum_vault(postgresql_url)
        older.rollback()
        vacuum_vault(postgresql_url)
