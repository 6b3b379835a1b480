"""A leaked secret: what it is, what came of it, and ending all of it in one step."""

from dataclasses import replace
from hashlib import sha256
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from api.http.parameters import encode_cursor
from api.leaks import investigate, revoke
from domain import incident
from domain.event import Recorded
from projections import tokens
from security.clock import format_rfc3339
from security.tokens import Kind
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.histories import lived, rotate
from tests.scenarios.jobs import token
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

REPORT = {
    "sha256",
    "kind",
    "state",
    "client_id",
    "client_name",
    "secret",
    "account_id",
    "grant_id",
    "issued_at",
    "expires_at",
    "uses_refused",
    "first_used_at",
    "last_used_at",
    "uses_after_end",
    "addresses",
    "derived",
    "containment",
}
NOTHING = {"secrets_ended": 0, "grants_ended": 0, "tokens_ended": 0, "people_affected": 0}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def look(admin: httpx.AsyncClient, **asked: Any) -> Any:
    found = ok(await admin.post("/leaks/investigate", json=asked))
    assert set(found) >= REPORT
    return found


async def told(world: World, after: int) -> list[Recorded]:
    """What has been committed since, the uses of tokens left out."""
    return [each for each in await world.events(after=after) if not each.type.startswith("usage.")]


def digest(raw: str) -> str:
    return sha256(raw.encode()).hexdigest()


async def test_a_client_secret_by_itself_or_by_its_digest(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    caller = world.caller("198.51.100.9", headers={"user-agent": "job/1"})
    for _ in range(3):
        world.clock.advance(5)
        ok(await token(world, job, caller=caller))
    found = await look(admin, secret=job.secret)
    assert found | {"characters": None} == await look(admin, sha256=digest(job.secret or ""))
    assert (found["kind"], found["state"], found["client_id"]) == ("client_secret", "active", job.client_id)
    assert found["secret"]["version"] == 1
    assert found["derived"]["access_tokens"] == {"total": 3, "live": 3}
    assert found["derived"]["grants"] == {"total": 3, "live": 3}
    assert found["containment"] == {"secrets_ended": 1, "grants_ended": 3, "tokens_ended": 3, "people_affected": 0}
    (address,) = found["addresses"]
    assert (address["ip"], address["count"], address["user_agents"]) == ("198.51.100.9", 3, ["job/1"])
    assert (found["first_used_at"], found["last_used_at"]) == (address["first_at"], address["last_at"])
    world.clock.advance(600)
    admin = await administering(world)
    assert (await look(admin, secret=job.secret))["containment"]["tokens_ended"] == 0


async def test_investigate_waits_for_no_event_counts(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be far behind, and take minutes to come, where an upgrade or a restored database began them anew."""
    ok(await token(world, job))
    services = replace(world.services, follower=Mock(), event_counts=Mock())
    monkeypatch.setattr(investigate, "services_of", lambda request: services)
    await investigate.settling(Mock())([digest(job.secret or "")])
    head, _ = await world.services.ledger.head()
    assert min(services.search_index.position, services.sightings.position) >= head > 0


async def test_foreign_text_is_told_what_is_wrong_and_leaves_no_trace(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    secret = job.secret or ""
    altered = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    for raw, said in (
        ("hunter2", "does not begin like"),
        (secret[:20], "characters after its kind"),
        (secret.replace("_cs_", "_zz_"), "kind is unknown"),
        (secret[:-3] + "-x-", "character that no secret has"),
        (altered, "checksum differs"),
    ):
        before = await world.head()
        found = await look(admin, secret=raw)
        assert (found["kind"], found["state"]) == (None, None)
        assert said in found["problem"]
        assert secret[-6:] not in found["problem"]
        (asked,) = await told(world, before)
        assert (asked.type, asked.event.question, asked.event.parameters) == (
            "audit.read",
            "leak_investigation",
            {"foreign": "1"},
        )
    strange = world.services.format.mint(Kind.ACCESS_TOKEN)
    found = await look(admin, secret=strange.reveal())
    assert (found["kind"], found["state"], found["derived"]["grants"]) == ("access", "unknown", {"total": 0, "live": 0})
    problem(await admin.post("/leaks/investigate", json={}), 400, field="secret")
    problem(
        await admin.post("/leaks/investigate", json={"secret": "x", "items": [{"secret": "y"}]}), 400, field="items"
    )


async def test_many_at_once(admin: httpx.AsyncClient, job: Client) -> None:
    items = [{"secret": job.secret}, {"secret": "nothing of ours"}, {"sha256": "0" * 64}]
    found = ok(await admin.post("/leaks/investigate", json={"items": items}))["items"]
    assert [each["kind"] for each in found] == ["client_secret", None, None]
    assert [each["state"] for each in found] == ["active", None, "unknown"]
    twice = ok(await admin.post("/leaks/investigate", json={"items": [*items, *reversed(items)]}))["items"]
    assert twice == [*found, *reversed(found)]
    many = {"items": [{"sha256": f"{number:064x}"} for number in range(1000)]}
    assert len(ok(await admin.post("/leaks/investigate", json=many))["items"]) == 1000
    problem(await admin.post("/leaks/investigate", json={"items": many["items"] + items}), 400)


async def test_a_dry_run_says_what_the_run_then_does(world: World, admin: httpx.AsyncClient, scene: Scene) -> None:
    past = await lived(scene)
    await past.refresh()
    secret = scene.shop.secret or ""
    before = await world.head()
    tried = ok(await admin.post("/leaks/contain", json={"secret": secret, "dry_run": True}))
    assert (tried["incident_id"], tried["dry_run"]) == (None, True)
    assert tried["contained"] == {"secrets_ended": 1, "grants_ended": 1, "tokens_ended": 3, "people_affected": 1}
    assert [each.event.question for each in await told(world, before)] == ["leak_containment_dry_run"]
    assert (await look(admin, secret=secret))["containment"] == tried["contained"]
    answer = await admin.post(
        "/leaks/contain", json={"secret": secret, "rotate": True}, headers={"idempotency-key": "now"}
    )
    done = ok(answer)
    assert (done["contained"], done["dry_run"]) == (tried["contained"], False)
    kinds = [each.type for each in await told(world, before) if not each.type.startswith("audit.")]
    assert kinds == [
        "incident.reported",
        "incident.identified",
        "client.secret_revoked",
        "client.secret_rotated",
        "incident.contained",
    ]
    assert secret not in str(await world.events())
    again = ok(
        await admin.post("/leaks/contain", json={"secret": secret, "rotate": True}, headers={"idempotency-key": "now"})
    )
    items = [each | {"client_secret": None} for each in done["items"]]
    assert again == done | {"client_secret": None, "items": items}
    found = await look(admin, secret=secret)
    assert (found["state"], found["containment"]) == ("revoked", NOTHING)
    refused = await world.client.post(
        "/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": past.tokens["refresh_token"]},
        auth=(scene.shop.client_id, done["client_secret"]),
    )
    assert refused.json()["error"] == "invalid_grant"


async def test_a_dry_run_is_refused_what_the_run_is_refused(world: World, admin: httpx.AsyncClient) -> None:
    public = await world.register_client("App", public=True)
    strong = await world.register_client("Strong", grant_types=("client_credentials",), scope=("clients:write",))
    gone = await world.register_client("Gone", grant_types=("client_credentials",), scope=("orders",))
    ok(await admin.delete(f"/admin/clients/{gone.client_id}"), 204)
    weak = await administering(world, "leaks:write")
    before = await world.head()
    for by, body, status, reason in (
        (admin, {"client_id": public.client_id, "rotate": True}, 409, "not_confidential"),
        (weak, {"client_id": strong.client_id, "rotate": True}, 403, None),
        (weak, {"secret": strong.secret, "rotate": True}, 403, None),
        (admin, {"client_id": gone.client_id, "rotate": True}, 404, None),
        (admin, {"secret": gone.secret, "disable_client": True}, 404, None),
    ):
        refused = [await by.post("/leaks/contain", json=body | {"dry_run": dry}) for dry in (True, False)]
        tried, done = [problem(answer, status, reason=reason) for answer in refused]
        assert {**tried, "request_id": None} == {**done, "request_id": None}
    assert await told(world, before) == []
    ok(await weak.post("/leaks/contain", json={"client_id": strong.client_id, "dry_run": True}))


async def test_of_a_deleted_client_nothing_is_left_to_end(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    ok(await token(world, job))
    ok(await admin.delete(f"/admin/clients/{job.client_id}"), 204)
    assert (await look(admin, secret=job.secret))["containment"] == NOTHING
    before = await world.head()
    answer = await world.client.post("/credentials/revoke", json={"credentials": [job.secret]})
    await revoke.ended(world.services.ledger)
    assert (answer.status_code, await told(world, before)) == (202, [])
    for named in ({"secret": job.secret}, {"client_id": job.client_id}):
        tried = ok(await admin.post("/leaks/contain", json=named | {"dry_run": True}))
        done = ok(await admin.post("/leaks/contain", json=named))
        assert tried["contained"] == done["contained"] == NOTHING
    numbers = [each.event.numbers for each in await world.events("incident.contained")]
    assert numbers == [incident.Numbers()] * 2


async def test_each_call_is_an_event_even_one_that_changes_nothing(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    made = ok(await admin.post("/leaks/contain", json={"client_id": job.client_id}))["incident_id"]
    ok(await admin.post(f"/leaks/incidents/{made}/close", json={}))
    before = await world.head()
    ok(await admin.post(f"/leaks/incidents/{made}/close", json={}))
    problem(await admin.post("/leaks/incidents/nothing/close", json={}), 404)
    problem(await admin.get("/leaks/incidents/nothing"), 404)
    problem(await admin.post("/leaks/contain", json={"client_id": "nobody"}), 404)
    unknown = world.services.format.mint(Kind.CLIENT_SECRET).reveal()
    problem(await admin.post("/leaks/contain", json={"secret": unknown, "dry_run": True}), 404)
    facts = [each.event for each in await told(world, before)]
    assert [(each.question, each.parameters, each.count) for each in facts] == [
        ("incidents", {"incident_id": made}, 1),
        ("incidents", {"incident_id": f"sha256:{digest('nothing')}"}, 0),
        ("incidents", {"incident_id": f"sha256:{digest('nothing')}"}, 0),
        ("leak_containment", {"client_id": f"sha256:{digest('nobody')}"}, 0),
        ("leak_containment_dry_run", {"secret": f"sha256:{digest(unknown)}"}, 0),
    ]


async def test_a_repeated_containment_is_given_the_first_answer(
    world: World, admin: httpx.AsyncClient, scene: Scene
) -> None:
    key = {"idempotency-key": "once"}
    for asked in ({"account_id": scene.person.account_id}, {"client_id": scene.shop.client_id, "dry_run": True}):
        first = ok(await admin.post("/leaks/contain", json=asked, headers=key))
        assert "client_secret" not in first
        before = await world.head()
        assert ok(await admin.post("/leaks/contain", json=asked, headers=key)) == first
        assert await world.head() == before
        key = {"idempotency-key": "twice"}


async def test_a_person_is_contained_without_being_disabled(world: World, scene: Scene) -> None:
    past = await lived(scene)
    admin = await administering(world)
    body = {"account_id": scene.person.account_id}
    tried = ok(await admin.post("/leaks/contain", json=body | {"dry_run": True}))["contained"]
    done = ok(await admin.post("/leaks/contain", json=body))["contained"]
    assert tried == done == {"secrets_ended": 0, "grants_ended": 1, "tokens_ended": 2, "people_affected": 1}
    assert (await past.refresh())["error"] == "invalid_grant"
    assert 'name="password"' in (await past.browser.open("/account")).text
    assert "access_token" in (await lived(scene)).tokens
    problem(await admin.post("/leaks/contain", json=body | {"rotate": True}), 400, field="rotate")


async def test_since_a_moment(world: World, scene: Scene) -> None:
    early = await lived(scene)
    world.clock.advance(3_600)
    since = world.clock.now()
    late = await lived(scene)
    admin = await administering(world)
    body = {"client_id": scene.shop.client_id, "since": format_rfc3339(since)}
    tried = ok(await admin.post("/leaks/contain", json=body | {"dry_run": True}))["contained"]
    done = ok(await admin.post("/leaks/contain", json=body | {"rotate": True}))
    assert (
        tried
        == done["contained"]
        == {
            "secrets_ended": 1,
            "grants_ended": 1,
            "tokens_ended": 2,
            "people_affected": 1,
        }
    )
    auth = (scene.shop.client_id, done["client_secret"])
    for past, alive in ((early, True), (late, False)):
        data = {"grant_type": "refresh_token", "refresh_token": past.tokens["refresh_token"]}
        assert (await world.client.post("/oauth/token", data=data, auth=auth)).is_success is alive


async def test_token_ends_with_its_grant_and_use_after_is_told_first(
    world: World, admin: httpx.AsyncClient, scene: Scene
) -> None:
    past = await lived(scene)
    raw = past.tokens["access_token"]
    server = await world.register_client("Server", grant_types=("client_credentials",), scope=("introspect",))
    seen = {"token": raw, "client_ip": "203.0.113.5", "client_user_agent": "phone"}
    for _ in range(3):
        assert ok(await world.client.post("/oauth/introspect", data=seen, auth=server.auth))["active"]
    found = await look(admin, secret=raw)
    assert (found["kind"], found["grant_id"] is not None, found["account_id"]) == (
        "access",
        True,
        scene.person.account_id,
    )
    (address,) = found["addresses"]
    assert (address["ip"], address["count"], address["told_by"]) == ("203.0.113.5", 3, server.client_id)
    assert [each["client_id"] for each in found["resource_servers"]] == [server.client_id]
    assert found["containment"] == {"secrets_ended": 0, "grants_ended": 1, "tokens_ended": 2, "people_affected": 1}
    done = ok(await admin.post("/leaks/contain", json={"sha256": digest(raw)}))
    assert done["contained"] == found["containment"]
    tried = seen | {"client_ip": "198.51.100.66"}
    assert ok(await world.client.post("/oauth/introspect", data=tried, auth=server.auth)) == {"active": False}
    world.clock.advance(86_400)
    await world.services.ledger.maintain(tokens.prune, world.clock.now(), 500)
    admin = await administering(world)
    found = await look(admin, secret=raw)
    assert (found["state"], found["uses_after_end"]) == ("grant_ended", 1)
    assert [each["ip"] for each in found["addresses"]] == ["198.51.100.66", "203.0.113.5"]
    plain = await administering(world, "leaks:read")
    assert {each["ip"] for each in (await look(plain, secret=raw))["addresses"]} == {None}
    assert "203.0.113.5" not in str(await world.events("usage.*"))


async def test_while_it_is_frozen_nothing_is_issued(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    raw = ok(await token(world, job))["access_token"]
    assert ok(await admin.post("/leaks/freeze"))["frozen"] is True
    refused = await token(world, job)
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=job.auth))["active"]
    assert ok(await admin.post("/leaks/freeze")) == ok(await admin.get("/leaks/freeze"))
    assert ok(await admin.post("/leaks/unfreeze")) == {"frozen": False, "since": None}
    ok(await token(world, job))
    assert [each.type for each in await world.events("server.issuance_*")] == [
        "server.issuance_suspended",
        "server.issuance_resumed",
    ]


async def test_dashboard_secret_is_contained_with_nobody_noticing(world: World) -> None:
    platform = await make_platform(world)
    admin = await administering(world)
    dashboards = ok(await admin.get("/admin/dashboards"))["items"]
    client_id = next(each["client_id"] for each in dashboards if each["slug"] == "client")
    done = ok(await admin.post("/leaks/contain", json={"client_id": client_id, "rotate": True}))
    assert done["client_secret"] is None
    login = await world.client.post("/dashboards/client/login", json=platform.paul.typed)
    assert login.status_code == 200, login.text


async def test_pages(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    for _ in range(5):
        ok(await token(world, job))
    where = f"/leaks/investigate/{digest(job.secret or '')}"
    seen: list[str] = []
    after: str | None = None
    while True:
        page = ok(await admin.get(f"{where}/tokens", params={"limit": "2"} | ({"after": after} if after else {})))
        seen += [each["sha256"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 5
    events = ok(await admin.get(f"{where}/events"))["items"]
    assert [each["type"] for each in events][:5] == ["grant.tokens_issued"] * 5
    assert len(ok(await admin.get(f"{where}/addresses"))["items"]) == 1
    assert ok(await admin.get(f"{where}/people"))["items"] == []
    problem(await admin.get(f"/leaks/investigate/{'0' * 64}/tokens"), 404)
    problem(await admin.get("/leaks/investigate/x/events"), 404)


@pytest.mark.parametrize("again", [0, 1])
async def test_pages_of_addresses_do_not_shift(world: World, admin: httpx.AsyncClient, job: Client, again: int) -> None:
    async def used_from(last: int) -> None:
        asked = {"grant_type": "client_credentials"}
        ok(await world.caller(f"203.0.113.{last}").post("/oauth/token", data=asked, auth=job.auth))

    # Three at the same moment.
    for number in (1, 2, 3, 4, 5):
        world.clock.advance(5 if number > 3 else 0)
        await used_from(number)
    where = f"/leaks/investigate/{digest(job.secret or '')}/addresses"
    seen: list[str] = []
    after: str | None = None
    for number in range(6, 30):
        page = ok(await admin.get(where, params={"limit": "2"} | ({"after": after} if after else {})))
        seen += [each["ip"] for each in page["items"]]
        if (after := page["next"]) is None:
            break
        # Somebody uses it from elsewhere meanwhile, and again from where it was used.
        world.clock.advance(5)
        await used_from(number)
        for address in seen[-again:] if again else ():
            await used_from(int(address.rpartition(".")[2]))
    assert [address.rpartition(".")[2] for address in seen[:2]] == ["5", "4"]
    assert sorted(seen) == [f"203.0.113.{number}" for number in (1, 2, 3, 4, 5)]
    for odd in ((2, 0, 0, 0), (0, -1, -1, -1), (-1, 0, (1 << 63) - 1, 0), (1, 1 << 62, 0, 1 << 62)):
        ok(await admin.get(where, params={"after": encode_cursor("leak_addresses", odd)}))


async def test_a_dead_token_that_is_tried_at_our_own_api_is_seen(
    world: World, admin: httpx.AsyncClient, scene: Scene
) -> None:
    raw = (await scene.redeem(await scene.approved(await scene.signed_in())))["access_token"]
    ok(await world.client.post("/oauth/revoke", data={"token": raw}, auth=scene.shop.auth))
    thief = world.caller("203.0.113.99", headers={"authorization": f"Bearer {raw}"})
    for path in ("/oauth/userinfo", "/admin/clients", "/me"):
        assert (await thief.get(path)).status_code == 401
    # What was never issued is nobody's, and a token that a stranger made up grows no log.
    made_up = world.services.format.mint(Kind.ACCESS_TOKEN).reveal()
    headers = {"authorization": f"Bearer {made_up}"}
    assert (await thief.get("/oauth/userinfo", headers=headers)).status_code == 401
    found = await look(admin, secret=raw)
    assert (found["state"], found["uses_after_end"]) == ("revoked", 3)
    (address,) = found["addresses"]
    assert (address["ip"], address["after_end"], address["told_by"]) == ("203.0.113.99", 3, None)
    used = {each.stream.partition(":")[2] for each in await world.events("usage.token_*")}
    assert (digest(raw) in used, digest(made_up) in used) == (True, False)
    world.clock.advance(86_400)
    await world.services.ledger.maintain(tokens.prune, world.clock.now(), 500)
    assert (await thief.get("/me")).status_code == 401
    assert (await look(await administering(world), secret=raw))["uses_after_end"] == 4


async def test_a_token_that_is_tried_for_what_it_may_not_do_is_seen(
    world: World, admin: httpx.AsyncClient, scene: Scene, job: Client
) -> None:
    raw = (await scene.redeem(await scene.approved(await scene.signed_in())))["access_token"]
    own = ok(await token(world, job))["access_token"]
    for secret, paths in ((raw, ("/admin/clients", "/me", "/log/tile/entries/000")), (own, ("/oauth/userinfo",))):
        thief = world.caller("203.0.113.99", headers={"authorization": f"Bearer {secret}"})
        for path in paths:
            assert (await thief.get(path)).status_code == 403
        found = await look(admin, secret=secret)
        tried = {each["ip"]: each["count"] for each in found["addresses"]}
        assert (found["state"], tried["203.0.113.99"]) == ("active", len(paths))


async def test_a_dead_token_from_all_addresses_of_a_line_is_one_fact(world: World, scene: Scene) -> None:
    raw = (await scene.redeem(await scene.approved(await scene.signed_in())))["access_token"]
    ok(await world.client.post("/oauth/revoke", data={"token": raw}, auth=scene.shop.auth))
    bearer = {"authorization": f"Bearer {raw}"}
    for number in range(5):
        caller = world.caller(f"2001:db8:1:2::{number:x}", headers=bearer)
        assert (await caller.get("/oauth/userinfo")).status_code == 401
    assert (await world.caller("2001:db8:1:3::1", headers=bearer).get("/oauth/userinfo")).status_code == 401
    await world.services.token_uses.record(everything=True)
    told = [(each.type, getattr(each.event, "count", 1)) for each in await world.events("usage.token_*")]
    assert sorted(told) == [*[("usage.token_first_seen", 1)] * 2, ("usage.token_seen", 4)]


async def test_what_lives_and_is_no_token_is_not_tried_after_its_end(
    world: World, admin: httpx.AsyncClient, scene: Scene
) -> None:
    kept = (await scene.signed_in()).client.cookies["grantlog-session-platform"]
    initial = ok(await admin.post("/admin/initial-access-tokens"), 201)["initial_access_token"]
    for raw in (kept, initial):
        answer = await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {raw}"})
        assert answer.status_code == 401
        await world.client.post("/oauth/introspect", data={"token": raw}, auth=scene.shop.auth)
    await world.services.token_uses.record(everything=True)
    used = {each.stream.partition(":")[2] for each in await world.events("usage.token_*")}
    assert used.isdisjoint({digest(kept), digest(initial)})


async def test_use_of_a_rotated_away_secret_version_is_seen(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    ok(await token(world, job))
    await rotate(world, job, others_expire_in=0)
    thief = world.caller("203.0.113.99")
    for _ in range(3):
        assert (await token(world, job, caller=thief)).status_code == 401
    found = await look(admin, secret=job.secret)
    assert (found["state"], found["uses_after_end"]) == ("expired", 3)
    assert found["addresses"][0]["ip"] == "203.0.113.99"
    assert found["addresses"][0]["after_end"] == 3
