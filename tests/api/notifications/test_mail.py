"""The same news as e-mail, taken by a real mail server."""

from collections.abc import Callable
from typing import Any

import pytest

from api.notifications.delivering import DeliveryCounts, Notifier
from eventstore.ledger import Ledger
from projections import outbox
from security.clock import ManualClock
from tests.api.notifications.conftest import EVIDENCE, report
from tests.api.notifications.mailbox import Mailbox
from tests.api.notifications.mailbox import mail_port as mail_port
from tests.api.notifications.mailbox import mailbox as mailbox

pytestmark = pytest.mark.anyio


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
