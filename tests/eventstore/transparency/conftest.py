from collections.abc import Iterator

import pytest

from tests.verifier.published_log import PublishedLog


@pytest.fixture
def log(empty_database_url: str) -> Iterator[PublishedLog]:
    """An empty log, once on SQLite and once on PostgreSQL."""
    made = PublishedLog(empty_database_url)
    yield made
    made.engine.dispose()
