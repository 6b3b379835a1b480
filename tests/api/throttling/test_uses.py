"""Uses of client secrets, while the ledger takes some of them and refuses others."""

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import OperationalError

from api.throttling.windowed_counter import SecretUses
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder
from eventstore.stored import events
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from tests.eventstore.conftest import commits_of_which_nobody_knows, refuse_the_third

pytestmark = pytest.mark.anyio

SECRETS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def uses(ledger: Ledger) -> SecretUses:
    """Five secrets were used, each once."""
    made = SecretUses(ledger, 60, 600)
    for secret_id in SECRETS:
        made.note("client", secret_id, "introspection", Origin(ip="192.0.2.1"))
    return made


async def told(ledger: Ledger) -> list[str]:
    """The secrets of which the log tells, once for each fact."""
    streams = await ledger.read(lambda connection: connection.execute(select(events.c.originator_id)).scalars().all())
    return sorted(each.removeprefix("usage:") for each in streams)


async def test_uses_accepted_before_the_ledger_filled_are_told_once(
    ledger: Ledger, uses: SecretUses, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_the_third(ledger, monkeypatch)
    with pytest.raises(LedgerOverloaded):
        await uses.record()
    assert await told(ledger) == SECRETS[:2]
    await uses.record()
    assert await told(ledger) == SECRETS


async def test_of_several_transactions_only_the_lost_is_told_again(
    ledger: Ledger, uses: SecretUses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away for one transaction, and again for one of those that take its place."""
    real, committed = LogRecorder.commit, []

    def commit(self: LogRecorder, connection: Connection) -> None:
        committed.append(connection)
        if len(committed) in (1, 3):
            raise OperationalError("COMMIT", None, ConnectionResetError())
        real(self, connection)

    monkeypatch.setattr(LogRecorder, "commit", commit)
    with pytest.raises(DatabaseAway):
        await uses.record()
    assert 0 < len(await told(ledger)) < len(SECRETS)
    await uses.record()
    assert await told(ledger) == SECRETS


async def test_what_may_have_been_committed_is_not_told_again(ledger: Ledger, uses: SecretUses) -> None:
    with commits_of_which_nobody_knows(), pytest.raises(DatabaseAway):
        await uses.record()
    await uses.record()
    assert await told(ledger) == SECRETS
