"""What an empty database gets, once however many start at a time, and the demo that comes on top."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from stat import S_IMODE
from typing import Any

import msgspec
import pytest

from api.config import demonstration
from api.config.demonstration import DRAFT, FILE, DemoFileLost, Demonstration, prepare, present
from api.config.settings import Settings
from api.environment import load
from commands import clients as client_commands
from commands.clients import vault_name
from commands.permissions import operator
from commands.servers import ADMINISTRATION_SCOPES, install
from domain import client
from domain.client_secret import SecretVersion
from domain.event import Actor
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.database.schema import upgrade
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.present import person_by_login
from eventstore.stored import events
from projections import clients
from security.clock import ManualClock
from security.keyring import Keyring, new_master_key, parse_keyring
from security.passwords import Hasher
from security.tokens import DEFAULT, digest

pytestmark = pytest.mark.anyio
HERE = Origin(Actor("system", None, {"user": "somebody"}))
ISSUER = "http://127.0.0.1:8400"
KEYRING = parse_keyring(new_master_key())


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(database_url, KEYRING, ManualClock())
    yield opened
    await opened.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return load({}, None, environment="demo", database_url=database_url, data_dir=tmp_path)


async def stored(ledger: Ledger) -> list[dict[str, Any]]:
    return [json.loads(row.state) for row in await ledger.read(lambda c: c.execute(events.select()).all())]


async def prepared(ledger: Ledger, settings: Settings, keyring: Keyring = KEYRING) -> Demonstration:
    await install(ledger, keyring, DEFAULT, settings.issuer, HERE)
    hasher = Hasher()
    try:
        await prepare(ledger, settings, DEFAULT, hasher, HERE)
    finally:
        hasher.close()
    return demonstration.read(settings)


async def test_empty_database_gets_scopes_roles_and_dashboards(ledger: Ledger) -> None:
    assert await install(ledger, KEYRING, DEFAULT, ISSUER, HERE)
    found = await stored(ledger)
    assert Counter(event["type"] for event in found) == {
        "scope.defined": 14,
        "role.defined": 5,
        "client.registered": 3,
        "client.secret_issued": 3,
    }
    assert all(event["actor"] == {"kind": "system", "credential": {"user": "somebody"}} for event in found)
    assert set(ADMINISTRATION_SCOPES) == ADMINISTRATIVE_SCOPES


async def test_roles_exist_per_task_and_the_default_sees_no_log(ledger: Ledger) -> None:
    await install(ledger, KEYRING, DEFAULT, ISSUER, HERE)
    found = {
        event["data"]["name"]: (set(event["data"]["scopes"]), event["data"]["default"])
        for event in await stored(ledger)
        if event["type"] == "role.defined" and event["data"]["realm"] == "administration"
    }
    reading = {"clients:read", "people:read", "grants:read"}
    assert found == {
        "reader": ({"profile"} | reading, True),
        "administrator": ({"profile"} | ADMINISTRATIVE_SCOPES, False),
        "auditor": ({"audit:read", "audit:personal"} | reading, False),
        "security": (
            {"leaks:read", "leaks:write", "audit:read", "audit:personal"}
            | {"clients:read", "grants:read", "grants:write"},
            False,
        ),
    }


async def test_dashboard_secrets_are_in_the_vault_and_nowhere_else(ledger: Ledger) -> None:
    await install(ledger, KEYRING, DEFAULT, ISSUER, HERE)
    log = json.dumps(await stored(ledger))
    for slug in ("administration", "client"):
        found = await ledger.read(clients.by_slug, slug)
        assert found is not None
        assert found.allowed_origins == (ISSUER,)
        kept = await ledger.read(ledger.vault.get_secret, vault_name(found.client_id))
        assert kept is not None
        state = await ledger.state(client.stream(found.client_id))
        sha256 = digest(kept.value.decode()).hex()
        assert isinstance(client.authenticate(state, sha256, ledger.clock.now()), SecretVersion)
        assert kept.value.decode() not in log


async def test_who_installs_second_leaves_nothing(ledger: Ledger, database_url: str) -> None:
    other = await Ledger.open(database_url, KEYRING, ManualClock())
    try:
        done = await asyncio.gather(
            *(install(each, KEYRING, DEFAULT, ISSUER, HERE) for each in (ledger, other, ledger, other))
        )
    finally:
        await other.close()
    assert sorted(done) == [False, False, False, True]
    assert len(await stored(ledger)) == 25
    assert not await install(ledger, KEYRING, DEFAULT, ISSUER, HERE)


async def test_the_demo_is_made_once_and_its_file_is_its_owners_alone(ledger: Ledger, settings: Settings) -> None:
    made = await prepared(ledger, settings)
    file = settings.data_dir / FILE
    assert S_IMODE(file.stat().st_mode) == 0o600
    before, content = await stored(ledger), file.read_bytes()
    assert await ledger.read(present, settings)
    assert await prepared(ledger, settings) == made
    assert (await stored(ledger), file.read_bytes()) == (before, content)
    assert sorted(path.name for path in settings.data_dir.iterdir() if path.name.startswith("demo")) == [
        FILE,
        "demo.lock",
    ]


async def test_nothing_secret_or_personal_of_the_demo_is_in_the_log(ledger: Ledger, settings: Settings) -> None:
    made = await prepared(ledger, settings)
    log = json.dumps(await stored(ledger))
    for value in (
        made.administrator.password,
        made.administrator.email,
        made.person.password,
        made.person.email,
        made.third_party.client_secret,
        made.service.client_secret,
    ):
        assert value not in log
    assert made.person.password not in repr(made)


async def test_the_demos_roles(ledger: Ledger, settings: Settings) -> None:
    made = await prepared(ledger, settings)
    for person, expected in ((made.administrator, "administrator"), (made.person, "member")):
        found = await ledger.look(person_by_login, ledger.privacy, "username", person.realm, person.username)
        assert found is not None
        assert found.roles == (expected,)


async def test_a_lost_file_is_said_so_with_what_to_do(ledger: Ledger, settings: Settings) -> None:
    await prepared(ledger, settings)
    (settings.data_dir / FILE).unlink()
    before = await stored(ledger)
    with pytest.raises(DemoFileLost, match=r"is missing or unreadable\. Put it back, or begin anew"):
        await prepared(ledger, settings)
    assert await stored(ledger) == before


async def test_the_file_of_another_log_does_not_open_this_one(ledger: Ledger, settings: Settings) -> None:
    made = await prepared(ledger, settings)
    (settings.data_dir / FILE).write_bytes(msgspec.json.encode(of_another_log(made)))
    with pytest.raises(DemoFileLost):
        await prepared(ledger, settings)


async def test_demo_file_of_another_log_is_replaced_on_empty_database(
    ledger: Ledger, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = load({}, None, environment="demo", data_dir=tmp_path_factory.mktemp("other"))
    upgrade(elsewhere.database_url)
    former = await Ledger.open(elsewhere.database_url, KEYRING, ManualClock())
    try:
        old = await prepared(former, elsewhere)
    finally:
        await former.close()
    (settings.data_dir / FILE).write_bytes(msgspec.json.encode(old))
    made = await prepared(ledger, settings)
    assert made.third_party.client_id != old.third_party.client_id
    assert made.person.password != old.person.password


def of_another_log(made: Demonstration) -> Demonstration:
    return msgspec.structs.replace(
        made, third_party=msgspec.structs.replace(made.third_party, client_id="of-another-log")
    )


async def test_process_killed_after_its_commit_loses_no_secret(ledger: Ledger, settings: Settings) -> None:
    made = await prepared(ledger, settings)
    (settings.data_dir / FILE).rename(settings.data_dir / DRAFT)
    assert await prepared(ledger, settings) == made
    assert not (settings.data_dir / DRAFT).exists()


async def test_a_draft_that_was_never_committed_is_forgotten(ledger: Ledger, settings: Settings) -> None:
    await install(ledger, KEYRING, DEFAULT, settings.issuer, HERE)
    (settings.data_dir / DRAFT).write_text("{")
    made = await prepared(ledger, settings)
    found = await ledger.read(clients.by_id, made.third_party.client_id)
    assert found is not None


async def test_another_port_moves_the_addresses_and_keeps_the_secrets(ledger: Ledger, settings: Settings) -> None:
    made = await prepared(ledger, settings)
    moved_to = load(
        {}, None, environment="demo", database_url=settings.database_url, data_dir=settings.data_dir,
        port=9400, demo_port=9401,
    )  # fmt: skip
    assert not await ledger.read(present, moved_to)
    moved = await prepared(ledger, moved_to)
    assert moved.issuer == "http://127.0.0.1:9400"
    assert moved.third_party.redirect_uri == "http://127.0.0.1:9401/callback"
    assert moved.dashboards["client"].login_url == "http://127.0.0.1:9400/dashboards/client/login"
    assert moved.third_party.client_secret == made.third_party.client_secret
    assert moved.person == made.person
    found = await ledger.read(clients.by_slug, "client")
    assert found is not None
    assert found.allowed_origins == ("http://127.0.0.1:9400",)


async def test_administrators_own_origins_stay_when_the_server_moves(ledger: Ledger, settings: Settings) -> None:
    await prepared(ledger, settings)
    found = await ledger.read(clients.by_slug, "client")
    assert found is not None
    changes = client.Attributes(allowed_origins=("http://127.0.0.1:5000", ISSUER))
    changing = client_commands.update(found.client_id, changes, privacy=ledger.privacy, issuer=ISSUER, by=operator)
    executed = await ledger.execute(changing, origin=HERE)
    assert executed.refusal is None
    moved_to = load(
        {}, None, environment="demo", database_url=settings.database_url, data_dir=settings.data_dir, port=9400
    )
    await prepared(ledger, moved_to)
    found = await ledger.read(clients.by_slug, "client")
    assert found is not None
    assert found.allowed_origins == ("http://127.0.0.1:5000", "http://127.0.0.1:9400")
