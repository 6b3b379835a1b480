"""Several issuers on one server: requests go by `Host` alone, and nothing of one is ever seen by another."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from api.background import Background
from api.issuers.caretaker import Caretaker
from api.issuers.registry import IssuerPlace, keyring_of, settings_of
from cli.issuers import prepare_place
from commands import clients, signing_keys
from commands.permissions import operator
from domain import client
from domain.client import Registration
from domain.event import Recorded
from eventstore.database.engines import file_of
from eventstore.database.moving import move
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway, Moved, WentBack
from security.keyring import Keyring
from security.tokens import Kind, digest
from tests.scenarios.administration import EVERYTHING, ok
from tests.scenarios.asking import Scene
from tests.scenarios.event_source import EventSource
from tests.scenarios.http.endpoints import endpoints
from tests.scenarios.openid.relying_party import set_openid
from tests.scenarios.server.issuers import Issuers, open_issuers
from tests.scenarios.world import SYSTEM, Client, World

pytestmark = pytest.mark.anyio

PUBLIC = ("/.well-known/openid-configuration", "/schema/openapi.json", "/.well-known/oauth-protected-resource")

MADE = re.compile(r"(?<=[?&])(state|nonce|code_challenge)=[^&]*")
"""Parameters of an address that are made anew for every request."""

SAME = "the-same-client-id"


@pytest.fixture(scope="module")
async def issuers(module_database_url: str, tmp_path_factory: Any, keyring: Keyring) -> AsyncIterator[Issuers]:
    directory = tmp_path_factory.mktemp("issuers")
    async with open_issuers(module_database_url, directory, keyring, throttle=False) as found:
        yield found


async def events(world: World, after: int = 0) -> list[Recorded]:
    return list(await world.events(after=after))


async def twin(worlds: tuple[World, ...], **attributes: Any) -> list[Client]:
    """The same client in each: the same id, secret and name."""
    secret, made = clients.mint_secret(worlds[0].services.format)
    given = {"grant_types": ("client_credentials",), "scope": ("orders", "introspect")} | attributes
    asked = client.Attributes(client_name="Twin", token_endpoint_auth_method="client_secret_basic", **given)
    for world in worlds:
        await world.define_scopes(*given["scope"])
        registration = Registration(attributes=asked, secret=made)
        await world.execute(clients.register(SAME, registration, issuer=world.settings.issuer, by=operator))
    return [Client(SAME, secret.reveal(), "") for _ in worlds]


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """What an answer says, less what differs from one request to the next."""
    body = answer.json() if "json" in answer.headers.get("content-type", "") else None
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ("request_id", "at", "checks")}
    kept = ("www-authenticate", "content-type", "location", "access-control-allow-origin")
    fields = (answer.headers.get(each, "") for each in kept)
    return answer.status_code, body, tuple(MADE.sub("", field) for field in fields)


@pytest.mark.parametrize("way", [("a", "b"), ("b", "home"), ("home", "a")], ids="-".join)
async def test_no_route_knows_what_another_issuer_gave_out(issuers: Issuers, way: tuple[str, str]) -> None:
    here, there = (getattr(issuers, name) for name in way)
    # Stands in all that is made here, and must come up nowhere else.
    mark = "only" + "to".join(way)
    person = await here.register_person(mark.lower())
    shop = await here.register_client(
        f"{mark} Shop", grant_types=("client_credentials",), allowed_origins=("https://only.example",)
    )
    token, unknown = await here.token(*EVERYTHING), there.services.format.mint(Kind.ACCESS_TOKEN).reveal()
    browser = await Scene(here, person, shop).signed_in()
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    named = {
        "client_id": shop.client_id,
        "account_id": person.account_id,
        "realm": "platform",
        "slug": "client",
        "name": "orders",
        "position": "3",
        "stream": f"client:{shop.client_id}",
        "grant_id": (await here.events("grant.tokens_issued"))[-1].stream.partition(":")[2],
        "sha256": (await here.events("grant.tokens_issued"))[-1].event.access_token,
    }
    before, reached = await here.head(), 0
    theirs, mine = there.caller(headers={"origin": "https://only.example"}), here.caller()
    for endpoint in endpoints():
        if endpoint.path in ("/audit/stream", "/health/ready"):
            # The one never ends, and the other tells of this moment.
            continue
        names = {part[1:-1].partition(":")[0] for part in endpoint.path.split("/") if part.startswith("{")}
        path = endpoint.path.format(**{name: named.get(name, "nobody") for name in names})

        def given(raw: str) -> dict[str, Any]:
            return {"headers": {"authorization": f"Bearer {raw}", "cookie": cookies}}  # noqa: B023

        answer = await theirs.request(endpoint.method, path, **given(token))
        assert mark not in answer.text, str(endpoint)
        assert told(answer) == told(await theirs.request(endpoint.method, path, **given(unknown))), str(endpoint)
        if endpoint.method == "GET" and endpoint.scope is not None:
            reached += (await mine.get(path, **given(token))).status_code == 200
    assert reached > 10
    # Nobody of the one log has heard of it but for what was asked there, which only reads.
    assert {each.type.partition(".")[0] for each in await events(here, before)} <= {"audit", "usage"}
    assert all(mark not in str(each) for each in await events(there))
    await theirs.aclose()
    await mine.aclose()


async def test_alike_clients_of_two_issuers_are_strangers(issuers: Issuers) -> None:
    a, b = issuers.a, issuers.b
    one, other = await twin((a, b))
    assert (one.client_id, one.secret) == (other.client_id, other.secret)
    issued = {
        world: ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=one.auth))
        for world in (a, b)
    }

    async def active(world: World, at: World) -> bool:
        asked = {"token": issued[world]["access_token"]}
        found: bool = ok(await at.client.post("/oauth/introspect", data=asked, auth=one.auth))["active"]
        return found

    assert await active(a, a)
    assert await active(b, b)
    assert not await active(a, b)
    assert not await active(b, a)
    # To revoke it elsewhere, to end the client elsewhere, or to report it there does nothing here.
    raw = issued[a]["access_token"]
    await b.client.post("/oauth/revoke", data={"token": raw}, auth=one.auth)
    await b.client.post("/credentials/revoke", json={"credentials": [raw]})
    await b.execute(clients.disable(SAME))
    assert await active(a, a)
    refused = await b.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=one.auth)
    assert refused.status_code == 401
    ok(await a.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=one.auth))


async def test_a_person_signs_in_with_one_issuer_alone(issuers: Issuers) -> None:
    a, b = issuers.a, issuers.b
    one, other = await set_openid(a), await set_openid(b)
    assert one.person.typed == other.person.typed
    browser = await one.signed_in()
    strange = b.browser()
    for name, value in browser.cookies.items():
        strange.client.cookies.set(name, value, domain="b.example")
    # The session of the one is none with the other, which asks for the password.
    assert 'type="password"' in (await strange.open(other.openid())).text
    answer = await one.redeem(await one.approved(browser, one.openid(scope="openid offline_access")))
    assert (await one.signed(answer))["iss"] == "https://a.example"
    asked = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    assert (await b.client.post("/oauth/token", data=asked, auth=other.shop.auth)).status_code == 400
    assert (await b.client.get("/oauth/userinfo", headers=bearer(answer))).status_code == 401
    ok(await a.client.get("/oauth/userinfo", headers=bearer(answer)))
    ok(await a.client.post("/oauth/token", data=asked, auth=one.shop.auth))
    keys = [ok(await world.client.get("/.well-known/jwks.json"))["keys"] for world in (issuers.home, a, b)]
    kids = [each["kid"] for found in keys for each in found]
    assert len(kids) == len(set(kids)) > 0


def bearer(answer: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {answer['access_token']}"}


async def test_each_tells_of_itself(issuers: Issuers) -> None:
    for world in (issuers.home, issuers.a, issuers.b):
        issuer = world.settings.issuer
        others = {each.settings.issuer for each in (issuers.home, issuers.a, issuers.b)} - {issuer}
        for path in (
            "/.well-known/openid-configuration",
            "/schema/openapi.json",
            "/.well-known/oauth-protected-resource",
        ):
            text = (await world.client.get(path)).text
            assert issuer in text
            assert not [each for each in others if f'{each}"' in text or f"{each}/" in text], path
    # The process is the operators' matter, who come by the settings' issuer.
    assert (await issuers.home.caller("127.0.0.1").get("/metrics")).status_code == 200
    assert (await issuers.a.caller("127.0.0.1").get("/metrics")).status_code == 404
    issuers.a.services.metrics.write(0)
    numbers = (await issuers.home.operators.get("/metrics")).text
    assert 'grantlog_issuer_requests_total{issuer="https://a.example",status="2xx"}' in numbers


async def test_error_pages_look_like_their_issuers(issuers: Issuers) -> None:
    await issuers.home.define_role("platform", "member", "orders", default=True)
    bearer = {"authorization": f"Bearer {await issuers.home.token('clients:read', 'clients:write', 'people:write')}"}
    ok(await issuers.home.client.put("/admin/branding/platform", json={"name": "Paperboat"}, headers=bearer))

    async def shown(world: World) -> str:
        asked = world.client.get("/account/nothing?realm=platform", headers={"accept": "text/html"})
        return (await asked).text

    assert "Paperboat" in await shown(issuers.home)
    for world in (issuers.a, issuers.b):
        assert "Paperboat" not in await shown(world)


@pytest.mark.parametrize(
    "host",
    ["c.example", "a.example:443", "A.example", "a.example.", "", None, "login.a.example", "a.example@b.example"],
)
async def test_a_host_that_is_none_is_misdirected(issuers: Issuers, host: str | None) -> None:
    before = [await world.head() for world in (issuers.home, issuers.a, issuers.b)]
    for path in ("/oauth/token", "/.well-known/openid-configuration"):
        request = issuers.a.client.build_request("POST" if "token" in path else "GET", path)
        request.headers["x-forwarded-host"] = "a.example"
        request.headers["forwarded"] = "host=a.example"
        request.headers["origin"] = "https://only.example"
        del request.headers["host"]
        if host is not None:
            request.headers["host"] = host
        answer = await issuers.a.client.send(request)
        # What is no host name at all is malformed.
        assert answer.status_code == (400 if host is not None and ("@" in host or not host) else 421), answer.text
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-request-id"]
    assert [await world.head() for world in (issuers.home, issuers.a, issuers.b)] == before


async def test_all_issuers_together_hold_back_so_many_callers(issuers: Issuers) -> None:
    ready = [(await issuers.hosts.open.get(issuers.entry(world))).ready for world in (issuers.a, issuers.b)]
    loads = [issuers.hosts.home.load, *[(await each).load for each in ready]]
    limit = issuers.home.settings.connections // 2
    waiting = [asyncio.create_task(loads[number % 3].hold_back()) for number in range(limit)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    further = [asyncio.create_task(load.hold_back()) for load in loads]
    await asyncio.sleep(0)
    told_at_once = [each.done() for each in further]
    for each in (*waiting, *further):
        each.cancel()
    await asyncio.gather(*waiting, *further, return_exceptions=True)
    assert told_at_once == [True, True, True]


async def test_a_disabled_issuer_is_served_no_longer_and_again(issuers: Issuers) -> None:
    entry, world = issuers.entry(issuers.b), issuers.b
    issuers.registry.put(replace(entry, standing="disabled"))
    await until(lambda: issuers.hosts.open.opened(entry.id) is None)
    assert (await world.client.get("/.well-known/jwks.json")).status_code == 421
    # Nor does anybody else answer under its name when no further issuer is left, or the file has gone.
    other = issuers.entry(issuers.a)
    issuers.registry.put(replace(other, standing="disabled"))
    kept = issuers.home.settings.issuers_file
    assert kept is not None
    for gone in (False, True):
        if gone:
            kept.rename(kept.with_suffix(".gone"))
        issuers.hosts.read()
        assert (await world.client.get("/.well-known/jwks.json")).status_code == 421
        assert (await world.client.post("/oauth/token")).status_code == 421
        ok(await issuers.home.client.get("/.well-known/jwks.json"))
    kept.with_suffix(".gone").rename(kept)
    issuers.registry.put_all((other, entry))
    issuers.hosts.read()
    ok(await world.client.get("/.well-known/jwks.json"))
    # Its log was closed and is open again, and goes on.
    found = await issuers.world(world)
    assert found.services is not world.services
    assert await found.head() > 0


async def test_what_is_due_of_an_idle_issuer_is_done_by_a_visit(issuers: Issuers) -> None:
    entry, open_issuers = issuers.entry(issuers.a), issuers.hosts.open
    a = await issuers.world(issuers.a)
    made = await signing_keys.make()
    await a.execute(signing_keys.rotate(made, lead=60), then=signing_keys.keeping(a.services.ledger.vault, made))
    await open_issuers.close()
    assert len(open_issuers) == 0
    a.clock.advance(61)
    await Caretaker(open_issuers, lambda: (entry,)).visit(entry)
    # Nobody has asked for it, so it does not stay open.
    await open_issuers.close_idle()
    assert len(open_issuers) == 0
    found = await issuers.world(a)
    assert "signing_key.activated" in [each.type for each in (await found.events())[-4:]]


async def test_a_log_that_was_removed_is_noticed_unasked(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_issuers(sqlite_url, tmp_path, keyring) as issuers:
        b = await issuers.world(issuers.b)
        Path(f"{file_of(b.settings.database_url)}-wal").unlink()
        with pytest.raises(WentBack, match="-wal beside its database was removed"):
            await Background(b.services).go_round()


async def test_a_log_moves_while_it_is_served(issuers: Issuers, keyring: Keyring, tmp_path: Path) -> None:
    """No request fails; and a server that has not heard of it accepts nothing any more, over its open connections."""
    entry, settings = issuers.entry(issuers.b), issuers.home.settings
    b = await issuers.world(issuers.b)
    shop = await b.register_client("Mover", grant_types=("client_credentials",), scope=("introspect",))
    granting = {"grant_type": "client_credentials"}
    kept = ok(await b.client.post("/oauth/token", data=granting, auth=shop.auth))["access_token"]
    own = keyring_of(keyring, entry)
    unaware = await Ledger.open(b.settings.database_url, own, b.clock, read_threads=1)
    assert await unaware.validation.find(digest(kept)) is not None
    place = IssuerPlace(schema="elsewhere")
    if b.settings.database_url.startswith("sqlite"):
        place = IssuerPlace(database_url=f"sqlite:///{tmp_path / 'elsewhere.db'}")
    target = settings_of(settings, entry, place)
    statuses, ended = [], asyncio.Event()

    async def asking() -> None:
        while not ended.is_set():
            answer = await b.client.post("/oauth/token", data=granting, auth=shop.auth)
            statuses.append(answer.status_code)
            raws.append(answer.json().get("access_token"))
            await asyncio.sleep(0.01)

    raws: list[str] = []
    asked = asyncio.create_task(asking())
    await until(lambda: len(statuses) > 3)
    issuers.registry.put(replace(entry, moving_to=place))
    await until(lambda: issuers.hosts.open.opened(entry.id) is None)
    await asyncio.to_thread(prepare_place, target, place)
    owners = (b.settings.migration_database_url, target.migration_database_url)
    await asyncio.to_thread(move, *owners, lambda position: None, lambda done, goal: None)
    issuers.registry.put(replace(entry, place=place))
    there = len(statuses)
    await until(lambda: len(statuses) > there + 3)
    ended.set()
    await asked
    assert set(statuses) == {200}
    moved = await issuers.world(issuers.b)
    assert moved.settings.database_url == target.database_url
    for raw in (kept, *raws):
        assert ok(await b.client.post("/oauth/introspect", data={"token": raw}, auth=shop.auth))["active"]
    # What is revoked in the new place is refused in the old one, where nothing can be asked or written.
    await b.client.post("/oauth/revoke", data={"token": kept}, auth=shop.auth)
    for _ in range(2):
        with pytest.raises(DatabaseAway):
            await unaware.validation.find(digest(kept))
        with pytest.raises(DatabaseAway):
            await unaware.execute(clients.disable(shop.client_id), origin=SYSTEM)
    await unaware.close()
    with pytest.raises(Moved):
        await Ledger.open(b.settings.database_url, own, b.clock, read_threads=1)
    with pytest.raises(Moved):
        await asyncio.to_thread(move, *owners, lambda position: None, lambda done, goal: None)


async def test_who_follows_a_log_that_is_closed_is_sent_away(issuers: Issuers) -> None:
    a = await issuers.world(issuers.a)
    async with EventSource(a, "/audit/stream", await a.token("audit:read")) as stream:
        assert stream.started["status"] == 200
        kept, other = issuers.hosts.open, issuers.entry(issuers.b)
        closing = asyncio.create_task(kept.close_others({other.id: other}))
        # Long before requests would be waited for no longer.
        while await stream.block() is not None:
            pass
        await closing
        assert kept.opened(issuers.entry(a).id) is None
    ends = [each.type for each in await (await issuers.world(a)).events()]
    assert ends.index("audit.stream_closed") > ends.index("audit.stream_opened")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)
