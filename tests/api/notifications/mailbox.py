"""A mail server that keeps what it takes, for one test."""

from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Taking

from tests.started import free_port


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
