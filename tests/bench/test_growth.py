"""The made log is one that the server could have written: whoever checks logs finds nothing wrong with it."""

from typing import Any

import pytest
from sqlalchemy import select

from api.environment import load
from bench import growth
from bench.made import parties
from domain import grant
from eventstore import search
from eventstore.database.engines import reading
from eventstore.mapper import authenticate
from eventstore.repository import evolve, initial
from eventstore.stored import head
from projections import event_index, sightings, tokens
from projections.figures import event_counts
from security.keyring import new_master_key, parse_keyring
from security.vault import Vault
from tests.cli.conftest import ISSUER, CommandLine

COUNT = 2_000


@pytest.fixture(scope="module")
def grown(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A command line over a database with a made log, made in several batches."""
    key = new_master_key()
    environment = {
        "GRANTLOG_DATABASE_URL": module_database_url,
        "GRANTLOG_MASTER_KEY": key,
        "GRANTLOG_ISSUER": ISSUER,
        "GRANTLOG_DATA_DIR": str(tmp_path_factory.mktemp("grown")),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "BATCH", 700)
        patch.setattr(parties, "PEOPLE", 10)
        growth.grow(load(environment, dotenv=None), parse_keyring(key), COUNT)
    return CommandLine({**environment, "GRANTLOG_ENVIRONMENT": "production"}, module_database_url)


def test_a_made_log_is_accepted_by_all_who_check_logs(grown: CommandLine) -> None:
    assert grown.run("audit", "verify").stdout.startswith(f"VERIFIED: all {COUNT} events")
    compared = grown.json("projections", "verify")
    assert {each["differs_at"] for each in compared} == {None}
    engine = reading(grown.database_url, 1)
    try:
        with engine.connect() as connection:
            assert connection.scalar(select(head.c.position)) == COUNT
            followers = (event_index.NAME, event_counts.NAME, sightings.NAME)
            assert event_index.progress(connection) == dict.fromkeys(followers, COUNT)
            assert connection.scalar(select(tokens.TABLE.c.kind).where(tokens.TABLE.c.kind == "refresh").limit(1))
    finally:
        engine.dispose()


def test_every_stream_of_a_made_log_folds_and_every_kind_occurs(grown: CommandLine) -> None:
    states: dict[str, Any] = {}
    seen: set[str] = set()
    engine = reading(grown.database_url, 1)
    key = grown.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    authenticate(engine, Vault(parse_keyring(key)))
    try:
        with engine.connect() as connection:
            told = search.recorded_forms(connection, range(1, COUNT + 1))
    finally:
        engine.dispose()
    for recorded in told:
        seen.add(recorded.type)
        stream = recorded.stream
        folded, version = states.get(stream, (initial(stream), 0))
        assert recorded.version == version + 1
        states[stream] = (evolve(stream, folded, recorded), recorded.version)
    wanted = {"grant.code_issued", "grant.code_redeemed", "grant.tokens_refreshed", "grant.token_revoked"}
    assert seen >= wanted | {"grant.tokens_issued", "usage.token_first_seen", "consent.given"}
    refreshable = [state for state, _ in states.values() if isinstance(state, grant.State) and state.refresh]
    assert all(state.code.redeemed for state in refreshable)
