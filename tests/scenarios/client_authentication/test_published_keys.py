"""Clients whose keys are at an address of theirs: fetched, kept for a while, and fetched again when they changed."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.http.fetched_documents import AGAIN_AFTER, LEAST_FRESH, MOST_FRESH, USUALLY_FRESH, freshness
from api.http.outgoing_requests import FetchedResponse
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.assertions import Signer, made_key, public, register_signer, signed
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


class Publisher:
    """Somebody who publishes keys. `status` and `fields` are those of the answers, `asked` counts them."""

    def __init__(self) -> None:
        self.body: Any = {"keys": [public(made_key("ES256"))]}
        self.status = 200
        self.fields: dict[str, str] = {}
        self.asked = 0
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                body = publisher.body if isinstance(publisher.body, bytes) else json.dumps(publisher.body).encode()
                self.send_response(publisher.status)
                for name, value in publisher.fields.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/jwks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    opened = Publisher()
    yield opened
    opened.close()


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"allow_private_urls": True, "throttle": False}


async def register(world: World, publisher: Publisher) -> Signer:
    await world.define_scopes("orders")
    admin = await administering(world)
    body = {
        "client_name": "Signer",
        "grant_types": ["client_credentials"],
        "scope": "orders",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": publisher.url,
    }
    made = ok(await admin.post("/admin/clients", json=body), 201)
    assert (made["jwks_uri"], made["jwks"], made["client_secret"]) == (publisher.url, None, None)
    return Signer(world, made["client_id"])


def refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_keys_are_fetched_once_for_a_while(world: World, publisher: Publisher) -> None:
    signer = await register(world, publisher)
    assert publisher.asked == 0
    ok(await signer.ask())
    ok(await signer.ask())
    assert publisher.asked == 1
    world.clock.advance(USUALLY_FRESH + 1)
    ok(await signer.ask())
    assert publisher.asked == 2


async def test_a_key_that_leaked_from_another_is_none(world: World, publisher: Publisher) -> None:
    leaked = await register_signer(world, made_key("ES256", "leaked"))
    ok(await leaked.ask())
    admin = await administering(world)
    assert (await admin.delete(f"/admin/clients/{leaked.client_id}")).status_code == 204
    ok(await admin.post("/leaks/contain", json={"secret": leaked.key.as_pem(private=True).decode()}))
    signer = await register(world, publisher)
    publisher.body, signer.key = {"keys": [public(leaked.key)]}, leaked.key
    refused(await signer.ask())
    signer.key = made_key("ES256")
    publisher.body["keys"].append(public(signer.key))
    world.clock.advance(USUALLY_FRESH + 1)
    ok(await signer.ask())


async def test_a_new_key_is_found(world: World, publisher: Publisher) -> None:
    signer = await register(world, publisher)
    ok(await signer.ask())
    publisher.body = {"keys": [public(made_key("EdDSA"))]}
    world.clock.advance(AGAIN_AFTER + 1)
    anew = Signer(world, signer.client_id, "EdDSA", made_key("EdDSA"))
    ok(await anew.ask(anew.assertion(jti="another")))
    assert publisher.asked == 2
    refused(await signer.ask())


async def test_whoever_tries_keys_does_not_make_us_ask(world: World, publisher: Publisher) -> None:
    signer = await register(world, publisher)
    ok(await signer.ask())
    thief = Signer(world, signer.client_id, "ES256", made_key("ES256", "thief"))
    for _ in range(5):
        refused(await thief.ask())
    assert publisher.asked == 1
    world.clock.advance(AGAIN_AFTER + 1)
    for _ in range(5):
        refused(await thief.ask())
    assert publisher.asked == 2


async def test_known_keys_serve_while_there_is_no_answer(world: World, publisher: Publisher) -> None:
    signer = await register(world, publisher)
    ok(await signer.ask())
    publisher.status = 500
    world.clock.advance(USUALLY_FRESH + 1)
    ok(await signer.ask())
    assert publisher.asked == 2


BAD: dict[str, tuple[Any, int, dict[str, str]]] = {
    "no answer": (b"", 500, {}),
    "a redirect": (b"", 302, {"location": "/elsewhere"}),
    "no JSON": (b"{", 200, {}),
    "no UTF-8": (b'{"keys": ["\xff"]}', 200, {}),
    "no set": ([], 200, {}),
    "no list": ({"keys": {}}, 200, {}),
    "no objects": ({"keys": [None, 1, "x", []]}, 200, {}),
    "nested too deeply": (b'{"keys":' + b"[" * 20_000, 200, {}),
    "too long": (b'{"keys": []}' + b" " * 70_000, 200, {}),
    "symmetric": ({"keys": [{"kty": "oct", "k": "AAAA"}]}, 200, {}),
    "weak": ({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}, 200, {}),
    "private": ({"keys": [dict(made_key("ES256").as_dict(private=True))]}, 200, {}),
    "off its curve": ({"keys": [public(made_key("ES256")) | {"y": "A" * 43}]}, 200, {}),
}


@cases("bad", BAD.values(), ids=BAD)
async def test_what_are_no_keys(world: World, publisher: Publisher, bad: tuple[Any, int, dict[str, str]]) -> None:
    signer = await register(world, publisher)
    publisher.body, publisher.status, publisher.fields = bad
    refused(await signer.ask())


async def test_one_bad_key_spoils_no_others(world: World, publisher: Publisher) -> None:
    signer = await register(world, publisher)
    bad = [None, {"kty": "oct"}, public(made_key("ES256")) | {"x": 5}, public(made_key("RS256")) | {"use": "enc"}]
    publisher.body = {"keys": [*bad, public(made_key("ES256"))]}
    ok(await signer.ask())
    ok(await signer.ask(signed(signer.header(kid=None), signer.claims(), signer.key)))


class TestInside:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"throttle": False}

    async def test_our_own_network_is_not_asked(self, world: World, publisher: Publisher) -> None:
        signer = await register(world, publisher)
        refused(await signer.ask())
        assert publisher.asked == 0
        (failed,) = await world.events("client.authentication_failed")
        assert failed.event.reason == "keys_unavailable"


async def test_an_address_takes_the_place_of_keys(world: World, publisher: Publisher) -> None:
    signer = await register(world, publisher)
    admin, path = await administering(world), f"/admin/clients/{signer.client_id}"
    keys = {"keys": [public(made_key("ES256"))]}
    changed = ok(await admin.patch(path, json={"jwks": keys}))
    assert (changed["jwks"], changed["jwks_uri"]) == (keys, None)
    changed = ok(await admin.patch(path, json={"jwks_uri": publisher.url}))
    assert (changed["jwks"], changed["jwks_uri"]) == (None, publisher.url)
    both = {"jwks": keys, "jwks_uri": publisher.url}
    problem(await admin.patch(path, json=both), 400, field="jwks_uri")
    problem(await admin.patch(path, json={"jwks_uri": None}), 400, field="jwks")
    for uri in ("ftp://prints.example/jwks", "http://prints.example/jwks", "https://prints.example/#x", "jwks"):
        problem(await admin.patch(path, json={"jwks_uri": uri}), 400, field="jwks_uri")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", USUALLY_FRESH),
        ("max-age=300", 300),
        ("public, max-age=300, must-revalidate", 300),
        ('max-age="300"', 300),
        ("max-age=1", LEAST_FRESH),
        ("max-age=99999999", MOST_FRESH),
        ("no-store", LEAST_FRESH),
        ("no-cache, max-age=300", LEAST_FRESH),
        ("s-max-age=5", USUALLY_FRESH),
        ("max-age=x", USUALLY_FRESH),
    ],
)
async def test_how_long_an_answer_is_kept(said: str, seconds: int) -> None:
    assert freshness(FetchedResponse(200, {"cache-control": said}, b"")) == seconds
