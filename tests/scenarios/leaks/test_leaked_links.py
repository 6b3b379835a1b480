"""Links that were mailed to people leak like any secret: they are named, and ended before anybody follows them."""

from collections.abc import Sequence
from hashlib import sha256

import httpx
import pytest

from api.languages import Words
from api.pages import recover
from api.services import Services
from domain.people.mailed import RECOVERY_LASTS
from tests.scenarios.account.test_recovery import SECRET, mailed, set_password, signs_in
from tests.scenarios.account.test_self_registration import link_to
from tests.scenarios.administration import administering, ok
from tests.scenarios.world import PASSWORD, Person, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


@pytest.fixture
async def paul(world: World) -> Person:
    return await world.register_person("paul")


def secret_of(link: str) -> str:
    found = SECRET.search(link)
    assert found is not None
    return found[0]


async def test_leaked_link_is_named_and_ended(admin: httpx.AsyncClient, world: World, paul: Person) -> None:
    letter = await mailed(world, paul.email)
    text = f"GET {letter.link} HTTP/1.1"
    found = ok(await admin.post("/leaks/investigate", json={"secret": text}))
    assert (found["kind"], found["state"], found["account_id"]) == ("password_reset", "active", paul.account_id)
    assert found["link"] == {"purpose": "recovery", "realm": "platform"}
    assert found["issued_at"] < found["expires_at"]
    assert found["first_used_at"] is None
    would = {"secrets_ended": 1, "grants_ended": 0, "tokens_ended": 0, "people_affected": 1}
    assert found["containment"] == would
    tried = ok(await admin.post("/leaks/contain", json={"secret": text, "dry_run": True}))
    assert tried["contained"] == would
    assert (await world.browser().open(letter.link)).status == 200
    before = await world.head()
    done = ok(await admin.post("/leaks/contain", json={"secret": text}))
    assert done["contained"] == would
    assert done["items"][0]["account_id"] == paul.account_id
    assert (await set_password_status(world, letter.link)) == 404
    assert not SECRET.search(str(await world.events(after=before)))
    found = ok(await admin.post("/leaks/investigate", json={"secret": text}))
    assert (found["state"], found["containment"]["secrets_ended"]) == ("revoked", 0)
    again = ok(await admin.post("/leaks/contain", json={"sha256": found["sha256"]}))
    assert (again["incident_id"], again["contained"]["secrets_ended"]) == (done["incident_id"], 0)


async def set_password_status(world: World, link: str) -> int:
    return (await world.browser().open(link)).status


async def test_link_that_is_ended_while_it_is_followed(
    admin: httpx.AsyncClient, world: World, paul: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter, problem_of = await mailed(world, paul.email), recover.password_problem

    async def contained_first(services: Services, names: Sequence[str | None], password: str) -> Words | None:
        assert ok(await admin.post("/leaks/contain", json={"secret": letter.link}))["contained"]["secrets_ended"] == 1
        return await problem_of(services, names, password)

    monkeypatch.setattr(recover, "password_problem", contained_first)
    assert (await set_password(world, letter.link)).status == 404
    assert await world.events("account.password_changed") == ()
    assert await signs_in(world, paul, PASSWORD)


async def test_who_followed_a_leaked_link_is_told(admin: httpx.AsyncClient, world: World, paul: Person) -> None:
    letter = await mailed(world, paul.email)
    assert (await set_password(world, letter.link)).status == 200
    digest = sha256(secret_of(letter.link).encode()).hexdigest()
    found = ok(await admin.post("/leaks/investigate", json={"sha256": digest}))
    assert (found["kind"], found["state"], found["account_id"]) == ("password_reset", "redeemed", paul.account_id)
    assert found["first_used_at"] == found["last_used_at"] >= found["issued_at"]
    assert [(each["count"], each["ip"]) for each in found["addresses"]] == [(1, "192.0.2.7")]


async def test_link_by_which_nobody_has_registered_yet(admin: httpx.AsyncClient, world: World) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    ok(await admin.put("/admin/realms/platform", json={"registration": "open"}))
    link = await link_to(world)
    found = ok(await admin.post("/leaks/investigate", json={"secret": link}))
    assert (found["kind"], found["state"], found["account_id"]) == ("email_confirmation", "active", None)
    done = ok(await admin.post("/leaks/contain", json={"secret": link}))
    assert done["contained"] == found["containment"]
    assert (done["contained"]["secrets_ended"], done["contained"]["people_affected"]) == (1, 0)
    (incident,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert (incident["state"], incident["account_id"]) == ("contained", None)
    assert (await world.browser().open(link)).status == 404


async def test_link_that_nobody_used_is_over_by_itself(admin: httpx.AsyncClient, world: World, paul: Person) -> None:
    former = await mailed(world, paul.email)
    newer = await mailed(world, paul.email)
    states = [await state_of(admin, each.link) for each in (former, newer)]
    assert states == ["revoked", "active"]
    world.clock.advance(RECOVERY_LASTS)
    assert await state_of(await administering(world), newer.link) == "expired"


async def state_of(admin: httpx.AsyncClient, link: str) -> str:
    found = ok(await admin.post("/leaks/investigate", json={"secret": link}))
    state: str = found["state"]
    return state
