"""What came of a secret, as it is counted, is what looking at every single token finds, over random histories."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain import account, client
from eventstore.affected import Counting, issued
from eventstore.time_travel import position_at
from eventstore.validation import Known
from eventstore.view import View
from projections.blast_radius import Alive, RadiusQuestion
from security.clock import SECOND
from security.tokens import digest
from tests.any_command import any_command
from tests.explore import ONE_FIXTURE_FOR_ALL, examples
from tests.scenarios.administration import administering
from tests.scenarios.asking import Scene
from tests.scenarios.audit.test_audit_replay import STEPS, History
from tests.scenarios.histories import lived
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
        await history.tell_person(account.end_tokens, **facts)
        return
    state: client.State = await ledger.state(client.stream(history.scene.shop.client_id))
    version = chance.choice([None, *(each.secret_id for each in state.secrets)])
    await history.tell_client(client.end_tokens, secret_id=version, **facts)


ALL_STEPS: dict[str, Callable[[History], Awaitable[None]]] = {**STEPS, "end tokens": end_tokens}


class Living:
    """What is alive by looking at every token that there ever was: all of it, or what came of a secret or lately."""

    def __init__(self, active: Sequence[Known], secret_id: str | None = None, since: int = 0) -> None:
        self.active = [
            known
            for known in active
            if secret_id in (None, known.terms.secret_id) and known.issued_at >= since // SECOND * SECOND
        ]
        self.kinds = {"access": 0, "refresh": 0, "code": 0} | Counter(each.terms.kind for each in self.active)
        self.grants = {each.grant_id for each in self.active}
        self.people = {each.terms.account_id or "" for each in self.active}

    @classmethod
    async def now(cls, history: History) -> "Living":
        ledger = history.world.services.ledger
        found = [await ledger.validation.find(digest(raw)) for raw in set(history.raw)]
        return cls([each for each in found if each is not None and each.reason(ledger.clock.now()) == "active"])


def kinds(found: Alive) -> dict[str, int]:
    return {"access": found.access_tokens, "refresh": found.refresh_tokens, "code": found.codes}


async def compare(history: History, counting: Counting | None = None) -> None:
    """Counts anew, and with `counting`, which has counted before, by what has happened since."""
    services = history.world.services
    await services.follower.follow()
    client_id, now = history.scene.shop.client_id, services.ledger.clock.now()
    state: client.State = await services.ledger.state(client.stream(client_id))

    async def alive(secret_ids: tuple[str, ...] | None, since: int | None = None) -> Alive:
        made = Counting(RadiusQuestion(client_id, secret_ids, since))
        await made.count(services.ledger)
        return made.alive

    of_client, every = await alive(None), await Living.now(history)
    assert kinds(of_client) == every.kinds
    assert (of_client.grants, of_client.people) == (len(every.grants), len(every.people))
    if counting is not None:
        assert await under_lock(history, counting) == of_client
    for ago in WAITS:
        since = now - ago * SECOND
        lately, living = await alive(None, since), Living(every.active, since=since)
        assert (kinds(lately), lately.people) == (living.kinds, len(living.people))
    ever = []
    for version in state.secrets:
        of_secret, one = await alive((version.secret_id,)), Living(every.active, version.secret_id)
        assert kinds(of_secret) == one.kinds
        assert (of_secret.grants, of_secret.people) == (len(one.grants), len(one.people))
        ever.append(await services.ledger.read_long(issued, version.secret_id))
    given = {kind: sum(raw.startswith(f"glog_{kind}_") for raw in set(history.raw)) for kind in ("at", "rt")}
    assert sum(each.access_tokens for each in ever) == given["at"]
    assert sum(each.refresh_tokens for each in ever) == given["rt"]


async def under_lock(history: History, counting: Counting) -> Alive:
    """What it says within a transaction that nobody else can write beside."""

    def look(view: View, _: object) -> Alive:
        return counting.look(view)

    return (await history.world.services.ledger.execute(origin=SYSTEM, then=look)).value  # type: ignore[return-value]


@pytest.mark.parametrize("whose", ["the client's", "a secret's", "the person's"])
async def test_a_predecessor_goes_on_whose_successor_was_cut_off(scene: Scene, whose: str) -> None:
    """The successor is dead already when it is replaced: it is not taken off a second time."""
    world, services = scene.world, scene.world.services
    history = History(await lived(scene), await administering(world), Random(0))  # noqa: S311 - no secret
    first = history.past.tokens["refresh_token"]
    history.keep(await history.past.refresh(first))
    await compare(history)
    since = services.ledger.clock.now()
    facts = {"first": await services.ledger.read(position_at, since - 1, await world.head()) + 1, "since_at": since}
    world.clock.advance(5)
    if whose == "the person's":
        await history.tell_person(account.end_tokens, **facts)
    else:
        state: client.State = await services.ledger.state(client.stream(scene.shop.client_id))
        version = state.secrets[-1].secret_id if whose == "a secret's" else None
        await history.tell_client(client.end_tokens, secret_id=version, **facts)
    await compare(history)
    for _ in range(2):
        history.keep(await history.past.refresh(first))
        await compare(history)
    # The one before, in its grace, and both that were handed out for it since: either may be the one that was kept.
    assert (await Living.now(history)).kinds["refresh"] == 3
    world.clock.advance(31)
    await compare(history)


@settings(max_examples=examples(3, 6), suppress_health_check=ONE_FIXTURE_FOR_ALL)
@example(seed=1_683_237_848)
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
    counting = Counting(RadiusQuestion(fresh.client_id))
    for _ in range(12):
        # What expires while it is counted need not be taken off, so it begins anew where time has passed.
        scene.world.clock.advance(waited := chance.choice(WAITS))
        if waited or chance.random() < 0.3:
            counting = Counting(RadiusQuestion(fresh.client_id))
            await counting.count(scene.world.services.ledger)
        await chance.choice(list(ALL_STEPS.values()))(history)
        await compare(history, counting)
