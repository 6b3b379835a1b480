"""Incidents: what is told of them, by how many at once, and who sees what."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import incident
from security.keyring import Keyring
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.jobs import token
from tests.scenarios.leaks.test_leaks import NOTHING
from tests.scenarios.world import Client, World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def test_incidents_tell_their_story(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    ok(await token(world, job))
    body = {"secret": job.secret, "evidence": "in a public repository"}
    made = ok(await admin.post("/leaks/contain", json=body))["incident_id"]
    assert "public repository" not in str(await world.events("incident.*"))
    (listed,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert listed == ok(await admin.get(f"/leaks/incidents/{made}"))
    assert (listed["state"], listed["evidence"], listed["kind"]) == (
        "contained",
        "in a public repository",
        "client_secret",
    )
    assert listed["contained"]["tokens_ended"] == 1
    plain = await administering(world, "leaks:read")
    assert ok(await plain.get(f"/leaks/incidents/{made}"))["evidence"] is None
    more = ok(await admin.post("/leaks/contain", json={"secret": job.secret}))
    assert (more["incident_id"], more["dry_run"], more["contained"]) == (made, False, NOTHING)
    world.clock.advance(60)
    closed = ok(await admin.post(f"/leaks/incidents/{made}/close", json={"note": "done"}))
    assert (closed["state"], closed["note"]) == ("closed", "done")
    assert ok(await admin.post(f"/leaks/incidents/{made}/close"))["closed_at"] == closed["closed_at"]
    assert len(await world.events("incident.closed")) == 1
    problem(await admin.get("/leaks/incidents?state=open"), 400, field="state")


async def test_a_repeat_shows_no_more_than_its_caller_may_see(world: World, job: Client) -> None:
    scopes = ("audit:personal", "leaks:write", "leaks:read")
    service = await world.register_client("Service", grant_types=("client_credentials",), scope=scopes)

    async def with_scope(scope: str) -> httpx.AsyncClient:
        data = {"grant_type": "client_credentials", "scope": scope}
        given = ok(await world.client.post("/oauth/token", data=data, auth=service.auth))["access_token"]
        return world.caller(headers={"authorization": f"Bearer {given}", "idempotency-key": "close"})

    full, plain = await with_scope(" ".join(scopes)), await with_scope("leaks:write leaks:read")
    body = {"secret": job.secret, "evidence": "found by Sam"}
    made = ok(await full.post("/leaks/contain", json=body))["incident_id"]
    where, note = f"/leaks/incidents/{made}/close", {"note": "Sam was told"}
    first = ok(await full.post(where, json=note))
    assert (first["evidence"], first["note"]) == ("found by Sam", "Sam was told")
    before = await world.head()
    assert ok(await plain.post(where, json=note)) == first | {"evidence": None, "note": None}
    assert ok(await full.post(where, json=note)) == first
    assert await world.head() == before
    # Another note would be lost, so that whoever brings it is told.
    other = world.caller(headers={"authorization": full.headers["authorization"]})
    assert "another note" in problem(await other.post(where, json={"note": "and Kim"}), 409)["detail"]
    assert await world.types_after(before) == []
    assert ok(await other.post(where, json={}))["note"] == "Sam was told"
    assert ok(await other.post(where, json=note))["note"] == "Sam was told"


async def test_what_is_said_later_is_kept_with_what_was_said_first(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    async def contain(evidence: str | None) -> str:
        body = {"client_id": job.client_id} | ({} if evidence is None else {"evidence": evidence})
        made: str = ok(await admin.post("/leaks/contain", json=body))["incident_id"]
        return made

    async def read(by: httpx.AsyncClient, incident_id: str) -> Any:
        return ok(await by.get(f"/leaks/incidents/{incident_id}"))["evidence"]

    made = await contain(None)
    assert await read(admin, made) is None
    before = await world.head()
    longest = "😀" * incident.WRITTEN_MAXIMUM
    for evidence in ("in a repository", f"beside {job.secret}", longest, None):
        assert await contain(evidence) == made
    assert await read(admin, made) == f"in a repository\nbeside glog_cs_***\n{longest}"
    more = ["incident.evidence_added", "incident.contained"]
    assert [each.type for each in await world.events("incident.*", after=before)] == [*more * 3, "incident.contained"]
    assert "repository" not in str(await world.events("incident.*"))
    assert await read(await administering(world, "leaks:read"), made) is None
    assert ok(await admin.get("/leaks/incidents"))["items"][0]["evidence"] == await read(admin, made)
    # A row holds no more than it can; the log has everything.
    for _ in range(11):
        await contain(longest)
    assert len(await read(admin, made)) > 12 * len(longest)
    await contain("the last")
    assert await read(admin, made) == "the last"


async def test_containments_of_the_same_at_once_are_one_incident(
    world: World, admin: httpx.AsyncClient, job: Client, keyring: Keyring, tmp_path: Path
) -> None:
    for named in ({"client_id": job.client_id}, {"secret": job.secret}):
        before = await world.head()
        async with open_world(world.settings.database_url, tmp_path / "second", keyring, world.clock) as second:
            elsewhere = second.caller(headers=admin.headers)
            asked = [
                by.post("/leaks/contain", json=named | {"evidence": f"seen {number}"})
                for number in range(4)
                for by in (admin, elsewhere)
            ]
            done = [ok(answer) for answer in await asyncio.gather(*asked)]
        (made,) = {each["incident_id"] for each in done}
        types = [each.type for each in await world.events("incident.*", after=before)]
        assert types.count("incident.reported") == 1
        assert types.count("incident.evidence_added") == 7
        assert types.count("incident.contained") == 8
        shown = ok(await admin.get(f"/leaks/incidents/{made}"))
        assert sorted(shown["evidence"].split("\n")) == [f"seen {number // 2}" for number in range(8)]
        tried = ok(await admin.post("/leaks/contain", json=named | {"dry_run": True}))
        assert tried["incident_id"] == made
    ok(await admin.post(f"/leaks/incidents/{made}/close"))
    assert ok(await admin.post("/leaks/contain", json={"secret": job.secret}))["incident_id"] != made


async def test_an_incident_has_somebody_occurrences_and_names(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    body = {"secret": job.secret, "evidence": "in a repository"}
    made = ok(await admin.post("/leaks/contain", json=body))["incident_id"]
    where = f"/leaks/incidents/{made}"
    vera = await world.register_person("vera", realm="administration")
    assert ok(await admin.patch(where, json={"assignee": vera.account_id}))["assignee"] == vera.account_id
    told = ok(await admin.post(f"{where}/evidence", json={"evidence": f"and in a chat, {job.secret}"}))
    assert told["evidence"] == "in a repository\nand in a chat, glog_cs_***"
    first, second = ok(await admin.get(f"{where}/occurrences"))["items"]
    assert (first["source"], first["evidence"], len(first["secrets"])) == ("administrator", "in a repository", 1)
    assert (second["source"], second["evidence"], second["secrets"]) == (None, "and in a chat, glog_cs_***", [])
    page = ok(await admin.get(f"{where}/occurrences?limit=1"))
    (rest,) = ok(await admin.get(f"{where}/occurrences?limit=1&after={page['next']}"))["items"]
    assert rest == second
    names = ok(await admin.get(f"{where}?names=1"))["names"]
    assert (names[f"client:{job.client_id}"], names[f"account:{vera.account_id}"]) == ("Job", "vera")
    plain = await administering(world, "leaks:read")
    assert ok(await plain.get("/leaks/incidents?names=1"))["items"][0]["names"][f"account:{vera.account_id}"] is None
    assert [each["evidence"] for each in ok(await plain.get(f"{where}/occurrences"))["items"]] == [None, None]
    before = await world.head()
    problem(await admin.patch(where, json={"assignee": "nobody"}), 400, field="assignee")
    problem(await admin.patch(where, json={}), 400, field="assignee")
    assert ok(await admin.patch(where, json={"assignee": vera.account_id}))["assignee"] == vera.account_id
    assert await world.types_after(before) == ["audit.read"]
    assert ok(await admin.patch(where, json={"assignee": None}))["assignee"] is None
    ok(await admin.post(f"{where}/close"))
    problem(await admin.patch(where, json={"assignee": vera.account_id}), 409)
    problem(await admin.post(f"{where}/evidence", json={"evidence": "late"}), 409)
    problem(await admin.get("/leaks/incidents/nobody/occurrences"), 404)


async def test_an_incident_knows_who_was_told(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    destination = {"url": "https://pager.example/hook", "types": ["incident.contained"]}
    where = "/admin/notifications/destinations"
    ok(await admin.put(f"{where}/pager", json=destination), 201)
    made = ok(await admin.post("/leaks/contain", json={"client_id": job.client_id}))["incident_id"]
    path = f"/leaks/incidents/{made}/told"
    whom = {"whom": f"Sam, by telephone, of {job.secret}"}
    assert ok(await admin.post(path, json=whom))["incident_id"] == made
    pager, sam = ok(await admin.get(path))["items"]
    assert (pager["how"], pager["destination"], pager["type"]) == ("notification", "pager", "incident.contained")
    assert (pager["state"], pager["whom"], pager["told_by"]) == ("waiting", None, None)
    assert (sam["how"], sam["whom"], sam["state"]) == ("by_hand", "Sam, by telephone, of glog_cs_***", "delivered")
    assert sam["told_by"]["kind"] == "client"
    first = ok(await admin.get(f"{path}?limit=1"))
    assert first["items"] == [pager]
    assert ok(await admin.get(f"{path}?limit=1&after={first['next']}"))["items"] == [sam]
    plain = await administering(world, "leaks:read")
    assert [each["whom"] for each in ok(await plain.get(path))["items"]] == [None, None]
    problem(await plain.post(path, json=whom), 403)
    problem(await plain.get("/leaks/incidents/none/told"), 404)
    # Another type from now on: what was told before stays told, and nothing of before is new to it.
    ok(await admin.put(f"{where}/pager", json=destination | {"types": ["incident.*"]}))
    ok(await admin.post(f"/leaks/incidents/{made}/evidence", json={"evidence": "more"}))
    told = [(each["type"], each["destination"]) for each in ok(await admin.get(path))["items"]]
    assert told == [
        ("incident.contained", "pager"),
        ("incident.somebody_informed", None),
        ("incident.evidence_added", "pager"),
    ]
    ok(await admin.post(f"/leaks/incidents/{made}/close"))
    problem(await admin.post(path, json=whom), 409)
    ok(await admin.delete(f"{where}/pager"), 204)
    assert [each["how"] for each in ok(await admin.get(path))["items"]] == ["by_hand"]
