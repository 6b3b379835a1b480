"""What several tests of the HTTP layer need."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from eventstore.ledger import Ledger
from security.clock import ManualClock
from security.keyring import new_master_key, parse_keyring


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def ledger(database_url: str, clock: ManualClock) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(database_url, parse_keyring(new_master_key()), clock)
    yield opened
    await opened.close()


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Lets a test configure logging, which is the whole process's, and puts back what was there."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
