"""What lies on the disk: no clear value in the files of either database, and after an erasure no wrapped key."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import randbelow, token_hex

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from eventstore.database.vacuum import vacuum_vault
from security.vault import KEYS
from tests.scenarios.account.test_email_address import EMAIL, VERIFY
from tests.scenarios.account.test_recovery import NEW_PASSWORD, RECOVER
from tests.scenarios.administration import ok
from tests.scenarios.browser import Page
from tests.scenarios.factors import SIGN_IN, enrol, sign_in
from tests.scenarios.letters import delivered
from tests.scenarios.secrecy.traces import found
from tests.scenarios.world import Person, World

pytestmark = pytest.mark.anyio

FROM = "2001:db8:4242:77::abcd"


class Files:
    """The files of a database as they lie there, and of PostgreSQL the log that it has written since."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        self._start = "" if url.startswith("sqlite") else self._asked("SELECT pg_current_wal_lsn()")

    def _asked(self, query: str) -> str:
        with psycopg.connect(self._url, autocommit=True) as connection:
            return str(connection.execute(query.encode()).fetchall()[0][0])

    def read(self) -> dict[str, bytes]:
        found = {}
        for path in self._on_server() if self._start else self._of_sqlite():
            # The server may be done with one, for the sake of another test.
            with suppress(FileNotFoundError):
                found[path.name] = path.read_bytes()
        return found

    def tables(self) -> dict[str, bytes]:
        """Without what keeps what was for a while."""
        return {name: octets for name, octets in self.read().items() if len(name) != 24}

    def _of_sqlite(self) -> Iterator[Path]:
        file = Path(make_url(self._url).database or "")
        yield from file.parent.glob(f"{file.name}*")

    def _on_server(self) -> Iterator[Path]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        data = Path(self._asked("SHOW data_directory"))
        oid = self._asked("SELECT oid FROM pg_database WHERE datname = current_database()")
        yield from (data / "base" / oid).iterdir()
        first = self._asked(f"SELECT pg_walfile_name('{self._start}')")
        last = self._asked("SELECT pg_walfile_name(pg_current_wal_lsn())")
        yield from (path for path in (data / "pg_wal").iterdir() if first <= path.name <= last and len(path.name) == 24)


def unique(what: str) -> str:
    return f"{what}{token_hex(8)}"


async def test_no_value_in_clear_and_no_key_of_the_erased(world: World, database_url: str) -> None:
    files = Files(database_url)
    values = {what: unique(what) for what in ("username", "guess", "nobody", "agent", "family")}
    # Of this test alone: others may leave theirs in the server's log.
    password = unique("a sentence ")
    paul = Person("", "platform", values["username"], password)
    token = await world.token("people:write", "people:read", "audit:personal")
    admin = world.caller(headers={"authorization": f"Bearer {token}"})
    body = {"realm": "platform", "username": paul.username, "email": paul.email, "password": password}
    account_id = ok(await admin.post("/admin/people", json=body), 201)["id"]
    claims = {"family_name": values["family"], "phone_number": f"+49 6131 {randbelow(10**12):012}"}
    ok(await admin.patch(f"/admin/people/{account_id}", json=claims), 200)
    invited = unique("invited") + "@example.test"
    body = {"realm": "platform", "username": unique("petra"), "email": invited}
    petra = ok(await admin.post("/admin/people", json=body), 201)["id"]
    ok(await admin.post(f"/admin/people/{petra}/invite"), 200)
    browser = world.browser(FROM)
    browser.client.headers["user-agent"] = values["agent"]
    generator = await enrol(world, paul, browser)
    moved = unique("moved") + "@example.test"
    await browser.press(await browser.open(EMAIL), VERIFY)
    await browser.press(await browser.open(EMAIL), EMAIL, email=moved, current_password=password)
    other = world.browser(FROM)
    page = await sign_in(world, paul, other)
    page = await other.press(page, SIGN_IN, code="000000")
    await other.press(page, SIGN_IN, code=generator.recovery_codes[0])
    await failed(world, paul.username, values["guess"])
    for name in (paul.username, values["nobody"], unique("nobody") + "@example.test"):
        visitor = world.browser(FROM)
        await visitor.press(await visitor.open(f"{RECOVER}?realm=platform"), RECOVER, username=name)
    clear = [*values.values(), body["username"], invited, moved, paul.email, FROM, password, generator.secret]
    clear += [*claims.values(), *generator.recovery_codes]
    await nothing_of(files, clear)
    letters = await delivered(world)
    assert {letter.to for letter in letters} >= {paul.email, moved, invited}
    (link,) = [letter.link for letter in letters if NEW_PASSWORD in letter.text]
    await visitor.press(await visitor.open(link), NEW_PASSWORD, password=unique("another "))
    await nothing_of(files, [*clear, link.partition("link=")[2]])

    erased = [f"account:{petra}", f"account:{account_id}"]
    wrapped = select(KEYS.c.wrapped).where(KEYS.c.subject.in_(erased))
    wraps = await world.services.ledger.read(lambda connection: connection.scalars(wrapped).all())
    assert len(kept(files, wraps)) == 2
    for each in (petra, account_id):
        ok(await admin.delete(f"/admin/people/{each}"), 204)
    vacuum_vault(database_url)
    assert kept(files, wraps) == set()


def kept(files: Files, wraps: Iterable[bytes]) -> set[bytes]:
    """Those that stand in a file; the log of PostgreSQL has them until it is recycled."""
    there = files.tables().values()
    return {wrap for wrap in wraps if any(wrap in octets for octets in there)}


async def failed(world: World, username: str, password: str) -> Page:
    browser = world.browser(FROM)
    page = await browser.open(f"{SIGN_IN}?realm=platform&to=account")
    return await browser.press(page, SIGN_IN, username=username, password=password)


async def nothing_of(files: Files, clear: list[str]) -> None:
    there = files.read()
    names = list(there)
    # What stands there in clear is found, so the search does look.
    assert [*found([*there.values()], ["account.registered"])]
    assert {(names[at], value) for at, value in found([*there.values()], clear, any_case=True)} == set()
