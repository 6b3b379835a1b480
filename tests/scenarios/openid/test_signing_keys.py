"""The keys that sign tokens: there from the start, published before use, and changed for every worker alike."""

import pytest

from commands import signing_keys
from domain.keys import signing_key
from domain.keys.signing_key import ALGORITHMS, TOKENS_LAST
from security.jose import PrivateKey
from security.keyring import Keyring
from tests.scenarios.administration import ok
from tests.scenarios.world import SYSTEM, World, open_world

DAY = 86_400
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}


async def published(world: World) -> dict[str, str]:
    """Algorithms of the published keys by id."""
    answer = await world.client.get("/.well-known/jwks.json")
    keys = ok(answer)["keys"]
    for key in keys:
        assert key["use"] == "sig"
        assert not PRIVATE & key.keys()
    found = {key["kid"]: key["alg"] for key in keys}
    assert len(found) == len(keys)
    return found


async def passing(world: World, seconds: int) -> None:
    """So much time, and what the server does by itself every minute."""
    world.clock.advance(seconds)
    await signing_keys.settle(world.services.ledger, SYSTEM)


async def rotate(world: World, **body: bool) -> dict[str, str]:
    """The states of the keys after a rotation, by id."""
    bearer = {"authorization": f"Bearer {await world.token('keys:write')}"}
    answer = await world.client.post("/admin/keys/rotate", json=body, headers=bearer)
    return {key["kid"]: key["state"] for key in ok(answer)["items"]}


async def test_server_that_starts_has_a_key_of_each_algorithm(world: World) -> None:
    assert sorted((await published(world)).values()) == sorted(ALGORITHMS)
    told = [each.type for each in await world.events("signing_key.*")]
    assert told == ["signing_key.introduced", "signing_key.activated"] * len(ALGORITHMS)


async def test_keys_are_public_and_may_be_kept_for_a_while(world: World) -> None:
    answer = await world.client.get("/.well-known/jwks.json", headers={"origin": "https://anybody.example"})
    assert answer.headers["cache-control"] == "public, max-age=900"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"].startswith("application/json")


async def test_next_key_is_published_a_day_before_it_is_used(world: World) -> None:
    before = await published(world)
    states = await rotate(world)
    assert sorted(states.values()) == ["active"] * 4 + ["introduced"] * 4
    assert (await published(world)).keys() == states.keys()
    await passing(world, DAY - 10)
    assert len(await world.events("signing_key.activated")) == len(ALGORITHMS)
    await passing(world, 20)
    bearer = {"authorization": f"Bearer {await world.token('keys:write')}"}
    listed = ok(await world.client.get("/admin/keys", headers=bearer))["items"]
    assert {key["kid"] for key in listed if key["state"] == "superseded"} == before.keys()
    assert {key["kid"] for key in listed if key["state"] == "active"} == states.keys() - before.keys()
    assert (await published(world)).keys() == states.keys()
    await passing(world, TOKENS_LAST)
    assert (await published(world)).keys() == states.keys() - before.keys()
    retired = await world.events("signing_key.retired")
    assert {each.event.key_id for each in retired} == before.keys()


async def test_private_half_ends_with_its_key(world: World) -> None:
    ledger, before = world.services.ledger, await published(world)
    kept = await ledger.read(ledger.vault.secrets_like, "signing_key:")
    assert {name.partition(":")[2] for name in kept} == before.keys()
    assert all(PrivateKey(each.value).key_id in before for each in kept.values())
    states = await rotate(world, compromised=True)
    kept = await ledger.read(ledger.vault.secrets_like, "signing_key:")
    assert {name.partition(":")[2] for name in kept} == states.keys() - before.keys()


async def test_compromised_keys_are_published_no_longer(world: World) -> None:
    before = await published(world)
    states = await rotate(world, compromised=True)
    assert {kid for kid, state in states.items() if state == "revoked"} == before.keys()
    assert {kid for kid, state in states.items() if state == "active"} == (await published(world)).keys()
    revoked = await world.events("signing_key.revoked")
    assert {each.event.key_id for each in revoked} == before.keys()
    assert {each.actor.kind for each in revoked} == {"client"}


async def test_second_rotation_waits_for_the_first(world: World) -> None:
    await rotate(world)
    bearer = {"authorization": f"Bearer {await world.token('keys:write')}"}
    answer = await world.client.post("/admin/keys/rotate", headers=bearer)
    assert answer.status_code == 409


async def test_repeated_rotation_is_answered_as_the_first(world: World) -> None:
    headers = {"authorization": f"Bearer {await world.token('keys:write')}", "idempotency-key": "once"}
    first = ok(await world.client.post("/admin/keys/rotate", headers=headers))
    head = await world.head()
    assert ok(await world.client.post("/admin/keys/rotate", headers=headers)) == first
    assert await world.head() == head


async def test_another_node_knows_of_a_rotation_at_once(
    world: World, tmp_path_factory: pytest.TempPathFactory, keyring: Keyring
) -> None:
    directory = tmp_path_factory.mktemp("other")
    async with open_world(world.settings.database_url, directory, keyring, world.clock) as other:
        assert await published(other) == await published(world)
        await rotate(world, compromised=True)
        assert await published(other) == await published(world)
        (key_id, *_) = await published(world)
        assert (await other.services.private_keys.ready(key_id)).key_id == key_id
        assert len(await other.events("signing_key.introduced")) == 2 * len(ALGORITHMS)


async def test_a_key_that_is_revoked_meanwhile_is_replaced(world: World) -> None:
    keys, ledger = world.services.private_keys, world.services.ledger
    before: signing_key.State = await ledger.state(signing_key.STREAM)
    await rotate(world, compromised=True)
    after: signing_key.State = await ledger.state(signing_key.STREAM)
    for algorithm in ALGORITHMS:
        found = await keys.signing(before.active[algorithm])
        assert (found.key_id, found.algorithm) == (after.active[algorithm], algorithm)


async def test_a_former_key_signs_what_it_was_chosen_for(world: World) -> None:
    keys, ledger = world.services.private_keys, world.services.ledger
    before: signing_key.State = await ledger.state(signing_key.STREAM)
    await rotate(world)
    world.clock.advance(world.settings.signing_key_lead)
    await signing_keys.settle(ledger, SYSTEM)
    after: signing_key.State = await ledger.state(signing_key.STREAM)
    key_id = before.active["RS256"]
    assert after.active["RS256"] != key_id
    assert (await keys.signing(key_id)).key_id == key_id


class TestInAFlood:
    @pytest.fixture
    def settings_given(self) -> dict[str, int]:
        return {"public_burst": 3, "public_rate": 1}

    async def test_keys_have_a_limit_of_their_own(self, world: World) -> None:
        for _ in range(4):
            await world.client.get("/log/vkey")
        answers = [(await world.client.get("/.well-known/jwks.json")).status_code for _ in range(4)]
        assert answers == [200, 200, 200, 429]
        assert (await world.caller("198.51.100.1").get("/.well-known/jwks.json")).status_code == 200


class TestWithoutLead:
    @pytest.fixture
    def settings_given(self) -> dict[str, int]:
        return {"signing_key_lead": 0}

    async def test_next_key_signs_at_once(self, world: World) -> None:
        before = await published(world)
        states = await rotate(world)
        assert {kid for kid, state in states.items() if state == "superseded"} == before.keys()
        answer = await world.client.get("/.well-known/jwks.json")
        assert answer.headers["cache-control"] == "public, max-age=0"
