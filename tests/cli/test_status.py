"""`grantlog status` tells where an installation stands, and by its exit code whether anything is wrong."""

import pytest

from eventstore.database.engines import migrating
from eventstore.projecting.rebuild import note
from tests.cli.conftest import CommandLine
from tests.databases import BACKENDS


def test_it_tells_of_the_log_and_of_what_waits(cli: CommandLine) -> None:
    cli.json("dashboard", "list")
    found = cli.json("status")
    assert found["position"] == len(cli.events()) > 0
    assert found["lag"]["event_index"] == found["position"]
    assert (found["incidents_open"], found["secrets_expiring"], found["outbox_dead"]) == (0, 0, 0)
    assert (found["checkpoint"], found["wrong"]) == (None, [])
    shown = cli.run("status").stdout
    assert "incidents_open" in shown
    assert f"event_index {found['position']}, " in shown


@pytest.mark.parametrize(
    ("lent_database_url", "empty_database_url"), [(each, each) for each in BACKENDS], ids=BACKENDS, indirect=True
)
def test_it_says_what_is_wrong(cli: CommandLine, empty_database_url: str) -> None:
    cli.json("dashboard", "list")
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        note(connection, "clients")
    engine.dispose()
    (wrong,) = cli.json("status", exits=3)["wrong"]
    assert "clients" in wrong
    empty = CommandLine({**cli.environment, "GRANTLOG_DATABASE_URL": empty_database_url}, empty_database_url)
    assert "database upgrade" in empty.json("status", exits=3)["wrong"][0]
