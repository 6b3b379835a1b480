"""Mail to people handed to a real mail server: tried until it is taken, told of in the numbers, and never in a log."""

from typing import Any

import pytest

from api.letters.postman import Postman
from eventstore.pending import letters
from tests.api.notifications.mailbox import Mailbox
from tests.api.notifications.mailbox import mail_port as mail_port
from tests.api.notifications.mailbox import mailbox as mailbox
from tests.scenarios.account.test_recovery import ask
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings_given(mail_port: int) -> dict[str, Any]:
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": mail_port,
        "smtp_tls": "none",
        "smtp_from": "grantlog@example.test",
    }


async def metrics(world: World, name: str) -> float:
    text = (await world.operators.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_mail_server_gets_it_in_text_and_html(world: World, mailbox: Mailbox) -> None:
    await world.register_person("paul")
    page = await ask(world.browser(), "paul")
    assert "This is a demonstration" not in page.text
    await Postman(world.services).deliver()
    (letter,) = mailbox.letters
    assert (letter["From"], letter["To"]) == ("grantlog@example.test", "paul@example.test")
    assert letter["Message-ID"].endswith("@example.test>")
    assert [part.get_content_type() for part in letter.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert all(name.lower() not in ("disposition-notification-to", "return-receipt-to") for name in letter)
    assert not list(world.settings.data_dir.glob("mail/*"))


async def test_mail_that_is_not_taken_waits(world: World, mailbox: Mailbox) -> None:
    await world.register_person("paul")
    postman, mailbox.full = Postman(world.services), True
    await ask(world.browser(), "paul")
    await postman.deliver()
    assert mailbox.letters == []
    world.clock.advance(4)
    await postman.deliver()
    assert await metrics(world, "grantlog_letters_waiting") == 1
    assert await metrics(world, "grantlog_letters_oldest_seconds") == 4
    mailbox.full = False
    world.clock.advance(10)
    await postman.deliver()
    assert len(mailbox.letters) == 1
    assert await metrics(world, "grantlog_letters_waiting") == 0


async def test_mail_that_nobody_can_get_is_given_up(world: World, mailbox: Mailbox) -> None:
    await world.register_person("nobody")
    await ask(world.browser(), "nobody")
    await Postman(world.services).deliver()
    assert mailbox.letters == []
    assert await metrics(world, "grantlog_letters_waiting") == 0
    assert await metrics(world, "grantlog_letters_given_up_total") == 1


async def test_a_link_that_is_over_is_not_sent(world: World, mailbox: Mailbox) -> None:
    await world.register_person("paul")
    postman, mailbox.full = Postman(world.services), True
    await ask(world.browser(), "paul")
    for _ in range(20):
        await postman.deliver()
        world.clock.advance(60)
    mailbox.full = False
    await postman.deliver()
    assert mailbox.letters == []
    assert await metrics(world, "grantlog_letters_waiting") == 0


async def test_two_processes_send_it_once(world: World, mailbox: Mailbox) -> None:
    await world.register_person("paul")
    await ask(world.browser(), "paul")
    for postman in (Postman(world.services), Postman(world.services)):
        await postman.deliver()
    assert len(mailbox.letters) == 1


async def test_altered_letters_are_dropped(world: World, mailbox: Mailbox) -> None:
    paul = await world.register_person("paul")
    ledger = world.services.ledger
    forged = letters.Letter("recovery", paul.account_id, ledger.clock.now() + 10**9, "glog_pr_forged")

    class Elsewhere:
        def seal_row(self, *_: Any) -> bytes:
            return ledger.vault.seal_row("letters", "another", b"")

    elsewhere: Any = Elsewhere()
    await ledger.maintain(letters.put, elsewhere, "letter", forged, ledger.clock.now())
    await Postman(world.services).deliver()
    assert mailbox.letters == []
    assert (await ledger.read(letters.waiting)).letters == 0


async def test_addresses_beyond_ascii_get_mail(world: World, mailbox: Mailbox) -> None:
    await world.register_person("jürgen")
    await ask(world.browser(), "jürgen")
    await Postman(world.services).deliver()
    (letter,) = mailbox.letters
    assert letter["X-RcptTo"] == "jürgen@example.test"


async def test_an_erased_person_gets_none(world: World, mailbox: Mailbox) -> None:
    paul = await world.register_person("paul")
    await ask(world.browser(), "paul")
    service = await world.token("people:write")
    answer = await world.client.delete(
        f"/admin/people/{paul.account_id}", headers={"authorization": f"Bearer {service}"}
    )
    assert answer.status_code == 204
    assert (await world.services.ledger.read(letters.waiting)).letters == 0
