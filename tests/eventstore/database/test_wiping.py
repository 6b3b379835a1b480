"""What the vault destroyed is in none of SQLite's files, soon after."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Select, select
from sqlalchemy.engine import make_url

from domain import account
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.database.engines import snapshot
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from security.clock import ManualClock
from security.keyring import Keyring
from security.vault import ANSWERS, KEYS, SECRETS, StoredAnswer
from tests.any_command import any_command
from tests.eventstore.conftest import register

pytestmark = pytest.mark.anyio
HERE = Origin(request_id="request-1")
PAUL = {
    "realm": "platform",
    "username": "paul",
    "email": "paul@example.test",
    "password_hash": None,
    "roles": (),
    "role_scopes": {},
    "caller_scope": ADMINISTRATIVE_SCOPES,
    "username_taken": False,
    "email_taken": False,
}


@pytest.fixture
async def ledger(sqlite_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(sqlite_url, keyring, clock)
    yield opened
    await opened.close()


async def stored(ledger: Ledger, which: Select[tuple[bytes]]) -> bytes:
    return await ledger.read(lambda connection: connection.scalars(which).one())


async def pauls_key(ledger: Ledger) -> bytes:
    """The wrap of the key of Paul, who is registered."""
    await ledger.execute(any_command("account:paul", account.register, PAUL), origin=HERE)
    return await stored(ledger, select(KEYS.c.wrapped).where(KEYS.c.subject == "account:paul"))


async def erase(ledger: Ledger) -> None:
    facts = {"leaves_no_administrator": False}
    await ledger.execute(any_command("account:paul", account.erase, facts), origin=HERE)


def readable(url: str, wrap: bytes) -> set[str]:
    """In which of the database's files it can be read, by how their names end."""
    file = Path(make_url(url).database or "")
    files = file.parent.glob(f"{file.name}*")
    return {each.name.removeprefix(file.name) for each in files if wrap in each.read_bytes()}


async def test_the_key_of_an_erased_person_is_in_no_file(ledger: Ledger, sqlite_url: str) -> None:
    wrap = await pauls_key(ledger)
    await ledger.wipe()
    assert readable(sqlite_url, wrap) == {""}
    await erase(ledger)
    await ledger.wipe()
    assert readable(sqlite_url, wrap) == set()
    assert (await ledger.state("account:paul")).erased


async def test_key_only_in_the_write_ahead_log_is_in_no_file(ledger: Ledger, sqlite_url: str) -> None:
    wrap = await pauls_key(ledger)
    assert readable(sqlite_url, wrap) == {"-wal"}
    await erase(ledger)
    assert readable(sqlite_url, wrap) == {"-wal"}
    await ledger.wipe()
    assert readable(sqlite_url, wrap) == set()


async def test_who_reads_for_long_is_waited_for(ledger: Ledger, sqlite_url: str) -> None:
    wrap = await pauls_key(ledger)
    with snapshot(sqlite_url) as reading:
        reading.exec_driver_sql("SELECT count(*) FROM vault_keys").scalar()
        await erase(ledger)
        # It is to be done again, whether anything is heard of the log or not.
        assert await ledger.wipe() is False
        assert "-wal" in readable(sqlite_url, wrap)
        # Others go on writing.
        await ledger.execute(register("c"), origin=HERE)
    assert await ledger.wipe() is True
    assert readable(sqlite_url, wrap) == set()


async def test_what_another_process_erased_or_left_behind_is_wiped(
    ledger: Ledger, sqlite_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    wrap = await pauls_key(ledger)
    other = await Ledger.open(sqlite_url, keyring, clock)
    await other.wipe()
    await erase(ledger)
    await other.settled()
    await other.wipe()
    assert readable(sqlite_url, wrap) == set()
    await other.close()
    await ledger.maintain(ledger.vault.put_secret, "name", b"secret", clock.now())
    wrap = await stored(ledger, select(SECRETS.c.wrapped).where(SECRETS.c.name == "name"))
    await ledger.maintain(ledger.vault.delete_secret, "name")
    another = await Ledger.open(sqlite_url, keyring, clock)
    await another.wipe()
    assert readable(sqlite_url, wrap) == set()
    await another.close()


async def test_an_answer_is_in_no_file_after_its_time(ledger: Ledger, sqlite_url: str, clock: ManualClock) -> None:
    now = clock.now()
    answer = StoredAnswer(b"body", 200, b"a secret that is shown once")
    await ledger.maintain(ledger.vault.put_answer, b"key", answer, now=now, expires_at=now + 1)
    wrap = await stored(ledger, select(ANSWERS.c.answer))
    await ledger.wipe()
    await ledger.maintain(ledger.vault.prune_answers, now + 1, 10)
    await ledger.wipe()
    assert readable(sqlite_url, wrap) == set()


async def test_write_ahead_log_is_kept_where_nothing_was_overwritten(
    ledger: Ledger, sqlite_url: str, clock: ManualClock
) -> None:
    # The first event begins the log's MAC key, which is put into the vault.
    await ledger.execute(register("b"), origin=HERE)
    await ledger.wipe()
    await ledger.execute(register("c"), origin=HERE)
    await ledger.maintain(ledger.vault.prune_answers, clock.now(), 10)
    await ledger.wipe()
    assert "-wal" in readable(sqlite_url, b"client:c")
