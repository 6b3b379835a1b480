"""Secrets are investigated and contained by any text that holds them, several at once too."""

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx
import pytest

from security.clock import format_rfc3339
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived, rotate
from tests.scenarios.jobs import token
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


def digest(raw: str | None) -> str:
    return sha256((raw or "").encode()).hexdigest()


def mistyped(raw: str) -> str:
    return raw[:-1] + ("0" if raw[-1] != "0" else "1")


async def test_a_text_is_investigated_whatever_surrounds_its_secrets(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    access = ok(await token(world, job))["access_token"]
    basic = b64encode(f"{job.client_id}:{job.secret}".encode()).decode()
    text = f'> Authorization: Basic {basic}\r\n< {{"access_token": "{access}"}}\r\n{mistyped(access)}'
    found = ok(await admin.post("/leaks/investigate", json={"secret": text}))
    assert [each["sha256"] for each in found["items"]] == [digest(access), digest(job.secret)]
    assert {name: found[name] for name in found["items"][0]} == found["items"][0]
    assert found["damaged"] == [{"kind": "access", "at": text.index(mistyped(access))}]
    assert found["characters"] == len(text)
    (asked,) = [each for each in await world.events("audit.read") if each.event.question == "leak_investigation"]
    assert asked.event.parameters["sha256"].split() == [digest(access), digest(job.secret)]
    assert found["foreign"] == []
    theirs = f"{text}\nAKIA{'Q' * 16}"
    (others,) = ok(await admin.post("/leaks/investigate", json={"secret": theirs}))["foreign"]
    assert others == {"kind": "aws_access_key", "at": len(text) + 1}
    for each in ("Authorization", job.secret or "", access):
        assert each not in str(await world.events())


async def test_nothing_of_ours_is_no_all_clear(admin: httpx.AsyncClient, world: World) -> None:
    found = ok(await admin.post("/leaks/investigate", json={"secret": "no secret here " + "x" * 3_097}))
    assert (found["kind"], found["items"], found["damaged"], found["characters"]) == (None, [], [], 3_112)
    assert found["problem"] == "no Grantlog secret in 3,112 characters"
    refused = await admin.post("/leaks/contain", json={"secret": "no secret here"})
    assert problem(refused, 400)["errors"] == [{"field": "secret", "detail": "no Grantlog secret in 14 characters"}]


async def test_what_is_asked_by_digest_has_the_same_members(admin: httpx.AsyncClient, job: Client) -> None:
    by_text = ok(await admin.post("/leaks/investigate", json={"secret": f" {job.secret} "}))
    by_digest = ok(await admin.post("/leaks/investigate", json={"sha256": digest(job.secret)}))
    assert by_digest == by_text | {"characters": None}
    assert [each["sha256"] for each in by_digest["items"]] == [digest(job.secret)]
    several = ok(await admin.post("/leaks/investigate", json={"items": [{"secret": f"\n{job.secret}\n"}]}))
    assert several["items"] == by_text["items"]


async def test_secrets_end_together_with_one_incident_per_client(
    world: World, admin: httpx.AsyncClient, scene: Scene, job: Client
) -> None:
    past = await lived(scene)
    others = [ok(await token(world, job))["access_token"] for _ in range(2)]
    text = f"{past.tokens['refresh_token']} {others[0]}\n{job.secret} {others[1]} glog_at_{'a' * 36}"
    tried = ok(await admin.post("/leaks/contain", json={"secret": text, "dry_run": True}))
    digests = [digest(each) for each in (past.tokens["refresh_token"], others[0], job.secret, others[1])]
    assert ok(await admin.post("/leaks/contain", json={"digests": digests, "dry_run": True})) == tried
    problem(await admin.post("/leaks/contain", json={"digests": ["x" * 64], "dry_run": True}), 400)
    done = ok(await admin.post("/leaks/contain", json={"secret": text, "rotate": True, "evidence": "a chat"}))
    assert [each["contained"] for each in done["items"]] == [each["contained"] for each in tried["items"]]
    assert [each["client_id"] for each in done["items"]] == [scene.shop.client_id, job.client_id]
    assert {name: done[name] for name in ("incident_id", "contained")} == {
        name: done["items"][0][name] for name in ("incident_id", "contained")
    }
    mine: dict[str, Any] = done["items"][1]
    assert mine["contained"] == {"secrets_ended": 1, "grants_ended": 2, "tokens_ended": 2, "people_affected": 0}
    assert {each["sha256"] for each in mine["secrets"]} == {digest(each) for each in (*others, job.secret)}
    assert len({each["incident_id"] for each in done["items"]}) == 2
    assert len(await world.events("incident.reported")) == len(await world.events("incident.contained")) == 2
    for raw in (*others, past.tokens["access_token"]):
        state = ok(await admin.post("/audit/token-state", json={"token": raw}))
        assert state["active"] is False, raw
    replaced = replace(job, secret=mine["client_secret"])
    assert (await token(world, replaced)).status_code == 200
    # Whatever of them is found again belongs to the same incident.
    again = ok(await admin.post("/leaks/contain", json={"secret": others[1], "evidence": "a mail"}))
    assert again["incident_id"] == mine["incident_id"]
    incident = ok(await admin.get(f"/leaks/incidents/{mine['incident_id']}"))
    assert {each["sha256"] for each in incident["secrets"]} == {digest(each) for each in (*others, job.secret)}


async def test_who_is_concerned_by_several_secrets_counts_once(
    world: World, admin: httpx.AsyncClient, scene: Scene
) -> None:
    past = await lived(scene)
    secret, _ = await rotate(world, scene.shop)
    past.scene = replace(scene, shop=replace(scene.shop, secret=secret.reveal()))
    # The grant's first access token is of the version that leaked, and the others are of the next.
    newest = (await past.refresh())["refresh_token"]
    text = f"{scene.shop.secret} {newest}"
    tried = ok(await admin.post("/leaks/contain", json={"secret": text, "dry_run": True}))
    assert tried["contained"] == {"secrets_ended": 1, "grants_ended": 1, "tokens_ended": 3, "people_affected": 1}
    assert ok(await admin.post("/leaks/contain", json={"secret": text}))["contained"] == tried["contained"]


@pytest.mark.parametrize("since", [False, True])
async def test_what_ends_with_a_disabled_client_is_counted(
    world: World, admin: httpx.AsyncClient, scene: Scene, since: bool
) -> None:
    past, job = await lived(scene), await lived(replace(scene, person=await world.register_person("paula")))
    (version,) = ok(await admin.get(f"/admin/clients/{scene.shop.client_id}/secrets"))["items"]
    world.clock.advance(10)
    named = {"secret_id": version["id"], "since": format_rfc3339(world.clock.now())}
    asked = {"disable_client": True} | (named if since else {"secret": past.tokens["refresh_token"]})
    tried = ok(await admin.post("/leaks/contain", json=asked | {"dry_run": True}))
    told = {"secrets_ended": int(since), "grants_ended": 2, "tokens_ended": 4, "people_affected": 2}
    assert (tried["contained"], ok(await admin.post("/leaks/contain", json=asked))["contained"]) == (told, told)
    for raw in (job.tokens["access_token"], job.tokens["refresh_token"]):
        assert ok(await admin.post("/audit/token-state", json={"token": raw}))["active"] is False
    # Disabled already, it has nothing left.
    again = ok(await admin.post("/leaks/contain", json=asked))["contained"]
    assert again == dict.fromkeys(told, 0)


async def test_a_repeat_with_the_same_key_shows_no_secret_again(admin: httpx.AsyncClient, job: Client) -> None:
    asked = {"secret": f"found: {job.secret}", "rotate": True}
    headers = {"idempotency-key": "a-key"}
    first = ok(await admin.post("/leaks/contain", json=asked, headers=headers))
    assert first["client_secret"] == first["items"][0]["client_secret"] is not None
    second = ok(await admin.post("/leaks/contain", json=asked, headers=headers))
    assert (second["client_secret"], second["items"][0]["client_secret"]) == (None, None)


@pytest.mark.parametrize("path", ["/leaks/investigate", "/leaks/contain"])
async def test_a_text_has_a_stated_length(admin: httpx.AsyncClient, path: str) -> None:
    problem(await admin.post(path, json={"secret": "x" * 1_048_577}), 413)
