"""What came of a secret, as it is counted, is what looking at every single token finds, over random histories."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import account, client, cut_off
from eventstore import deriving
from eventstore.past import position_at
from projections import blast_radius
from projections.blast_radius import Derived
from security.clock import SECOND
from security.tokens import digest
from tests.any_command import any_command
from tests.explore import ONE_FIXTURE_FOR_ALL
from tests.scenarios.administration import administering
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.test_audit_replay import STEPS, History
from tests.scenarios.world import ENABLES_CLIENT, ENABLES_PERSON, SYSTEM

pytestmark = pytest.mark.anyio

WAITS = (0, 1, 5, 31, 599, 700, 50_000)


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"refresh_grace": 30, "prune_interval": 3_600}


async def end_tokens(history: History) -> None:
    """A cut-off of the client, of one version or of the person: of everything, or since a moment."""
    ledger, chance = history.world.services.ledger, history.chance
    first, since = 0, None
    if chance.random() < 0.6:
        since = ledger.clock.now() - chance.choice((0, 5, 60, 700)) * SECOND
        first = await ledger.read(position_at, since - 1, await history.world.head()) + 1
    facts = {"first": first, "since_at": since}
    if chance.random() < 0.3:
        await history.tell_person(cut_off.end_account_tokens, **facts)
        return
    state: client.State = await ledger.state(client.stream(history.scene.shop.client_id))
    version = chance.choice([None, *(each.secret_id for each in state.secrets)])
    await history.tell_client(cut_off.end_client_tokens, secret_id=version, **facts)


ALL_STEPS: dict[str, Callable[[History], Awaitable[None]]] = {**STEPS, "end tokens": end_tokens}


class Alive:
    """What is alive by looking at every token that there ever was."""

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {"access": 0, "refresh": 0, "code": 0}
        self.people: set[str] = set()

    @classmethod
    async def of(cls, history: History, secret_id: str | None, since: int = 0) -> "Alive":
        found, ledger = cls(), history.world.services.ledger
        for raw in set(history.raw):
            known = await ledger.validation.find(digest(raw))
            if known is None or known.reason(ledger.clock.now()) != "active":
                continue
            if secret_id in (None, known.terms.secret_id) and known.issued_at >= since // SECOND * SECOND:
                found.kinds[known.terms.kind] += 1
                found.people.add(known.terms.account_id or "")
        return found


def counted(found: Derived) -> dict[str, int]:
    return {"access": found.access_tokens.live, "refresh": found.refresh_tokens.live, "code": found.codes.live}


async def compare(history: History) -> None:
    services = history.world.services
    await services.derived.follow()
    client_id, now = history.scene.shop.client_id, services.ledger.clock.now()
    state: client.State = await services.ledger.state(client.stream(client_id))
    person: account.State = await services.ledger.state(account.stream(history.scene.person.account_id))
    of_client = await services.ledger.read(blast_radius.of_client, client_id, now)
    # Since the beginning of time is everything, and is counted without the sums of days.
    assert await services.ledger.read(blast_radius.of_client, client_id, now, 0) == of_client
    alive = await Alive.of(history, None)
    assert counted(of_client) == alive.kinds
    assert of_client.people == len(alive.people)
    for ago in WAITS:
        since = now - ago * SECOND
        lately = await services.ledger.read(blast_radius.of_client, client_id, now, since)
        alive_since = await Alive.of(history, None, since)
        assert (counted(lately), lately.people) == (alive_since.kinds, len(alive_since.people))
    issued = {kind: sum(raw.startswith(f"glog_{kind}_") for raw in set(history.raw)) for kind in ("ac", "at", "rt")}
    assert of_client.codes.total == issued["ac"]
    assert (of_client.access_tokens.total, of_client.refresh_tokens.total) == (issued["at"], issued["rt"])
    together = 0
    for version in state.secrets:
        of_secret = await services.ledger.read(blast_radius.of_secret, client_id, version.secret_id, now)
        one = await Alive.of(history, version.secret_id)
        assert counted(of_secret) == one.kinds
        assert of_secret.people == len(one.people)
        # A cut-off since a moment ends a grant whose newest tokens it hits, though an older one may live on.
        if not state.windows and not person.windows:
            assert (of_secret.grants.live > 0) == (sum(one.kinds.values()) > 0)
        together += of_secret.access_tokens.total
    assert together == of_client.access_tokens.total


@pytest.mark.parametrize("whose", ["the client's", "a secret's", "the person's"])
@pytest.mark.parametrize("remembered", [True, False])
async def test_a_predecessor_goes_on_whose_successor_was_cut_off(
    scene: Scene, whose: str, remembered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor is dead already when it is replaced: it is not taken off a second time."""
    if not remembered:
        monkeypatch.setattr(deriving, "GRANTS_KEPT", 0)
    world, services = scene.world, scene.world.services
    history = History(await lived(scene), await administering(world), Random(0))  # noqa: S311 - no secret
    first = history.past.tokens["refresh_token"]
    history.keep(await history.past.refresh(first))
    await compare(history)
    since = services.ledger.clock.now()
    facts = {"first": await services.ledger.read(position_at, since - 1, await world.head()) + 1, "since_at": since}
    world.clock.advance(5)
    if whose == "the person's":
        await history.tell_person(cut_off.end_account_tokens, **facts)
    else:
        state: client.State = await services.ledger.state(client.stream(scene.shop.client_id))
        version = state.secrets[-1].secret_id if whose == "a secret's" else None
        await history.tell_client(cut_off.end_client_tokens, secret_id=version, **facts)
    await compare(history)
    for _ in range(2):
        history.keep(await history.past.refresh(first))
        await compare(history)
    # The one before, in its grace, and both that were handed out for it since: either may be the one that was kept.
    assert (await Alive.of(history, None)).kinds["refresh"] == 3
    world.clock.advance(31)
    await compare(history)


@settings(max_examples=12, suppress_health_check=ONE_FIXTURE_FOR_ALL)
@given(seed=st.integers(0, 2**32))
async def test_counts_are_what_every_token_says(scene: Scene, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - a reproducible history, no secret
    person = account.stream(scene.person.account_id)
    for stream, verb, facts in (
        (client.stream(scene.shop.client_id), client.enable, ENABLES_CLIENT),
        (person, account.enable, ENABLES_PERSON),
    ):
        await scene.world.services.ledger.execute(any_command(stream, verb, facts), origin=SYSTEM)
    fresh = await scene.world.register_client(f"Shop {seed}")
    mine = Scene(scene.world, scene.person, fresh)
    history = History(await lived(mine), await administering(scene.world), chance)
    for _ in range(12):
        scene.world.clock.advance(chance.choice(WAITS))
        await chance.choice(list(ALL_STEPS.values()))(history)
        await compare(history)
