"""What the scenarios stand on works by itself."""

from pathlib import Path

import psycopg
import pytest

from api.server.transparency import NotContinued
from security.keyring import Keyring
from tests.databases import Databases, name_of
from tests.kept_databases import KeptDatabases
from tests.scenarios import lent_routes as lending
from tests.scenarios.world import World, open_world


async def test_a_service_gets_a_token_and_the_log_says_so(world: World) -> None:
    before = await world.head()
    token = await world.token("orders")
    assert token.startswith("glog_at_")
    assert (await world.types_after(before))[-1] == "grant.tokens_issued"


async def test_people_get_their_realms_default_roles(world: World) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    person = await world.register_person()
    (registered,) = await world.events("account.*", stream=f"account:{person.account_id}")
    assert registered.event.roles == ("member",)
    assert person.username not in str(registered)


async def test_routes_are_lent_to_a_server_of_another_name(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "_FREE", {})
    named = []
    for port in (8401, 8402, 8402):
        url, folder = f"{sqlite_url}-{len(named)}", tmp_path / str(len(named))
        Path(url.removeprefix("sqlite:///")).write_bytes(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes())
        async with open_world(url, folder, keyring, issuer=f"http://127.0.0.1:{port}") as world:
            assert {(world.settings.body_limit, world.settings.console): []} == lending._FREE
            answer = await world.client.get("/schema/openapi.json")
            named.append(answer.json()["servers"])
    assert named == [[{"url": f"http://127.0.0.1:{port}"}] for port in (8401, 8402, 8402)]


async def test_routes_are_lent_on_after_a_refused_start_and_no_other(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "_FREE", {})
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_text("of no log")
    with pytest.RaisesGroup(NotContinued, flatten_subgroups=True):
        await _fail(sqlite_url, tmp_path, keyring)
    assert [len(free) for free in lending._FREE.values()] == [1]
    checkpoint.unlink()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True, allow_unwrapped=True):
        await _fail(sqlite_url, tmp_path, keyring)
    assert [*lending._FREE.values()] == [[]]


async def _fail(url: str, folder: Path, keyring: Keyring) -> object:
    async with open_world(url, folder, keyring) as world:
        assert (await world.client.get("/schema/openapi.json")).status_code == 200
        return 1 // (await world.head() * 0)


def _connected(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


async def test_nothing_of_a_scenario_is_in_the_database_of_the_next(
    databases: Databases, tmp_path: Path, keyring: Keyring
) -> None:
    kept = KeptDatabases(databases)
    url = kept.lend()
    served = set()
    for number in range(2):
        async with open_world(url, tmp_path / str(number), keyring) as world:
            await world.token("orders")
        with _connected(url) as connection:
            served.add(connection.info.backend_pid)
            connection.execute("SET work_mem = '1MB'; LISTEN nobody")
        kept.take_back(url)
        assert kept.lend() == url
        with _connected(url) as connection:
            assert connection.info.backend_pid in served
            assert connection.execute("SELECT count(*) FROM stored_events").fetchone() == (0,)
            assert connection.execute("SELECT * FROM log_head").fetchall() == [(1, 0, 0, None)]
            assert connection.execute("SHOW work_mem").fetchone() == ("4MB",)
            assert connection.execute("SELECT * FROM pg_listening_channels()").fetchall() == []
    kept.take_back(url)
    kept.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE clients ADD COLUMN more integer",
        "ALTER TABLE stored_events DISABLE TRIGGER ALL",
        "TRUNCATE clients",
        "ANALYZE log_head",
        "CREATE ROLE {role}; GRANT SELECT ON clients TO {role}",
        "DROP DATABASE {name} WITH (FORCE)",
    ],
)
def test_a_database_that_is_not_as_new_is_not_lent_again(databases: Databases, change: str) -> None:
    kept = KeptDatabases(databases)
    url = kept.lend()
    with _connected(databases.create("postgresql") if "DATABASE" in change else url) as connection:
        connection.execute(change.format(name=name_of(url), role=f"reader_{name_of(url)}").encode())
    kept.take_back(url)
    assert kept.lend() != url
    kept.close()


def test_a_database_somebody_is_connected_to_is_not_lent_again(databases: Databases) -> None:
    kept = KeptDatabases(databases)
    url = kept.lend()
    with _connected(url) as connection:
        kept.take_back(url)
        assert kept.lend() != url
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    kept.close()
