"""Events that nobody of ours wrote: noticed by whoever reads them, obeyed by nobody, and nothing is written behind."""

import hmac
import json
from asyncio import gather
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text, update

from commands.log_keys import begin_mac_key, settle_mac_key
from domain.client import ClientDisabled
from domain.client_secret import find as find_version
from domain.event import Actor, Recorded
from domain.keys import mac_key
from eventstore import mapper, search, time_travel
from eventstore.appending.rows import Replay
from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.mapper import MAC_KEY_PREFIX, Authenticator, LogMapper, MacKey, Ring
from eventstore.stored import events, head
from eventstore.transparency.published import knowing, read_authentic_leaves
from eventstore.unavailable import Forged
from projections import PROJECTIONS
from security.clock import ManualClock
from security.keyring import Keyring, new_master_key, parse_keyring
from security.vault import Vault
from tests.eventstore.conftest import HERE, disable, enable, register

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The hands of somebody who may write to the database and has no key."""
    made = migrating(database_url)
    yield made
    made.dispose()


@pytest.fixture
async def other(database_url: str, keyring: Keyring, clock: ManualClock, ledger: Ledger) -> AsyncIterator[Ledger]:
    """A second process, that knows the log as the first one does."""
    opened = await Ledger.open(database_url, keyring, clock)
    yield opened
    await opened.close()


async def row(ledger: Ledger, position: int) -> tuple[Any, ...]:
    found = await ledger.read(lambda c: c.execute(select(events).where(events.c.id == position)).one())
    return tuple(found)


def put(engine: Engine, values: tuple[Any, ...], *, move: bool = True) -> None:
    """Inserts a row, and moves the head to it as the server does."""
    with engine.begin() as connection:
        connection.execute(insert(events), dict(zip([c.name for c in events.columns], values, strict=True)))
        if move:
            connection.execute(update(head).values(position=values[0]))


def tamper(engine: Engine, statement: str, **values: Any) -> None:
    """Changes the table as its owner can."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in ("stored_events_no_update", "stored_events_no_delete"):
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE stored_events DISABLE TRIGGER ALL"))
        connection.execute(text(statement), values)


def forged_like(before: tuple[Any, ...], position: int, **changes: Any) -> tuple[Any, ...]:
    """A well-formed event at a position: another one's form with changes and a MAC of the right length."""
    form = json.loads(before[4]) | {"position": position, "version": before[2] + 1} | changes | {"mac": "0" * 32}
    return position, form["stream"], form["version"], form["type"], json.dumps(form, separators=(",", ":"))


async def refuses_to_write(ledger: Ledger, position: int) -> None:
    with pytest.raises(Forged) as refused:
        await ledger.execute(register("later"), origin=HERE)
    assert refused.value.position == position


async def count(ledger: Ledger) -> int:
    found: int = await ledger.read(lambda c: len(c.execute(select(events.c.id)).all()))
    return found


async def test_what_the_server_wrote_verifies_everywhere(ledger: Ledger, other: Ledger) -> None:
    await ledger.execute(register("a"), origin=HERE)
    await other.execute(disable("a"), origin=HERE)
    assert len(await ledger.read(search.recorded_forms, range(1, 4))) == 3
    assert len(await ledger.read(read_authentic_leaves, 0, 10)) == 3
    assert (await ledger.state("client:a")).enabled is False


async def test_only_what_others_stored_is_authenticated(
    ledger: Ledger, other: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticated: list[int] = []
    form = LogMapper.form

    def telling(self: LogMapper, row: Any) -> bytes:
        authenticated.append(row[0])
        return form(self, row)

    await ledger.execute(register("a"), origin=HERE)
    await other.execute(disable("a"), origin=HERE)
    await ledger.execute(enable("a"), origin=HERE)
    every = await ledger.read(read_authentic_leaves, 0, 10)
    monkeypatch.setattr(LogMapper, "form", telling)
    assert await ledger.read(knowing(ledger.recent), 0, 10) == every
    assert authenticated == [3]
    assert await ledger.read(knowing(ledger.recent), 1, 2) == every[1:3]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("originator_id", "client:b"),
        ("originator_version", 9),
        ("topic", "client.enabled"),
        ("id", 9),
        ("state", None),
    ],
)
async def test_no_column_can_be_altered(
    ledger: Ledger, engine: Engine, database_url: str, keyring: Keyring, clock: ManualClock, column: str, value: Any
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    await ledger.execute(disable("a"), origin=HERE)
    await ledger.execute(register("z"), origin=HERE)
    value = (await row(ledger, 3))[4].replace("anonymous", "anonymouz") if value is None else value
    tamper(engine, f"UPDATE stored_events SET {column} = :v WHERE id = 3", v=value)  # noqa: S608 - a test's own words
    at = 9 if column == "id" else 3
    with pytest.raises(Forged) as found:
        await ledger.read(search.recorded_at, at)
    assert found.value.position == at
    with pytest.raises(Forged):
        await ledger.read(search.stored_forms, [at])
    stream = "client:b" if column == "originator_id" else "client:a"
    with pytest.raises(Forged):
        await ledger.read(lambda c: list(time_travel.history(c, stream)))
    assert len(await ledger.read(read_authentic_leaves, 0, 10)) == 2
    assert len(await ledger.read(knowing(ledger.recent), 0, 10)) == 2
    restarted = await Ledger.open(database_url, keyring, clock)
    try:
        await refuses_to_write(restarted, 3)
    finally:
        await restarted.close()


async def test_a_replay_refuses_what_does_not_verify(ledger: Ledger, engine: Engine, clock: ManualClock) -> None:
    await ledger.execute(register("a"), origin=HERE)
    tamper(engine, "UPDATE stored_events SET state = replace(state, 'secret-a', 'secret-b')")
    replay = Replay(PROJECTIONS, ledger.privacy, lambda statement: statement, clock.now())
    with pytest.raises(Forged):
        await ledger.read(replay.read, 0, 2)


@pytest.mark.parametrize("move", [True, False], ids=["head moved", "past the head"])
async def test_forged_event_at_the_head_is_obeyed_by_nobody(
    ledger: Ledger,
    other: Ledger,
    engine: Engine,
    database_url: str,
    keyring: Keyring,
    clock: ManualClock,
    *,
    move: bool,
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    before = await ledger.state("client:a")
    await other.state("client:a")
    last = await row(ledger, 2)
    data = {"secret_id": "forged", "sha256": "0" * 64, "others_expire_in": None, "lifetime": None}
    put(engine, forged_like(last, 3, type="client.secret_rotated", stream="client:a", data=data), move=move)
    for running in (ledger, other):
        assert find_version((await running.state("client:a")).secrets, "forged") is None
        await refuses_to_write(running, 3)
        assert (await running.state("client:a")) == before
        assert running.changes.forged == 3
    restarted = await Ledger.open(database_url, keyring, clock)
    try:
        assert find_version((await restarted.state("client:a")).secrets, "forged") is None
        await refuses_to_write(restarted, 3)
    finally:
        await restarted.close()
    assert len(await ledger.read(read_authentic_leaves, 0, 10)) == 2
    assert await count(ledger) == 3


async def test_an_event_that_was_taken_away_counts_as_forged(ledger: Ledger, other: Ledger, engine: Engine) -> None:
    await ledger.execute(register("a"), origin=HERE)
    await ledger.execute(disable("a"), origin=HERE)
    await ledger.execute(enable("a"), origin=HERE)
    tamper(engine, "DELETE FROM stored_events WHERE id = 3")
    await refuses_to_write(other, 3)


async def test_an_older_events_bytes_say_nothing_at_another_position(
    ledger: Ledger, other: Ledger, engine: Engine
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    await ledger.execute(disable("a"), origin=HERE)
    await ledger.execute(enable("a"), origin=HERE)
    await other.settled()
    disabling = await row(ledger, 3)
    put(engine, (5, "client:a", 5, "client.disabled", disabling[4]))
    assert (await other.state("client:a")).enabled
    await refuses_to_write(other, 5)


@pytest.mark.parametrize("origin", ["log.example/one", "log.example/two"])
async def test_the_key_alone_makes_no_event_for_another_log(
    database_url: str, keyring: Keyring, clock: ManualClock, engine: Engine, origin: str
) -> None:
    ledger = await Ledger.open(database_url, keyring, clock, origin="log.example/one")
    await ledger.execute(register("a"), origin=HERE)
    (stored,) = (await ledger.read(ledger.vault.secrets_like, MAC_KEY_PREFIX)).values()
    form = forged_like(await row(ledger, 2), 3, type="client.disabled", stream="client:a", data={})
    unsigned = form[4].replace(f',"mac":"{"0" * 32}"', "").encode()
    mac = Authenticator(b64decode(json.loads(stored.value)["key"]), origin).mac(unsigned)
    put(engine, (*form[:4], form[4].replace("0" * 32, mac)))
    # Who has key and name is the server.
    assert (await ledger.state("client:a")).enabled is (origin != "log.example/one")
    if origin != "log.example/one":
        await refuses_to_write(ledger, 3)
    await ledger.close()


async def test_retired_key_makes_no_new_mac_and_still_verifies_its_own(
    ledger: Ledger, other: Ledger, engine: Engine
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    former = ledger.ring.writing(2)
    await ledger.execute(begin_mac_key(ledger.ring, "rotated"), origin=HERE)
    told = await ledger.read(search.recorded_at, 3)
    assert told is not None
    assert (told.type, told.event.first) == ("mac_key.introduced", 3)
    assert ledger.ring.writing(4).key_id != former.key_id
    # A process that was running all the while learns of the key by the event under it.
    await other.execute(disable("a"), origin=HERE)
    assert [each.key_id for each in other.ring.keys] == [former.key_id, ledger.ring.writing(4).key_id]
    assert len(await other.read(search.recorded_forms, range(1, 5))) == 4
    last = await row(ledger, 4)
    form = forged_like(last, 5, type="client.enabled", data={})
    unsigned = form[4].replace(f',"mac":"{"0" * 32}"', "").encode()
    mac = former.authenticator.mac(unsigned)
    put(engine, (*form[:4], form[4].replace("0" * 32, mac)))
    await refuses_to_write(other, 5)
    await refuses_to_write(ledger, 5)
    assert not (await other.state("client:a")).enabled


async def test_two_processes_write_while_keys_begin(ledger: Ledger, other: Ledger) -> None:
    for number in range(4):
        await ledger.execute(register(f"a{number}"), origin=HERE)
        await other.execute(register(f"b{number}"), origin=HERE)
        await (ledger, other)[number % 2].execute(
            begin_mac_key((ledger, other)[number % 2].ring, "rotated"), origin=HERE
        )
    state: mac_key.State = await other.state(mac_key.STREAM)
    assert len(state.keys) == 4
    position = (await ledger.head())[0]
    for each in (ledger, other):
        assert len(await each.read(search.recorded_forms, range(1, position + 1))) == position


async def test_a_key_that_was_rolled_back_is_forgotten(ledger: Ledger, engine: Engine) -> None:
    await ledger.execute(register("a"), origin=HERE)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ledger.execute(begin_mac_key(ledger.ring, "rotated"), origin=HERE, then=fail)
    await ledger.execute(disable("a"), origin=HERE)
    assert len(ledger.ring.keys) == 1
    assert len(await ledger.read(search.recorded_forms, range(1, 4))) == 3


async def test_a_new_master_key_changes_no_mac(database_url: str, clock: ManualClock) -> None:
    old, new = new_master_key(), new_master_key()
    former = await Ledger.open(database_url, parse_keyring(old), clock)
    await former.execute(register("a"), origin=HERE)
    before = await row(former, 1)
    await former.close()
    rewrapping = await Ledger.open(database_url, parse_keyring(f"{new},{old}"), clock)
    while await rewrapping.maintain(rewrapping.vault.rewrap, 10):
        pass
    await rewrapping.close()
    alone = await Ledger.open(database_url, parse_keyring(new), clock)
    try:
        assert await row(alone, 1) == before
        assert await alone.read(search.stored, 1) == before[4]
        await alone.execute(disable("a"), origin=HERE)
        assert not (await alone.state("client:a")).enabled
    finally:
        await alone.close()


async def test_without_its_key_in_the_vault_a_log_is_not_believed(
    ledger: Ledger, engine: Engine, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM vault_secrets WHERE name LIKE 'mac_key:%'"))
    restarted = await Ledger.open(database_url, keyring, clock)
    try:
        await refuses_to_write(restarted, 1)
    finally:
        await restarted.close()


async def test_what_is_due_is_done_once_and_only_at_its_position(ledger: Ledger, engine: Engine) -> None:
    await ledger.execute(register("a"), origin=HERE)
    removal = mapper.Removal(3, 1, "0" * 64)
    due = mapper.DueKey("forged", 3, removal)
    await ledger.maintain(mapper.put_due_key, ledger.vault, due, 0)
    await settle_mac_key(ledger, HERE)
    await settle_mac_key(ledger, HERE)
    told = await ledger.read(search.recorded_forms, [3, 4])
    assert [each.type for each in told] == ["log.forged_removed", "mac_key.introduced"]
    assert ledger.ring.of(3) == ledger.ring.of(4) != ledger.ring.of(2)
    await ledger.maintain(mapper.put_due_key, ledger.vault, due, 0)
    await settle_mac_key(ledger, HERE)
    assert (await ledger.head())[0] == 4
    assert await ledger.read(mapper.get_due_key, ledger.vault) is None


async def test_lone_command_shares_its_transaction_with_nobody(
    database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    sizes: list[int] = []
    ledger = await Ledger.open(database_url, keyring, clock, on_commit=sizes.append)
    rotation = begin_mac_key(ledger.ring, "rotated")
    await gather(*(ledger.execute(each, origin=HERE) for each in (register("a"), rotation, register("b"))))
    await ledger.close()
    assert sizes == [1, 1, 1]


def test_the_stored_form_with_its_mac_is_pinned() -> None:
    ring = Ring(Vault(parse_keyring(new_master_key())))
    key = MacKey("0" * 16, "log.example/pinned", 1, Authenticator(bytes(range(32)), "log.example/pinned"))
    ring._keys, ring._firsts = (key,), (1,)
    recorded = Recorded(7, "id-7", "client:é", 2, 0, Actor("system"), None, None, None, ClientDisabled())
    assert LogMapper(ring).stored(recorded).decode() == PINNED


PINNED = (
    '{"position":7,"id":"id-7","type":"client.disabled","stream":"client:é","version":2,'
    '"time":"1970-01-01T00:00:00.000000Z","actor":{"kind":"system"},"data":{},"mac":"736e99928bcb271104bb9880f823379b"}'
)


def test_mac_is_hmac_sha256_over_name_length_and_stored_form() -> None:
    """Against the standard library, so that the two halves that are kept are put together as RFC 2104 has it."""
    key, name, form = bytes(range(32)), "log.example/é", b'{"position":1}'
    bound = len(name.encode()).to_bytes(8) + name.encode()
    assert Authenticator(key, name).mac(form) == hmac.digest(key, bound + form, "sha256").hex()[:32]
