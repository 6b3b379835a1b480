"""Random histories: what `token-state` says of a moment is what validation answered when the log stood there."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import account, client, client_secret, consent
from security.clock import format_rfc3339
from security.tokens import digest
from tests.any_command import any_command
from tests.explore import ONE_FIXTURE_FOR_ALL, examples
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.histories import Past, lived, rotate
from tests.scenarios.world import ENABLES_CLIENT, ENABLES_PERSON, SYSTEM, Client, World

pytestmark = pytest.mark.anyio

COMPARED = 40
"""Answers of one history that are compared, chosen at random."""


@pytest.fixture
def settings_given() -> dict[str, Any]:
    """A grace, since it is the only state that a token comes back from; and nothing is pruned while the test looks."""
    return {"refresh_grace": 30, "prune_interval": 3_600}


class Seen(NamedTuple):
    """What was answered about a token, and where the log and the clock stood then."""

    raw: str
    position: int
    at: str
    reason: str


class History:
    """One person and one shop to whom things happen; after each, every token that there ever was is looked at."""

    def __init__(self, past: Past, observer: httpx.AsyncClient, chance: Random) -> None:
        self.past = past
        self.observer = observer
        self.chance = chance
        self.raw = [past.code, past.tokens["access_token"], past.tokens["refresh_token"]]
        self.seen: list[Seen] = []

    @property
    def world(self) -> World:
        return self.past.world

    @property
    def scene(self) -> Scene:
        return self.past.scene

    async def look(self) -> None:
        """Asks about every token, by introspection too where that shows it."""
        ledger = self.world.services.ledger
        position, at = await self.world.head(), format_rfc3339(self.world.clock.now())
        for raw in self.raw:
            known = await ledger.validation.find(digest(raw))
            reason = "unknown" if known is None else known.reason(ledger.clock.now())
            if raw.startswith("glog_at_"):
                answer = ok(await self.observer.post("/oauth/introspect", data={"token": raw}))
                assert answer["active"] is (reason == "active")
            self.seen.append(Seen(raw, position, at, reason))

    async def tell(self, stream: str, verb: Any, **facts: Any) -> None:
        """A command, whether it is accepted or not."""
        await self.world.services.ledger.execute(any_command(stream, verb, facts), origin=SYSTEM)

    async def tell_client(self, verb: Any, **facts: Any) -> None:
        await self.tell(client.stream(self.scene.shop.client_id), verb, **facts)

    async def tell_person(self, verb: Any, **facts: Any) -> None:
        await self.tell(account.stream(self.scene.person.account_id), verb, **facts)

    async def refresh(self, *, newest: bool) -> None:
        mine = [raw for raw in self.raw if raw.startswith("glog_rt_")]
        self.keep(await self.past.refresh(mine[-1] if newest else self.chance.choice(mine)))

    async def approve(self) -> None:
        """Another grant, if everybody can still act."""
        ledger = self.world.services.ledger
        shop: client.State = await ledger.state(client.stream(self.scene.shop.client_id))
        person: account.State = await ledger.state(account.stream(self.scene.person.account_id))
        if shop.enabled and person.enabled:
            again = await lived(self.scene)
            self.raw.append(again.code)
            self.keep(again.tokens)

    def keep(self, tokens: Mapping[str, Any]) -> None:
        self.raw += [tokens[name] for name in ("access_token", "refresh_token") if name in tokens]

    async def revoke(self) -> None:
        data = {"token": self.chance.choice(self.raw)}
        await self.world.client.post("/oauth/revoke", data=data, auth=self.scene.shop.auth)

    async def new_secret(self) -> None:
        secret, _ = await rotate(self.world, self.scene.shop)
        shop = Client(self.scene.shop.client_id, secret.reveal(), self.scene.shop.redirect_uri)
        self.past.scene = replace(self.scene, shop=shop)

    async def end_secret(self) -> None:
        """An older version, with its tokens or without."""
        state: client.State = await self.world.services.ledger.state(client.stream(self.scene.shop.client_id))
        if len(state.secrets) > 1:
            version = self.chance.choice(state.secrets[:-1])
            tokens = self.chance.choice(("keep", "revoke"))
            await self.tell_client(client_secret.revoke, secret_id=version.secret_id, tokens=tokens)

    async def change_password(self) -> None:
        encoded = await self.world.services.hasher.hash(self.scene.person.password)
        except_grant = self.chance.choice([None, *await self._acting()])
        facts = {"password_hash": encoded, "except_grant": except_grant, "role_scopes": {}, "caller_scope": frozenset()}
        await self.tell_person(account.change_password, **facts)

    async def _acting(self) -> list[str]:
        """The newest grant with which somebody could act now: no other one can be spared by a change of password."""
        ledger = self.world.services.ledger
        found = [await ledger.validation.find(digest(raw)) for raw in self.raw]
        alive = [
            known.grant_id
            for known in found
            if known is not None and known.terms.kind == "access" and known.reason(ledger.clock.now()) == "active"
        ]
        return alive[-1:]

    async def withdraw(self) -> None:
        stream = consent.stream(self.scene.person.account_id, self.scene.shop.client_id)
        await self.tell(stream, consent.withdraw)


STEPS: dict[str, Callable[[History], Awaitable[None]]] = {
    "refresh with the newest": lambda history: history.refresh(newest=True),
    "refresh with any": lambda history: history.refresh(newest=False),
    "approve": lambda history: history.approve(),
    "revoke": lambda history: history.revoke(),
    "disable the client": lambda history: history.tell_client(client.disable),
    "enable the client": lambda history: history.tell_client(client.enable, **ENABLES_CLIENT),
    "make a secret": lambda history: history.new_secret(),
    "end a secret": lambda history: history.end_secret(),
    "disable the person": lambda history: history.tell_person(account.disable, leaves_no_administrator=False),
    "enable the person": lambda history: history.tell_person(account.enable, **ENABLES_PERSON),
    "change the password": lambda history: history.change_password(),
    "withdraw the consent": lambda history: history.withdraw(),
}
RARE: dict[str, Callable[[History], Awaitable[None]]] = {
    "delete the client": lambda history: history.tell_client(client.delete),
    "erase the person": lambda history: history.tell_person(account.erase, leaves_no_administrator=False),
}
WAITS = (0, 0.000001, 5, 31, 599, 700)


@settings(max_examples=examples(4, 8), suppress_health_check=ONE_FIXTURE_FOR_ALL)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=4, max_size=10),
    last=st.sampled_from([None, *sorted(RARE)]),
    waits=st.lists(st.sampled_from(WAITS), min_size=11, max_size=11),
    # A seed and no `st.randoms`: nothing can be drawn in the middle of a coroutine.
    seed=st.integers(0, 2**32),
)
async def test_the_past_is_judged_as_it_was_then(
    world: World, steps: list[str], last: str | None, waits: list[float], seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - what happens next, not a secret
    await world.define_role("platform", "member", "orders", "catalog:read", default=True)
    name = f"person-{await world.head()}"
    scene = Scene(world, await world.register_person(name), await world.register_client())
    observer = await world.register_client("Observer", grant_types=("client_credentials",), scope=("introspect",))
    looking = world.caller(auth=observer.auth)
    history = History(await lived(scene), looking, chance)
    await history.look()
    for step, wait in zip([*steps, *([last] if last else [])], waits, strict=False):
        await (STEPS | RARE)[step](history)
        await history.look()
        world.clock.advance(wait)
        await history.look()
    asking = await administering(world, "audit:read")
    for seen in chance.sample(history.seen, min(COMPARED, len(history.seen))):
        question = {"token": seen.raw, "position": seen.position, "at": seen.at}
        told = ok(await asking.post("/audit/token-state", json=question))
        assert (told["reason"], told["active"]) == (seen.reason, seen.reason == "active"), seen
        assert told["as_of_position"] == seen.position
        assert told["decided_by"]
        assert all(position <= seen.position for position in told["decided_by"])
