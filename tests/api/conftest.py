"""What several tests of the HTTP layer need."""

from collections.abc import Iterator

import pytest

from tests.eventstore.conftest import clock, keyring, ledger
from tests.logging_restored import restoring_logging

__all__ = ["clock", "keyring", "ledger"]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    with restoring_logging():
        yield
