"""Tokens that are followed together become the very rows that they become one by one."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest

from domain import client_secret
from domain.decision import Outcome, accept
from domain.event import Actor, Event, Recorded
from domain.grant import CLIENT_CREDENTIALS, TokensIssued
from eventstore import search
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.personal_data import Unsealing
from eventstore.projecting.alike import apart
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing, Sightings
from eventstore.projecting.counting import EventCounting
from projections import event_index
from projections.named import runs
from projections.tables import metadata
from security.clock import ManualClock
from tests.any_command import any_command

pytestmark = pytest.mark.anyio

MONTH_S = 31 * 86_400


def origin(client_id: str, place: str = "192.0.2.1", agent: str | None = None, **credential: str) -> Origin:
    return Origin(Actor("client", client_id, credential or None), f"{client_id} asks", place, agent)


async def issue(ledger: Ledger, grants: Sequence[str], by: Origin, **members: Any) -> None:
    given = {"grant_type": CLIENT_CREDENTIALS, "client_id": by.actor.id, "scope": "read", "lifetime": 60}
    for grant_id in grants:
        token = {"access_token": sha256(f"{grant_id} {ledger.clock.now()}".encode()).hexdigest()}
        event = TokensIssued(**given | token | members)
        await ledger.execute(any_command(f"grant:{grant_id}", told, {"event": event}), origin=by)


def told(state: Any, now: int, event: Event) -> Outcome:
    return accept(event)


async def everything(ledger: Ledger, clock: ManualClock) -> int:
    """Tokens of two clients from several places, over a minute's and a month's end, with others between; how many of
    them are looked at together."""
    first, second = origin("a", secret_id="s"), origin("b", key_id="k")
    await issue(ledger, ["1", "2"], first, secret_id="s")
    await issue(ledger, ["3"], origin("a", "192.0.2.2", secret_id="s"), secret_id="s")
    await issue(ledger, ["4", "5"], second, dpop_jkt="bound")
    await issue(ledger, ["6"], second, refresh_token="11" * 32, refresh_lifetime=60, refresh_ends_in=60)
    used = client_secret.SecretExpiredUsed(
        secret_id="s", ended="expired", via="introspection", count=2, window_seconds=60
    )
    await ledger.execute(any_command("client:a", told, {"event": used}), origin=first)
    clock.advance(60)
    await issue(ledger, ["7", "8"], first, secret_id="s")
    clock.advance(MONTH_S)
    await issue(ledger, ["9"], first, secret_id="s")
    await issue(ledger, ["10"], origin("a", "192.0.2.1", "an agent", secret_id="s"), secret_id="s")
    await issue(ledger, ["11"], Origin(Actor("person", "p"), None, "192.0.2.1"), client_id="a", secret_id="s")
    await issue(ledger, ["1"], first, secret_id="s")
    return 9


def rows(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for name in ("event_positions", "sightings", "event_counts"):
        table = metadata.tables[name]
        found[name] = sorted(map(tuple, connection.execute(table.select())))
    found["event_positions"] = sorted(runs.apart(found["event_positions"]))
    return found


async def test_they_become_the_rows_of_each(
    ledger: Ledger, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = await everything(ledger, clock)
    told: list[int] = []

    def telling(connection: Any, recorded: Sequence[Recorded], unsealing: Unsealing) -> Any:
        others, alike = apart(connection, recorded, unsealing)
        told.append(sum(len(each.events) for each in alike))
        return others, alike

    monkeypatch.setattr("eventstore.projecting.catch_up.apart", telling)
    await CatchUpSubscription(ledger, EventIndexing(), Sightings(), EventCounting()).follow()
    live = await ledger.read(rows)
    assert told == [together]
    await ledger.maintain(empty)
    monkeypatch.setattr("eventstore.projecting.catch_up.apart", lambda c, recorded, unsealing: (recorded, ()))
    await CatchUpSubscription(ledger, EventIndexing(), Sightings(), EventCounting()).follow()
    assert live == await ledger.read(rows)
    assert all(live.values())


def empty(connection: Any) -> None:
    for name in ("event_positions", "sightings", "event_counts", event_index.FOLLOWERS.name):
        connection.execute(metadata.tables[name].delete())


async def test_those_of_the_database_are_as_alike(ledger: Ledger, clock: ManualClock) -> None:
    await everything(ledger, clock)
    unsealing = Unsealing(ledger.privacy)
    stored = await ledger.read(search.recorded_forms, range(1, ledger.changes.position + 1))
    own = ledger.recent.between(0, ledger.changes.position)
    assert own is not None
    assert await ledger.read(apart, stored, unsealing) == await ledger.read(apart, own, unsealing)
