"""That a client was refused its registration is a fact too, which grows the log no faster than anybody may make it."""

import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.registering.test_registration import ASKED, PATH, bearer, refused, register
from tests.scenarios.registering.test_registration import settings_given as settings_given
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

TOKENS = "/admin/initial-access-tokens"


async def test_strangers_refusals_are_told_and_then_counted(world: World) -> None:
    before = await world.head()
    for name in ("Jane Doe's", "John's", "Joan's"):
        refused(
            await world.client.post(PATH, json={"client_name": name, "redirect_uris": ["http://x.example"]}),
            "invalid_redirect_uri",
        )
    refused(await world.client.post(PATH, json=ASKED | {"grant_types": ["password"]}))
    refused(await world.client.post(PATH, json=ASKED, headers=bearer("glog_ia_x")), "invalid_token", 401)
    told = await world.events(after=before)
    assert {each.type for each in told} == {"server.registrations_refused"}
    assert [(each.event.reason, each.event.count, each.actor.kind) for each in told] == [
        ("invalid_redirect_uri", 1, "anonymous"),
        ("invalid_client_metadata", 1, "anonymous"),
        ("invalid_token", 1, "anonymous"),
    ]
    assert "Jane" not in str(told)
    world.clock.advance(3_600)
    await world.services.repeated_facts.close_elapsed()
    *_, more = await world.events("server.registrations_refused")
    assert (more.event.reason, more.event.count) == ("invalid_redirect_uri", 2)
    assert (await world.services.ledger.state("server")).registrations_refused == 5


async def test_refusals_by_an_initial_token_name_the_members(world: World) -> None:
    admin = await administering(world)
    made = ok(await admin.post(TOKENS, json={"uses": 1}), 201)
    headers = bearer(made["initial_access_token"])
    refused(await world.client.post(PATH, json=ASKED | {"client_name": 7}, headers=headers))
    refused(await world.client.post(PATH, json={"client_name": "x"}, headers=headers), "invalid_redirect_uri")
    ok(await world.client.post(PATH, json=ASKED, headers=headers), 201)
    refused(await world.client.post(PATH, json=ASKED, headers=headers), "invalid_token", 401)
    told = [
        (each.event.reason, each.event.members)
        for each in await world.events("initial_access_token.registration_refused")
    ]
    assert told == [
        ("invalid_client_metadata", ("client_name",)),
        ("invalid_redirect_uri", ("redirect_uris",)),
        ("redeemed", ()),
    ]
    (first, *_) = await world.events("initial_access_token.registration_refused")
    assert first.actor.credential == {"initial_access_token_id": made["id"]}
    # What decides that it is over is the use, and no refusal after it.
    state = ok(await admin.post("/audit/token-state", json={"token": made["initial_access_token"]}))
    (used,) = await world.events("initial_access_token.used")
    assert (state["reason"], state["decided_by"]) == ("redeemed", [used.position])
    shown = ok(await admin.get(f"/audit/events/{first.position}"))
    assert shown["meaning"].startswith("Nothing was registered with the token, once from one address, for this")


async def test_a_refused_change_of_itself_is_a_fact(world: World) -> None:
    made = await register(world)
    headers = bearer(made["registration_access_token"])
    body = ASKED | {"client_id": made["client_id"], "redirect_uris": ["http://prints.example/"]}
    refused(await world.client.put(made["registration_client_uri"], json=body, headers=headers), "invalid_redirect_uri")
    (told,) = await world.events("client.registration_change_refused")
    assert (told.event.reason, told.event.members, told.actor.id) == (
        "invalid_redirect_uri",
        ("redirect_uris",),
        made["client_id"],
    )
    # Each further one that is refused, whatever is wrong with it, is one of a count.
    for member in ("client_name", "scope", "jwks_uri", "grant_types", "resources"):
        refused(await world.client.put(made["registration_client_uri"], json=body | {member: 7}, headers=headers))
    world.clock.advance(3_600)
    await world.services.repeated_facts.close_elapsed()
    _, *more = await world.events("client.registration_change_refused")
    assert [(each.event.reason, each.event.members, each.event.count) for each in more] == [
        ("invalid_client_metadata", ("client_name",), 1),
        ("invalid_client_metadata", (), 4),
    ]
    assert (
        ok(await world.client.get(made["registration_client_uri"], headers=headers))["client_id"] == made["client_id"]
    )
