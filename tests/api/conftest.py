"""What several tests of the HTTP layer need."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.eventstore.conftest import clock, keyring, ledger

__all__ = ["clock", "keyring", "ledger"]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Lets a test configure logging, which is the whole process's, and puts back what was there."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
