"""A ledger over each of the two databases, with a clock that stands still."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from commands import clients
from commands.permissions import operator
from domain import client
from domain.client import Registration
from domain.client_secret import NewSecret
from domain.decision import Outcome
from eventstore.appending import aftermath
from eventstore.command import Command
from eventstore.database import threads
from eventstore.execution import Origin, PendingRequest
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder
from eventstore.unavailable import LedgerOverloaded
from security.clock import ManualClock
from security.keyring import Keyring, new_master_key, parse_keyring
from tests.started import PATIENCE

threads.ANSWERS_WITHIN = PATIENCE
"""On a busy machine a long transaction may take longer than callers wait, which `test_patience.py` is about."""

HERE = Origin(request_id="request-1", ip="192.0.2.7", user_agent="a browser")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return parse_keyring(new_master_key())


@pytest.fixture
async def ledger(database_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(database_url, keyring, clock)
    yield opened
    await opened.close()


def register(client_id: str, owner: str | None = None) -> Command[client.State]:
    """A command that registers a client which needs nothing else to exist."""
    attributes = client.Attributes(client_name="A client", grant_types=("client_credentials",))
    secret = NewSecret(f"secret-{client_id}", sha256(client_id.encode()).hexdigest())
    registration = Registration(attributes=attributes, owner=owner, secret=secret)
    return clients.register(client_id, registration, issuer="https://issuer.example", by=operator)


def disable(client_id: str) -> Command[client.State]:
    return clients.disable(client_id)


def enable(client_id: str) -> Command[client.State]:
    return clients.enable(client_id, by=operator)


def broken(*_: object, **__: object) -> Outcome:
    """A verb with a bug in it."""
    raise ZeroDivisionError


@contextmanager
def commits_of_which_nobody_knows() -> Iterator[None]:
    """Meanwhile the database commits, goes before it says so, and cannot be asked about it."""

    def commit(self: LogRecorder, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.commit()
        raise OperationalError("COMMIT", None, ConnectionResetError())

    def is_stored(*_: object) -> bool:
        raise OperationalError("SELECT", None, ConnectionResetError())

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(LogRecorder, "commit", commit)
        broken.setattr(aftermath, "is_stored", is_stored)
        yield


def refuse_the_third(ledger: Ledger, patch: pytest.MonkeyPatch) -> None:
    """Of what the ledger is given from now on it has no room for the third, and has it again for what comes later."""
    real, submitted = ledger._committer.submit, []

    def submit(request: PendingRequest) -> None:
        submitted.append(request)
        if len(submitted) == 3:
            raise LedgerOverloaded
        real(request)

    patch.setattr(ledger._committer, "submit", submit)
