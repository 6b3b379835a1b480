"""What clients register and manage themselves with, as secrets: found, told of, ended."""

import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.registering.test_registration import ASKED, PATH, bearer, refused, register
from tests.scenarios.registering.test_registration import settings_given as settings_given
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def test_its_token_is_found_and_ended(world: World) -> None:
    made = await register(world)
    token = made["registration_access_token"]
    admin = await administering(world)
    found = ok(await admin.post("/leaks/investigate", json={"secret": f"found: {token} in a log"}))
    assert (found["kind"], found["state"]) == ("registration_access_token", "active")
    assert (found["client_id"], found["client_name"]) == (made["client_id"], "Photo Prints")
    assert found["containment"]["secrets_ended"] == 1
    history = ok(await admin.post("/audit/token-history", json={"token": token}))
    assert history["kind"] == "registration_access_token"
    tried = ok(await admin.post("/leaks/contain", json={"secret": token, "dry_run": True}))
    assert tried["contained"]["secrets_ended"] == 1
    assert ok(await admin.post("/leaks/contain", json={"secret": token}))["contained"]["secrets_ended"] == 1
    refused(await world.client.get(made["registration_client_uri"], headers=bearer(token)), "invalid_token", 401)
    state = ok(await admin.post("/audit/token-state", json={"token": token, "at": "2026-01-01T00:00:00Z"}))
    assert state["kind"] == "registration_access_token"
    assert ok(await admin.post("/leaks/investigate", json={"secret": token}))["state"] == "revoked"
    # The client itself goes on.
    data = {"grant_type": "refresh_token", "refresh_token": "x"}
    answer = await world.client.post("/oauth/token", data=data, auth=(made["client_id"], made["client_secret"]))
    assert answer.status_code == 400


async def test_an_initial_token_is_found_and_ended(world: World) -> None:
    admin = await administering(world)
    made = ok(await admin.post("/admin/initial-access-tokens", json={"uses": None}), 201)
    token = made["initial_access_token"]
    found = ok(await admin.post("/leaks/investigate", json={"secret": token}))
    assert (found["kind"], found["state"], found["client_id"]) == ("initial_access_token", "active", None)
    ok(await world.client.post(PATH, json=ASKED, headers=bearer(token)), 201)
    contained = ok(await admin.post("/leaks/contain", json={"secret": token}))
    assert contained["contained"]["secrets_ended"] == 1
    refused(await world.client.post(PATH, json=ASKED, headers=bearer(token)), "invalid_token", 401)
    assert ok(await admin.post("/leaks/investigate", json={"secret": token}))["state"] == "revoked"
    history = ok(await admin.post("/audit/token-history", json={"token": token}))
    assert [each["type"] for each in history["events"]] == [
        *("initial_access_token.issued", "initial_access_token.used", "initial_access_token.revoked"),
        "initial_access_token.registration_refused",
    ]


async def test_whoever_holds_them_may_end_them(world: World) -> None:
    admin = await administering(world)
    initial = ok(await admin.post("/admin/initial-access-tokens", json={"uses": None}), 201)["initial_access_token"]
    made = await register(world)
    token = made["registration_access_token"]
    answer = await world.client.post("/credentials/revoke", json={"credentials": [initial, token]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "damaged": 0})
    for _ in range(200):
        states = [
            ok(await admin.post("/audit/token-state", json={"token": each}))["reason"] for each in (initial, token)
        ]
        if states == ["revoked", "revoked"]:
            break
    assert states == ["revoked", "revoked"]
