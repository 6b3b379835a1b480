"""The same news as e-mail, taken by a real mail server."""

from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Taking

from api.notifications.delivering import DeliveryCounts, Notifier
from eventstore.ledger import Ledger
from projections import outbox
from security.clock import ManualClock
from tests.notifications.conftest import EVIDENCE, report
from tests.started import free_port

pytestmark = pytest.mark.anyio


class Mailbox(Taking):
    """Keeps the letters that it takes; it takes none for `nobody@…`, and none at all while it is `full`."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Message] = []
        self.full = False

    def handle_message(self, message: Message) -> None:
        self.letters.append(message)

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, ___: Any) -> str:
        if self.full:
            return "452 4.2.2 no room"
        if address.startswith("nobody@"):
            return "550 5.1.1 unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def mail_port(mailbox: Mailbox) -> Iterator[int]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


@pytest.fixture
def notifier(notifier_of: Callable[..., Notifier], mail_port: int) -> Callable[..., Notifier]:
    def made(**given: Any) -> Notifier:
        basic = {"mail_host": "127.0.0.1", "mail_port": mail_port, "mail_tls": "none"}
        people = {"mail_from": "grantlog@example.test", "mail_to": "ops@example.test,boss@example.test"}
        return notifier_of({}, **basic | people | given)

    return made


async def test_an_incident_comes_as_a_letter(
    ledger: Ledger, notifier: Callable[..., Notifier], mailbox: Mailbox
) -> None:
    tell = notifier()
    (position,) = await report(ledger)
    await tell.distribute()
    assert await tell.deliver("mail") == DeliveryCounts(1, 0)
    (letter,) = mailbox.letters
    assert letter["From"] == "grantlog@example.test"
    assert letter["To"] == "ops@example.test, boss@example.test"
    assert letter["Subject"] == f"Grantlog: incident.reported at position {position}"
    assert letter["Message-ID"].endswith("@example.test>")
    assert letter["Auto-Submitted"] == "auto-generated"
    text = letter.get_payload()
    assert "/console/incidents/" in text
    assert EVIDENCE not in text
    assert "192.0.2.7" not in text


async def test_a_server_that_takes_nothing_is_asked_again(
    ledger: Ledger, notifier: Callable[..., Notifier], mailbox: Mailbox, clock: ManualClock
) -> None:
    tell = notifier()
    mailbox.full = True
    await report(ledger)
    await tell.distribute()
    assert await tell.deliver("mail") == DeliveryCounts(0, 1)
    mailbox.full = False
    clock.advance(10)
    assert await tell.deliver("mail") == DeliveryCounts(1, 0)
    assert len(mailbox.letters) == 1


async def test_nobody_gets_it_twice_because_another_does_not_get_it(
    ledger: Ledger, notifier: Callable[..., Notifier], mailbox: Mailbox
) -> None:
    tell = notifier(mail_to="ops@example.test,nobody@example.test")
    await report(ledger)
    await tell.distribute()
    assert await tell.deliver("mail") == DeliveryCounts(0, 1)
    assert len(mailbox.letters) == 1
    (letter,) = await ledger.read(outbox.undelivered, dead_only=True, limit=10)
    assert letter.outcome == "the mail server refused a recipient"


async def test_nothing_is_sent_in_clear_unless_it_may_be(
    ledger: Ledger, notifier: Callable[..., Notifier], mailbox: Mailbox
) -> None:
    tell = notifier(mail_tls="starttls")
    await report(ledger)
    await tell.distribute()
    assert await tell.deliver("mail") == DeliveryCounts(0, 1)
    assert mailbox.letters == []
