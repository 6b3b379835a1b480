"""Whom administrators have told of what happens: webhooks, chat rooms and mailboxes, by the API."""

import asyncio
import http.server
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.notifications.delivering import Notifier
from security.clock import ManualClock
from security.keyring import Keyring
from tests.api.notifications.receiver import SECRET, Receiver, receiving
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World, open_world

pytestmark = pytest.mark.anyio

PATH = "/admin/notifications/destinations"
WITHIN = 1_000
"""Looks, of 10 ms each, until a test gives a message up."""


@pytest.fixture
async def world(database_url: str, tmp_path: Path, keyring: Keyring, clock: ManualClock) -> AsyncIterator[World]:
    async with open_world(database_url, tmp_path, keyring, clock, allow_private_urls=True) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


class Room:
    """A chat room that takes what incoming webhooks say."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []


@contextmanager
def room() -> Iterator[tuple[Room, str]]:
    found = Room()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.said.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield found, f"http://127.0.0.1:{server.server_address[1]}/services/T0/B0/hook-of-the-room"
    finally:
        server.shutdown()
        server.server_close()


async def told(world: World, name: str, taken: list[Any]) -> None:
    """Returns once something has come; the server's own rounds may be faster than this one."""
    notifier = Notifier(world.services.ledger, world.settings)
    await notifier.distribute()
    await notifier.deliver(name)
    for _ in range(WITHIN):
        if taken:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing came")


async def leak(admin: httpx.AsyncClient) -> None:
    body = {"client_name": "Leaky & Sons", "grant_types": ["client_credentials"]}
    client = ok(await admin.post("/admin/clients", json=body), 201)
    ok(await admin.post("/leaks/contain", json={"client_id": client["client_id"], "evidence": "ada@example.test"}))


async def state_of_telling(admin: httpx.AsyncClient, incident_id: str) -> tuple[str, str, str]:
    """What an incident says of the one notification of it, once that was taken: its row goes after the answer."""
    for _ in range(WITHIN):
        (found,) = ok(await admin.get(f"/leaks/incidents/{incident_id}/told"))["items"]
        if found["state"] != "waiting":
            break
        await asyncio.sleep(0.01)
    return found["destination"], found["type"], found["state"]


async def test_a_webhook_is_told_with_the_key_that_was_made_for_it(world: World, receiver: Receiver) -> None:
    admin = await administering(world)
    before = await world.head()
    made = ok(await admin.put(f"{PATH}/pager", json={"url": receiver.url, "types": ["incident.contained"]}), 201)
    assert made["host"] == "127.0.0.1"
    assert made["managed_by"] == "api"
    key = made["signing_key"]
    (put,) = await world.events("destination.*", after=before)
    assert receiver.url not in str(put)
    assert key not in str(put)
    shown = ok(await admin.get(f"{PATH}/pager"))
    assert shown == {name: value for name, value in made.items() if name != "signing_key"}
    with receiving(key) as other:
        ok(await admin.put(f"{PATH}/pager", json={"url": other.url, "types": ["incident.contained"]}))
        await leak(admin)
        await told(world, "pager", other.taken)
        (message,) = other.taken
        assert message["type"] == "incident.contained"
        assert "ada@example.test" not in json.dumps(message)
        assert other.forged == 0
    assert receiver.requests == []


async def test_security_team_hears_of_administrators_and_origins(world: World, receiver: Receiver) -> None:
    """Not of people of the platform, nor of a client that changes its name."""
    admin = await administering(world)
    body = {"url": receiver.url, "signing_key": SECRET, "types": ["security"]}
    assert ok(await admin.put(f"{PATH}/soc", json=body), 201)["types"] == ["security"]
    shop = await world.register_client("Shop")
    await world.register_person("paul")
    await world.define_role("platform", "shopper", "orders")
    ok(await admin.patch(f"/admin/clients/{shop.client_id}", json={"client_name": "Prints"}))
    ada = await world.register_person("ada", realm="administration")
    ok(await admin.put("/admin/roles/administration/reader", json={"scopes": ["clients:read"]}), 201)
    ok(await admin.patch(f"/admin/people/{ada.account_id}", json={"roles": ["reader"]}))
    ok(await admin.patch(f"/admin/clients/{shop.client_id}", json={"allowed_origins": ["https://shop.example"]}))
    ok(await admin.put("/admin/realms/partners", json={"registration": "open"}), 201)
    expected = ["account.registered", "role.defined", "account.roles_changed", "client.updated", "realm_policy.changed"]
    notifier = Notifier(world.services.ledger, world.settings)
    for _ in range(WITHIN):
        await notifier.distribute()
        await notifier.deliver("soc")
        heard = [each["type"] for each in receiver.taken]
        if len(heard) >= len(expected):
            break
        await asyncio.sleep(0.01)
    assert sorted(heard) == sorted(expected)
    assert not [each for each in receiver.taken if "ada" in json.dumps(each["data"]["data"])]


async def test_a_key_of_ones_own_signs(world: World, receiver: Receiver) -> None:
    admin = await administering(world)
    body = {"url": receiver.url, "signing_key": SECRET, "types": ["server.*"]}
    made = ok(await admin.put(f"{PATH}/pager", json=body), 201)
    assert "signing_key" not in made
    ok(await admin.post("/leaks/freeze"))
    await told(world, "pager", receiver.taken)
    assert receiver.taken[0]["type"] == "server.issuance_suspended"
    assert receiver.forged == 0


async def test_a_chat_room_hears_a_sentence_with_the_clients_name(world: World) -> None:
    admin = await administering(world)
    with room() as (found, url):
        ok(await admin.put(f"{PATH}/room", json={"kind": "slack", "url": url, "types": ["incident.identified"]}), 201)
        await leak(admin)
        await told(world, "room", found.said)
        (said,) = found.said
        assert set(said) == {"text"}
        assert "Leaky &amp; Sons" in said["text"]
        assert f"{world.settings.issuer}/console/incidents/" in said["text"]
        assert "hook-of-the-room" not in str(await world.events())
    (incident,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert await state_of_telling(admin, incident["incident_id"]) == ("room", "incident.identified", "delivered")


async def test_what_is_put_again_changes_nothing(world: World, receiver: Receiver) -> None:
    admin = await administering(world)
    body = {"url": receiver.url, "types": ["incident.*"]}
    ok(await admin.put(f"{PATH}/pager", json=body), 201)
    head = await world.head()
    again = ok(await admin.put(f"{PATH}/pager", json=body))
    assert "signing_key" not in again
    assert await world.events("destination.*", after=head) == ()
    ok(await admin.put(f"{PATH}/pager", json={"types": ["grant.*"]}))
    assert ok(await admin.get(f"{PATH}/pager"))["types"] == ["grant.*"]
    assert len(await world.events("destination.*", after=head)) == 1


async def test_what_fails_stands_among_the_deliveries(world: World, receiver: Receiver) -> None:
    admin = await administering(world)
    receiver.answers = [410]
    body = {"url": receiver.url, "signing_key": SECRET, "types": ["server.*"]}
    ok(await admin.put(f"{PATH}/pager", json=body), 201)
    ok(await admin.post("/leaks/freeze"))
    await told(world, "pager", receiver.requests)
    for _ in range(WITHIN):
        found = ok(await admin.get(f"{PATH}/pager/deliveries"))
        if found["items"] and found["items"][0]["state"] == "dead":
            break
        await asyncio.sleep(0.01)
    (delivery,) = found["items"]
    assert (delivery["type"], delivery["outcome"]) == ("server.issuance_suspended", "status 410")
    assert found["next"] is None
    assert ok(await admin.get(f"{PATH}/pager"))["dead"] == 1
    assert (await admin.delete(f"{PATH}/pager")).status_code == 204
    problem(await admin.get(f"{PATH}/pager/deliveries"), 404)
    problem(await admin.delete(f"{PATH}/pager"), 404)
    assert ok(await admin.get(PATH)) == {"items": [], "next": None}


@cases(
    ("name", "body", "field"),
    [
        ("Pager", {"url": "https://hooks.example.com/"}, "name"),
        ("pager", {}, "url"),
        ("pager", {"url": "ftp://hooks.example.com/"}, "url"),
        ("pager", {"url": "https://user@hooks.example.com/"}, "url"),
        ("pager", {"url": "https://hooks.example.com/ x"}, "url"),
        ("pager", {"url": "https://hooks.example.com/", "types": ["no.such"]}, "types"),
        ("pager", {"url": "https://hooks.example.com/", "types": []}, "types"),
        ("pager", {"url": "https://hooks.example.com/", "signing_key": "short"}, "signing_key"),
        ("pager", {"url": "https://hooks.example.com/", "to": ["a@b.example"]}, "to"),
        ("pager", {"kind": "slack", "url": "https://hooks.example.com/", "signing_key": SECRET}, "signing_key"),
        ("pager", {"kind": "mail", "to": ["a@b.example"]}, "kind"),
        ("pager", {"kind": "mail", "url": "https://hooks.example.com/"}, "url"),
        ("pager", {"kind": "pigeon"}, "kind"),
        ("pager", {"url": "https://hooks.example.com/", "name": "other"}, "name"),
    ],
)
async def test_what_nobody_can_be_told_at_is_refused_by_its_name(
    world: World, name: str, body: dict[str, Any], field: str
) -> None:
    admin = await administering(world)
    problem(await admin.put(f"{PATH}/{name}", json=body), 400, field=field)
    assert await world.events("destination.*") == ()


async def test_only_who_may_end_leaks_says_who_is_told(world: World) -> None:
    other = await administering(world, "leaks:read", "clients:write")
    for method, path in (("GET", PATH), ("PUT", f"{PATH}/x"), ("DELETE", f"{PATH}/x"), ("GET", f"{PATH}/x/deliveries")):
        problem(await other.request(method, path, json={} if method == "PUT" else None), 403)


async def test_a_test_message_tells_what_came_of_it(world: World, receiver: Receiver) -> None:
    admin = await administering(world)
    ok(
        await admin.put(f"{PATH}/pager", json={"url": receiver.url, "signing_key": SECRET, "types": ["incident.*"]}),
        201,
    )
    key = {"idempotency-key": "once"}
    told = ok(await admin.post(f"{PATH}/pager/test", headers=key))
    assert (told["delivered"], told["outcome"]) == (True, None)
    (taken,) = receiver.taken
    assert (taken["type"], taken["data"]["position"]) == ("destination.tested", told["position"])
    assert ok(await admin.post(f"{PATH}/pager/test", headers=key)) == told
    receiver.answers = [500]
    failed = ok(await admin.post(f"{PATH}/pager/test"))
    assert (failed["delivered"], failed["outcome"]) == (False, "status 500")
    assert len(receiver.requests) == 2
    assert len(await world.events("destination.tested")) == 2
    problem(await admin.post(f"{PATH}/nobody/test"), 404)


async def test_dead_letters_are_tried_once_more(world: World, receiver: Receiver) -> None:
    admin = await administering(world)
    ok(
        await admin.put(
            f"{PATH}/pager", json={"url": receiver.url, "signing_key": SECRET, "types": ["incident.reported"]}
        ),
        201,
    )
    receiver.answers = [410]
    await leak(admin)
    await told(world, "pager", receiver.requests)
    (dead,) = ok(await admin.get(f"{PATH}/pager/deliveries"))["items"]
    assert dead["state"] == "dead"
    head = await world.head()
    assert ok(await admin.post(f"{PATH}/pager/replay", json={"to": dead["position"] - 1})) == {"deliveries": 0}
    assert await world.events("destination.*", after=head) == ()
    assert ok(await admin.post(f"{PATH}/pager/replay", json={"from": dead["position"]})) == {"deliveries": 1}
    (replayed,) = await world.events("destination.*", after=head)
    assert (replayed.type, replayed.event.count) == ("destination.replayed", 1)
    await told(world, "pager", receiver.taken)
    assert ok(await admin.get(f"{PATH}/pager/deliveries"))["items"] == []
    problem(await admin.post(f"{PATH}/nobody/replay"), 404)
