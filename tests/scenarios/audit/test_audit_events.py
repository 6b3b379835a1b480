"""Searching the log over HTTP: every filter and every combination, cursors, personal values, and who watched."""

import asyncio
from itertools import chain, combinations
from typing import Any

import httpx
import pytest

from domain import client, incident
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from security.clock import format_rfc3339
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived, rotate
from tests.scenarios.world import ADDRESS, Client, World

pytestmark = pytest.mark.anyio

MEMBERS = {
    "position",
    "id",
    "type",
    "stream",
    "version",
    "time",
    "actor",
    "request_id",
    "ip",
    "user_agent",
    "data",
    "sealed",
    "erased",
    "meaning",
}


async def everything(asking: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = ok(await asking.get("/audit/events", params=query | ({} if after is None else {"after": after})))
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def names(event: dict[str, Any], filters: dict[str, Any], owners: dict[str, dict[str, Any]]) -> bool:
    """The same filters, applied to an event by looking at all of it."""
    told = event["data"] | {f"actor_{event['actor']['kind']}": event["actor"]["id"]}
    kind, *ids = event["stream"].split(":")
    credential = event["actor"]["credential"] or {}
    holders = (event["data"], credential, owners.get(event["stream"], {}))

    def has(member: str, *more: Any) -> bool:
        wanted = filters[member]
        return any(holder.get(member) == wanted for holder in holders) or wanted in more

    checks = {
        "client_id": lambda: has(
            "client_id",
            told.get("actor_client"),
            ids[0] if kind == "client" else None,
            ids[1] if kind == "consent" else None,
        ),
        "account_id": lambda: has(
            "account_id", told.get("actor_person"), ids[0] if kind in ("account", "consent") else None
        ),
        "grant_id": lambda: has("grant_id", told.get("except_grant"), ids[0] if kind == "grant" else None),
        "secret_id": lambda: has("secret_id", ids[0] if kind == "usage" else None),
        "request_id": lambda: event["request_id"] == filters["request_id"],
        "ip": lambda: event["ip"] == filters["ip"],
        "type": lambda: any(
            event["type"].startswith(each[:-1]) if each.endswith("*") else event["type"] == each
            for each in filters["type"]
        ),
        "since": lambda: event["time"] >= filters["since"],
        "until": lambda: event["time"] < filters["until"],
        "from": lambda: event["position"] >= filters["from"],
    }
    return all(checks[name]() for name in filters)


async def test_filter_combinations_find_what_a_full_scan_finds(scene: Scene) -> None:
    past = await lived(scene)
    await past.refresh()
    await past.refresh()
    await rotate(scene.world, scene.shop)
    elsewhere = scene.world.caller("198.51.100.9")
    await elsewhere.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("nobody", "wrong"))
    asking = await administering(scene.world)
    log = await everything(asking)
    owners = {
        each["stream"]: {name: each["data"].get(name) for name in ("client_id", "account_id")}
        for each in log
        if each["version"] == 1 and each["stream"].partition(":")[0] in ("grant", "session")
    }
    issued = next(each for each in log if each["type"] == "grant.tokens_issued" and each["data"].get("account_id"))
    given: dict[str, Any] = {
        "client_id": scene.shop.client_id,
        "account_id": scene.person.account_id,
        "grant_id": issued["stream"].partition(":")[2],
        "secret_id": issued["data"]["secret_id"],
        "request_id": issued["request_id"],
        "ip": ADDRESS,
        "type": ["grant.*", "session.started", "client.registered"],
        "since": log[len(log) // 3]["time"],
        "until": log[-1]["time"],
        "from": log[len(log) // 4]["position"],
    }
    chosen = chain.from_iterable(combinations(given, size) for size in (1, 2, 3, len(given)))
    empty = 0
    for count, several in enumerate(chosen):
        query = {name: given[name] for name in several}
        order = "desc" if count % 2 else "asc"
        found = [each for each in await everything(asking, **query, order=order, limit=200)]
        expected = [each["position"] for each in log if names(each, query, owners)]
        # What was asked since is in the log as well; only what was there before is compared.
        positions = [each["position"] for each in found if each["position"] <= log[-1]["position"]]
        assert positions == (expected[::-1] if order == "desc" else expected), query
        empty += not expected
    assert empty < count


async def test_an_unknown_name_finds_nothing(world: World) -> None:
    asking = await administering(world)
    for query in ("client_id=nobody", "ip=203.0.113.1", "type=nothing.happened", "until=2000-01-01T00:00:00Z"):
        assert ok(await asking.get(f"/audit/events?{query}")) == {"items": [], "next": None}


@cases(
    ("query", "field"),
    [
        ("ip=nonsense", "ip"),
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("type=*", "type"),
        ("type=grant.%25", "type"),
        ("client_id=a%20b", "client_id"),
        ("order=sideways", "order"),
        ("from=0", "from"),
        ("from=x", "from"),
        ("after=nonsense", "after"),
        ("limit=201", "limit"),
    ],
)
async def test_what_is_malformed_is_told_by_its_name(world: World, query: str, field: str) -> None:
    asking = await administering(world)
    problem(await asking.get(f"/audit/events?{query}"), 400, field=field)


async def test_misspelt_filter_is_refused_and_does_not_find_everything(world: World) -> None:
    asking = await administering(world)
    for path in ("/audit/events", "/audit/export", "/audit/stream"):
        told = problem(await asking.get(f"{path}?clientid=x"), 400, field="clientid")
        assert told["errors"][0]["detail"].startswith("is not known here")
        # What is no word may be a secret that was pasted.
        told = problem(await asking.get(f"{path}?Secret-1=x"), 400, field="query")
        assert "Secret-1" not in str(told)
    values = (
        ("events", "order", "asc, desc"),
        ("export", "order", "asc, desc"),
        ("counts", "by", "type, grant_type, client_id"),
    )
    for path, field, allowed in values:
        told = problem(await asking.get(f"/audit/{path}?{field}=up"), 400, field=field)
        assert told["errors"][0]["detail"] == f"must be one of {allowed}"
    told = problem(await asking.get("/audit/export?format=xml"), 400, field="format")
    assert "jsonl" in told["errors"][0]["detail"]


async def test_pages_stay_what_they_were_while_events_arrive(world: World) -> None:
    asking = await administering(world)
    await world.define_scopes(*(f"early:{n}" for n in range(9)))
    head = await world.head()
    for order in ("asc", "desc"):
        seen: list[int] = []
        after: dict[str, str] = {}
        while True:
            query = {"order": order, "limit": 3, "type": "scope.*"} | after
            page = ok(await asking.get("/audit/events", params=query))
            seen += [each["position"] for each in page["items"]]
            await world.define_scopes(f"late:{order}:{len(seen)}")
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert seen == sorted(set(seen), reverse=order == "desc")
        assert len([position for position in seen if position <= head]) == 9 + len(ADMINISTRATIVE_SCOPES)


async def test_a_list_ends_although_each_page_of_it_is_an_event(world: World) -> None:
    asking = await administering(world)
    head = await world.head()
    found = await everything(asking, limit=1)
    assert [each["position"] for each in found] == list(range(1, head + 1))


async def test_whoever_asks_sees_all_that_was_committed_before(world: World) -> None:
    asking = await administering(world)

    async def write(number: int) -> int:
        await world.define_scopes(f"scope:{number}")
        found = ok(await asking.get("/audit/events", params={"type": "scope.defined", "order": "desc", "limit": 200}))
        return sum(each["stream"] == f"scope:scope:{number}" for each in found["items"])

    assert await asyncio.gather(*(write(number) for number in range(25))) == [1] * 25


async def test_times_are_exact_and_the_end_is_exclusive(world: World) -> None:
    asking = await administering(world)
    moments = []
    for number in range(3):
        world.clock.advance(0.000001)
        moments.append(format_rfc3339(world.clock.now()))
        await world.define_scopes(f"exact:{number}")

    async def found(**query: str) -> list[str]:
        items = await everything(asking, type="scope.defined", **query)
        return [each["stream"] for each in items if "exact" in each["stream"]]

    assert await found(since=moments[1]) == ["scope:exact:1", "scope:exact:2"]
    assert await found(until=moments[1]) == ["scope:exact:0"]
    assert await found(since=moments[1], until=moments[2]) == ["scope:exact:1"]
    assert await found(since=moments[1].replace("Z", "+00:00"), until=moments[1]) == []


async def test_event_has_every_member_and_is_found_by_its_position(world: World) -> None:
    asking = await administering(world)
    first = ok(await asking.get("/audit/events/1"))
    assert set(first) == MEMBERS
    assert set(first["actor"]) == {"kind", "id", "credential"}
    assert first["position"] == 1
    problem(await asking.get("/audit/events/999999"), 404)
    problem(await asking.get("/audit/events/0"), 400)


@cases("spelled", ["01", "+1", "1_0", "%D9%A1", "1%20", "1.0", "x"])
async def test_position_has_one_spelling(world: World, spelled: str) -> None:
    asking = await administering(world, "audit:read")
    for path in ("/audit/events", "/audit/proofs"):
        problem(await asking.get(f"{path}/{spelled}"), 404)
    assert ok(await asking.get("/audit/events/1/"))["position"] == 1


async def test_an_update_shows_old_and_new_and_who_did_it(world: World) -> None:
    administrator = await administering(world)
    body = {"client_name": "Before", "grant_types": ["client_credentials"]}
    made = ok(await administrator.post("/admin/clients", json=body), 201)
    ok(await administrator.patch(f"/admin/clients/{made['client_id']}", json={"client_name": "After"}))
    (updated,) = await everything(administrator, client_id=made["client_id"], type="client.updated")
    assert updated["data"]["old"] == {"client_name": "Before"}
    assert updated["data"]["new"] == {"client_name": "After"}
    assert updated["actor"]["kind"] == "client"
    assert "grant_id" in updated["actor"]["credential"]


async def test_moments_in_data_are_rfc_3339(scene: Scene) -> None:
    past = await lived(scene)
    await scene.world.client.post("/oauth/revoke", data={"token": past.tokens["access_token"]}, auth=scene.shop.auth)
    (revoked,) = await everything(await administering(scene.world), type="grant.token_revoked")
    assert revoked["data"]["expires_at"].endswith("Z")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
async def test_unwritable_moment_is_refused_in_every_parameter(world: World, job: Client, at: str) -> None:
    admin = await administering(world)
    before = await world.head()
    body = {"client_id": job.client_id, "since": at}
    problem(await admin.post("/leaks/contain", json=body), 400, field="since")
    problem(await admin.post("/audit/token-state", json={"token": job.secret, "at": at}), 400, field="at")
    problem(await admin.get("/audit/events", params={"from": at}), 400, field="from")
    problem(await admin.get("/audit/export", params={"to": at}), 400, field="to")
    problem(await admin.get(f"/audit/state/client:{job.client_id}", params={"at": at}), 400, field="at")
    assert [each.type for each in await world.events(after=before)] == []


async def test_event_with_an_unwritable_moment_hides_no_other_event(world: World) -> None:
    """There may be some in older logs."""
    admin, beyond = await administering(world), -62_135_596_860_000_000
    await world.execute(
        any_command("incident:i", incident.report, {"source": "administrator"}),
        any_command("incident:i", incident.identify, {"target": "client", "client_id": "c"}),
        any_command("incident:i", incident.contain, {"numbers": incident.Numbers(), "since_at": beyond}),
    )
    *_, contained = await everything(admin, type="incident.*", order="asc")
    assert contained["data"]["since_at"] == beyond
    for form in ("jsonl", "csv", "cloudevents", "ocsf"):
        export = await admin.get("/audit/export", params={"format": form, "type": "incident.*"})
        assert export.text.count("incident:i") >= 3


# Who watched ------------------------------------------------------------------------------------------------------


async def test_every_answer_is_an_event_with_actor_filter_and_count(world: World) -> None:
    seeing = await administering(world, "audit:read", "audit:personal")
    head = await world.head()
    found = ok(await seeing.get("/audit/events", params={"ip": ADDRESS, "order": "desc", "limit": 2}))
    (read,) = await world.events("audit.*", after=head)
    assert read.type == "audit.read"
    assert read.event.question == "events"
    assert read.event.count == len(found["items"])
    assert read.event.unsealed is True
    assert read.event.parameters == {"order": "desc", "limit": "2"}
    assert read.actor.kind == "client"
    assert set(read.actor.credential or {}) == {"grant_id"}
    assert ADDRESS not in str(read)
    newest = ok(await seeing.get(f"/audit/events/{read.position}"))
    assert newest["data"]["address"] == ADDRESS


async def test_whoever_sees_nothing_personal_is_not_said_to_have(world: World) -> None:
    blind = await administering(world, "audit:read")
    head = await world.head()
    ok(await blind.get("/audit/events"))
    (read,) = await world.events("audit.*", after=head)
    assert read.event.unsealed is False


async def test_a_secret_in_the_place_of_an_id_is_not_recorded(world: World) -> None:
    asking = await administering(world)
    token = await world.token("orders")
    ok(await asking.get("/audit/events", params={"grant_id": token}))
    assert token[10:] not in str(await world.events("audit.*"))


async def test_who_may_not_read_reads_nothing_and_leaves_no_reading(world: World) -> None:
    other = await administering(world, "orders")
    head = await world.head()
    routes = ("/audit/events", "/audit/events/1", "/audit/state/server", "/audit/export", "/audit/stream")
    for path in routes:
        problem(await other.get(path), 403)
        problem(await world.client.get(path), 401)
    for path in ("/audit/token-history", "/audit/token-state"):
        problem(await other.post(path, json={"sha256": "0" * 64}), 403)
        problem(await world.client.post(path, json={"sha256": "0" * 64}), 401)
    assert await world.events("audit.*", after=head) == ()


async def test_a_disabled_clients_events_name_it_still(world: World) -> None:
    asking = await administering(world)
    shop = await world.register_client()
    await world.execute(any_command(client.stream(shop.client_id), client.disable))
    types = [each["type"] for each in await everything(asking, client_id=shop.client_id)]
    assert types == ["client.registered", "client.secret_issued", "client.disabled"]


async def test_who_watches_is_told_of_once_in_five_minutes(world: World) -> None:
    admin = await administering(world, "audit:read", "audit:personal", "leaks:read")
    before = await world.head()
    for _ in range(3):
        ok(await admin.get("/audit/overview?watch=1"))
        ok(await admin.get("/audit/events?watch=1&limit=1&type=client.*"))
        ok(await admin.get("/leaks/incidents?watch=1"))
    watched = await world.events("audit.*", after=before)
    assert [(each.type, each.event.question) for each in watched] == [
        ("audit.watched", "overview"),
        ("audit.watched", "events"),
        ("audit.watched", "incidents"),
    ]
    assert {each.event.seconds for each in watched} == {300}
    # Whoever asks something else, or asks in another way, is told of; and so is what tells no two questions apart.
    ok(await admin.get("/audit/events?watch=1&limit=1&type=scope.*"))
    ok(await admin.post("/audit/find?watch=1", json={"text": "a"}))
    ok(await admin.post("/audit/find?watch=1", json={"text": "b"}))
    other = await administering(world, "audit:read")
    ok(await other.get("/audit/overview?watch=1"))
    world.clock.advance(301)
    ok(await admin.get("/audit/overview?watch=1"))
    later = [(each.type, each.event.question) for each in await world.events("audit.*", after=watched[-1].position)]
    assert later == [
        ("audit.watched", "events"),
        ("audit.read", "find"),
        ("audit.read", "find"),
        ("audit.watched", "overview"),
        ("audit.watched", "overview"),
    ]


async def test_who_watches_is_told_of_more_and_of_another_page(world: World) -> None:
    admin = await administering(world, "audit:read", "leaks:read", "leaks:write")
    for secret in ("a", "b"):
        shop = await world.register_client(secret)
        ok(await admin.post("/leaks/contain", json={"client_id": shop.client_id}))
    before = await world.head()
    first = ok(await admin.get("/leaks/incidents?watch=1&limit=1"))
    for _ in range(2):
        ok(await admin.get("/leaks/incidents?watch=1&limit=2"))
    ok(await admin.get("/leaks/incidents", params={"watch": "1", "limit": 2, "after": first["next"]}))
    told = [(each.type, each.event.count) for each in await world.events("audit.*", after=before)]
    assert told == [("audit.watched", 1), ("audit.watched", 2), ("audit.read", 1)]
