"""A rebuild gives the rows that are there already, swaps them in at once, and goes on where it was broken off."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, create_engine, delete, inspect, select, text, update
from sqlalchemy.exc import OperationalError

from commands import people
from commands.grants import end
from commands.permissions import operator
from eventstore.appending import rows
from eventstore.database import table_locks
from eventstore.database.engines import migrating, reading
from eventstore.projecting import rebuild
from eventstore.projecting.alone import AnotherFills, alone
from eventstore.projecting.rebuild import Comparison, Rebuild, compared, outdated, tables_of, transaction
from eventstore.projecting.refollow import MODELS, Refollowing
from eventstore.stored import head, rebuilds
from projections import PROJECTIONS, clients, digests, grants, tokens
from security.clock import SECOND
from security.keyring import Keyring
from tests.scenarios.asking import set_scene
from tests.scenarios.conftest import keyring as keyring
from tests.scenarios.world import World, open_world


async def lively(world: World) -> None:
    """Something of everything: people and claims that change, clients, rotated and refused secrets, tokens alive,
    revoked and long expired."""
    await world.define_role("platform", "viewer", "orders", default=True)
    paul, privacy = await world.register_person("paul"), world.services.ledger.privacy
    for names in (
        people.PersonNames(claims={"given_name": "Paul", "address": {"country": "IE"}, "email_verified": True}),
        people.PersonNames(email="p@example.test", claims={"given_name": None, "locale": "en-IE"}),
    ):
        world.clock.advance(1)
        await world.execute(people.change_names(paul.account_id, names, privacy=privacy, by=operator))
    world.clock.advance(1)
    await world.execute(people.disable(paul.account_id))
    shop = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    raw = []
    for turn in range(30):
        answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=shop.auth)
        raw.append(answer.json()["access_token"])
        if turn == 15:
            world.clock.advance(3600)
    await world.client.post("/oauth/revoke", data={"token": raw[-1]}, auth=shop.auth)
    await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(shop.client_id, "wrong"))
    # Of grants that were one token, these get a row with their end.
    for issued in (await world.events("grant.tokens_issued"))[-2:]:
        await world.execute(end(issued.stream.partition(":")[2], "administrator"))


@pytest.fixture
def engine(database_url: str) -> Engine:
    return migrating(database_url)


async def test_replayed_rows_are_the_live_ones_and_rebuild_keeps_them(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine
) -> None:
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        now, privacy = world.clock.now(), world.services.ledger.privacy
        compared = Comparison(engine, PROJECTIONS, privacy, now).run()
        assert [each for each in compared if each.live != each.replayed or each.differs_at] == []
        assert sum(each.rows for each in compared) > 30
        token = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"})
        assert token.status_code == 401

        head = await world.head()
        for _ in range(2):
            rebuilt = Rebuild(engine, PROJECTIONS, privacy, now).run()
            assert rebuilt.position >= head
            assert rebuilt.resumed_from == 0
        assert [each for each in Comparison(engine, PROJECTIONS, privacy, now).run() if each.differs_at] == []
        assert not [name for name in inspect(engine).get_table_names() if name.startswith("fresh_")]

        # The server that was there all the time goes on with the new tables.
        raw = await world.token("orders")
        shop = await world.register_client("Another", grant_types=("client_credentials",), scope=("introspect",))
        seen = await world.client.post("/oauth/introspect", data={"token": raw}, auth=shop.auth)
        assert seen.json()["active"] is True
    engine.dispose()


async def test_of_two_who_fill_fresh_tables_one_is_refused(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine
) -> None:
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        await world.services.follower.follow()
        now, privacy = world.clock.now(), world.services.ledger.privacy
        another, refused = migrating(database_url), []

        def beside(_: int, __: int) -> None:
            for others in (
                Rebuild(another, PROJECTIONS, privacy, now).run,
                Rebuild(another, (clients,), privacy, now).run,
                Comparison(another, PROJECTIONS, privacy, now).run,
                *(Refollowing(another, name, privacy).rebuild for name in MODELS),
            ):
                with pytest.raises(AnotherFills):
                    others()
                refused.append(others)

        Rebuild(engine, PROJECTIONS, privacy, now).run(beside)
        Comparison(engine, PROJECTIONS, privacy, now).run(beside)
        for name in MODELS:
            Refollowing(engine, name, privacy).rebuild(beside)
        assert refused
        # Nothing of it is in the way of the next one.
        assert [each for each in Comparison(another, PROJECTIONS, privacy, now).run() if each.differs_at] == []
        for name in MODELS:
            assert [each for each in Refollowing(another, name, privacy).compare() if each.differs_at] == []
        another.dispose()


def test_a_locks_file_is_its_whose_the_database_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root makes beside it, the server's own user could not open."""
    database = tmp_path / "grantlog.db"
    database.touch()
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda file, *whose: given.append((os.readlink(f"/proc/self/fd/{file}"), *whose)))
    with alone(create_engine(f"sqlite:///{database}")):
        assert given == [(f"{database}-rebuild", database.stat().st_uid, database.stat().st_gid)]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_root_gives_away_no_file_that_is_linked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[[Path, Path], None]
) -> None:
    """The server's user may write where the database is, and could have had any file of root's."""
    database, roots = tmp_path / "grantlog.db", tmp_path / "shadow"
    database.touch()
    roots.touch()
    link(roots, tmp_path / "grantlog.db-rebuild")
    given: list[int] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda *each: given.append(each[0]))
    with suppress(OSError), alone(create_engine(f"sqlite:///{database}")):
        pass
    assert given == []


def test_who_was_alone_leaves_it_to_the_next_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # A connection that is closed has its locks until the server has seen that: this one is not even closed.
    monkeypatch.setattr(Connection, "invalidate", lambda _: None)
    pooled = create_engine(engine.url)
    with alone(pooled):
        pass
    with alone(engine):
        pass
    pooled.dispose()


async def test_the_first_row_that_was_tampered_with_is_named(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine
) -> None:
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        with engine.begin() as connection:
            digest = connection.scalar(select(tokens.TABLE.c.digest).order_by(tokens.TABLE.c.digest.desc()).limit(1))
            changed = update(tokens.TABLE).where(tokens.TABLE.c.digest == digest)
            connection.execute(changed.values(scope="everything", prune_at=world.clock.now() * 2))
            connection.execute(
                text("DELETE FROM grants WHERE started_position = (SELECT max(started_position) FROM grants)")
            )
        compared = {
            each.table: each
            for each in Comparison(engine, PROJECTIONS, world.services.ledger.privacy, world.clock.now()).run()
        }
        assert digest is not None
        assert compared["tokens"].differs_at == digest.hex()
        assert compared["tokens"].live != compared["tokens"].replayed
        assert compared["grants"].differs_at is not None
        assert compared["clients"].differs_at is None

        Rebuild(engine, PROJECTIONS, world.services.ledger.privacy, world.clock.now()).run()
        mended = Comparison(engine, PROJECTIONS, world.services.ledger.privacy, world.clock.now()).run()
        assert [each for each in mended if each.differs_at] == []
    engine.dispose()


async def test_a_rebuild_that_was_killed_goes_on_where_it_was(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "STEP", 10)
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        privacy, now = world.services.ledger.privacy, world.clock.now()

        class Killed(Exception):
            pass

        def kill(done: int, goal: int) -> None:
            if done >= 20:
                raise Killed

        with pytest.raises(Killed):
            Rebuild(engine, PROJECTIONS, privacy, now).run(kill)
        rebuilt = Rebuild(engine, PROJECTIONS, privacy, now).run()
        assert rebuilt.resumed_from == 20
        assert [each for each in Comparison(engine, PROJECTIONS, privacy, now).run() if each.differs_at] == []
    engine.dispose()


async def test_who_writes_waits_for_no_comparison(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        another, waiting = migrating(database_url), [True]

        def meanwhile(*given: Any) -> Any:
            if waiting:
                waiting.clear()
                with another.begin() as connection:
                    connection.execute(select(head).with_for_update(nowait=True))
                    connection.execute(delete(tokens.TABLE))
            return compared(*given)

        monkeypatch.setattr(rebuild, "compared", meanwhile)
        found = Comparison(engine, PROJECTIONS, world.services.ledger.privacy, world.clock.now()).run()
        assert not waiting
        assert [each for each in found if each.differs_at] == []
        another.dispose()
    engine.dispose()


@pytest.mark.parametrize("name", ["all", *MODELS])
async def test_who_reads_for_long_keeps_the_rebuild_alone(
    postgresql_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As a dump does, which has all tables until its end."""
    engine, table = migrating(postgresql_url), tokens.TABLE if name == "all" else tables_of(MODELS[name][0][0])[0]
    async with open_world(postgresql_url, tmp_path, keyring) as world:
        await lively(world)
        privacy, now = world.services.ledger.privacy, world.clock.now()
        dump, waits = engine.connect(), []
        dump.execute(select(table)).all()

        def waited(seconds: float) -> None:
            waits.append(seconds)
            if seconds == 0:
                return
            with engine.begin() as connection:
                connection.execute(select(head).with_for_update(nowait=True))
                table_locks.lock_whole(connection, (grants.TABLE,))
                connection.execute(select(table)).all()
            if len(waits) == 3:
                dump.close()

        monkeypatch.setattr(table_locks, "WAITS_MS", 20)
        monkeypatch.setattr(table_locks, "sleep", waited)
        if name == "all":
            Rebuild(engine, PROJECTIONS, privacy, now).run()
            found = Comparison(engine, PROJECTIONS, privacy, now).run()
        else:
            Refollowing(engine, name, privacy).rebuild()
            found = Refollowing(engine, name, privacy).compare()
        assert waits == [0, table_locks.APART_S, table_locks.APART_S]
        assert [each for each in found if each.differs_at] == []
    engine.dispose()


@pytest.mark.parametrize("altered", [{"position": 30}, {"mac": b""}], ids=str)
async def test_rebuild_with_a_tampered_position_begins_anew(
    database_url: str,
    tmp_path: Path,
    keyring: Keyring,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    altered: dict[str, Any],
) -> None:
    monkeypatch.setattr(rows, "STEP", 10)
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        privacy, now = world.services.ledger.privacy, world.clock.now()

        def kill(done: int, goal: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            Rebuild(engine, PROJECTIONS, privacy, now).run(kill)
        with engine.begin() as connection:
            connection.execute(update(rebuilds).values(altered))
        rebuilt = Rebuild(engine, PROJECTIONS, privacy, now).run()
        assert rebuilt.resumed_from == 0
        assert [each for each in Comparison(engine, PROJECTIONS, privacy, now).run() if each.differs_at] == []
    engine.dispose()


async def test_changed_version_is_noticed_until_its_rows_are_rebuilt(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(database_url, tmp_path, keyring) as world:
        await lively(world)
        monkeypatch.setattr(clients, "VERSION", 2)
        with engine.connect() as connection:
            assert outdated(connection, PROJECTIONS) == ["clients"]
        Rebuild(engine, (clients,), world.services.ledger.privacy, world.clock.now()).run()
        with engine.connect() as connection:
            assert outdated(connection, (clients, grants)) == []
    engine.dispose()


@pytest.mark.parametrize("step", [1, 3, 1_000])
async def test_tokens_folded_in_bulk_are_the_rows_written_one_by_one(
    database_url: str, tmp_path: Path, keyring: Keyring, engine: Engine, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Codes that are redeemed and that are not, refreshes, and a revocation, within one step and across two."""
    monkeypatch.setattr(rows, "LONG_STEP", step)
    async with open_world(database_url, tmp_path, keyring) as world:
        scene = await set_scene(world)
        for _ in range(20):
            await world.token("orders")
        browser = await scene.signed_in()
        first = await scene.redeem(await scene.approved(browser))
        await browser.open(scene.address())
        again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        second = await world.client.post("/oauth/token", data=again, auth=scene.shop.auth)
        revoked = {"token": second.json()["access_token"]}
        await world.client.post("/oauth/revoke", data=revoked, auth=scene.shop.auth)

        together, privacy = (tokens, digests), world.services.ledger.privacy
        for later in (0, 3_600, 40 * 86_400):
            now = world.clock.now() + later * SECOND
            compared = Comparison(engine, together, privacy, now).run()
            assert [each for each in compared if each.differs_at] == []
            assert compared[-1].rows > 30
        kinds = {row.kind: row for row in await world.services.ledger.read(_tokens)}
        assert kinds.keys() == {"access", "refresh", "code"}
    engine.dispose()


def _tokens(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(tokens.TABLE)).all()


def test_what_broke_a_transaction_is_told(database_url: str) -> None:
    """A database that ends the connection is away, and a full disk has SQLite roll back by itself."""
    engine = reading(database_url, 2)

    def broken() -> None:
        with engine.connect() as connection, transaction(connection):
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("ROLLBACK")
                connection.exec_driver_sql("SELECT absent")
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(OperationalError, match="no such column|terminating connection|closed the connection"):
        broken()
    engine.dispose()
