"""Security events for receivers (OpenID Shared Signals Framework 1.0, CAEP, RISC), pushed (RFC 8935) and fetched (RFC
8936)."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from api.http.outgoing_requests import FetchedResponse, NoAnswer, NotAllowed
from api.signals.event_streams import ACKNOWLEDGED_MAXIMUM, POLL, STATUS, STREAMS, VERIFY
from api.signals.signal_delivery import ATTEMPTS, FETCHED_WITHIN, SignalNotifier, authorization_name
from commands import signals as commands
from domain.event import SECOND
from domain.factors.second_factor import (
    FactorRemoved,
    Factors,
    FactorsReset,
    Passkey,
    PasskeyCounterReversed,
    PasskeyEnrolled,
)
from domain.signals.event_stream import METHODS, SUPPORTED, URIS
from projections import signals
from security.vault import Stored
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import APPROVE, CONSENT, set_scene
from tests.scenarios.factors import enrol
from tests.scenarios.openid.relying_party import OpenId
from tests.scenarios.world import Client, World

URL = "https://shop.example/events"
PUSH = {"delivery": {"method": METHODS["push"], "endpoint_url": URL, "authorization_header": "Bearer theirs"}}
SCOPE = ("openid", "offline_access", "catalog:read", "ssf")
GRANTS = ("authorization_code", "refresh_token", "client_credentials")


class Receiving:
    """A receiver: its token, what was pushed to it, and what it answers next; after that it says 202."""

    def __init__(self, openid: OpenId, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.openid = openid
        self.world = openid.world
        self.caller = caller
        self.taken: list[str] = []
        self.next: list[int | Exception] = []
        self.asked = 0
        self.notifier = SignalNotifier(self.world.services)
        monkeypatch.setattr(self.world.services.outgoing, "send", self.send)

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", largest: int | None = 0
    ) -> FetchedResponse:
        assert (method, url, largest, headers["Authorization"]) == ("POST", URL, None, "Bearer theirs")
        assert headers["Content-Type"] == "application/secevent+jwt"
        self.asked += 1
        answer = self.next.pop(0) if self.next else 202
        if isinstance(answer, Exception):
            raise answer
        if answer < 300:
            self.taken.append(content.decode())
        return FetchedResponse(answer, {}, b"")

    async def create(self, **changes: Any) -> str:
        made = ok(await self.caller.post(STREAMS, json=PUSH | changes), 201)
        stream_id: str = made["stream_id"]
        return stream_id

    async def hear(self) -> list[dict[str, Any]]:
        """What is pushed to it now, each verified."""
        before = len(self.taken)
        await self.notifier.distribute()
        await self.notifier.deliver()
        return [await self.verified(token) for token in self.taken[before:]]

    async def fetch(self, **body: Any) -> dict[str, dict[str, Any]]:
        """What waits for it, by `jti`."""
        await self.notifier.distribute()
        sets = ok(await self.caller.post(POLL, json=body))["sets"]
        found = {jti: await self.verified(token) for jti, token in sets.items()}
        assert all(said["jti"] == jti for jti, said in found.items())
        return found

    async def verified(self, token: str) -> dict[str, Any]:
        keys = KeySet.import_key_set((await self.world.client.get("/.well-known/jwks.json")).json())
        signed = jws.deserialize_compact(token.encode(), keys, registry=jws.JWSRegistry(algorithms=["RS256"]))
        assert signed.headers()["typ"] == "secevent+jwt"
        said: dict[str, Any] = json.loads(signed.payload or b"")
        assert not {"sub", "exp"} & said.keys()
        return said


async def calling(world: World, client: Client, scope: str = "ssf") -> httpx.AsyncClient:
    data = {"grant_type": "client_credentials", "scope": scope}
    token = ok(await world.client.post("/oauth/token", data=data, auth=client.auth))["access_token"]
    return world.caller(headers={"authorization": f"Bearer {token}"})


@pytest.fixture
async def receiving(world: World, monkeypatch: pytest.MonkeyPatch) -> Receiving:
    scene = await set_scene(world)
    shop = await world.register_client(scope=SCOPE, grant_types=GRANTS)
    openid = OpenId(world, scene.person, shop)
    return Receiving(openid, await calling(world, shop), monkeypatch)


async def allow(receiving: Receiving) -> Any:
    """The person signs in at the receiver; the browser in which they are signed in."""
    openid = receiving.openid
    browser = await openid.signed_in()
    page = await browser.open(openid.openid(scope="openid offline_access"))
    await openid.id_token(await browser.press(page, CONSENT, APPROVE))
    return browser


def kinds(told: Any) -> list[str]:
    """Which events these are, by the ends of their names."""
    return sorted(uri.rpartition("/")[2] for each in told for uri in each["events"])


async def disable(receiving: Receiving) -> None:
    admin = await administering(receiving.world)
    ok(await admin.post(f"/admin/people/{receiving.openid.person.account_id}/disable"))


async def test_a_receiver_hears_of_its_people_under_their_names(receiving: Receiving) -> None:
    world = receiving.world
    stream_id = await receiving.create()
    await disable(receiving)
    assert await receiving.hear() == []
    admin = await administering(world)
    ok(await admin.post(f"/admin/people/{receiving.openid.person.account_id}/enable"))
    await allow(receiving)
    assert await receiving.hear() == []
    await disable(receiving)
    told = await receiving.hear()
    assert kinds(told) == ["account-disabled", "session-revoked"]
    at = world.clock.now() // SECOND
    for each in told:
        assert each["sub_id"] == {
            "format": "iss_sub",
            "iss": world.settings.issuer,
            "sub": receiving.openid.person.account_id,
        }
        assert (each["iss"], each["aud"]) == (world.settings.issuer, receiving.openid.shop.client_id)
        assert (each["iat"], list(each["events"].values())) == (at, [{"event_timestamp": at}])
    delivered = await world.events("event_stream.signal_delivered")
    assert {each.event.jti for each in delivered} == {each["jti"] for each in told}
    assert {each.event.event for each in delivered} == {"session_revoked", "account_disabled"}
    assert {each.stream for each in delivered} == {f"event_stream:{receiving.openid.shop.client_id}"}
    assert await receiving.hear() == []
    (created,) = await world.events("event_stream.created")
    assert created.event.stream_id == stream_id
    assert "theirs" not in str(await world.events())


async def test_a_sign_out_names_the_session(receiving: Receiving) -> None:
    await receiving.create()
    browser = await allow(receiving)
    elsewhere = await receiving.openid.signed_in()
    page = await elsewhere.open("/account/sign-out")
    await elsewhere.press(page, "/account/sign-out")
    # Of a session that the receiver has nothing from it learns nothing.
    assert await receiving.hear() == []
    page = await browser.open("/account/sign-out")
    await browser.press(page, "/account/sign-out")
    (told,) = await receiving.hear()
    assert kinds([told]) == ["session-revoked"]
    assert (told["sub_id"]["format"], told["sub_id"]["session"]["format"]) == ("complex", "opaque")
    assert told["sub_id"]["user"]["sub"] == receiving.openid.person.account_id


async def test_a_changed_password_and_what_was_contained(receiving: Receiving) -> None:
    world, account_id = receiving.world, receiving.openid.person.account_id
    await receiving.create()
    await allow(receiving)
    admin = await administering(world)
    path = f"/admin/people/{account_id}/password"
    assert (await admin.post(path, json={"password": "another long and unguessable one"})).status_code == 204
    told = await receiving.hear()
    assert kinds(told) == ["credential-change", "session-revoked"]
    (change,) = [
        each["events"][URIS["credential_change"]] for each in told if URIS["credential_change"] in each["events"]
    ]
    assert (change["credential_type"], change["change_type"]) == ("password", "update")
    # What it had is over, so that the next one is none of its business.
    ok(await admin.post("/leaks/contain", json={"account_id": account_id}))
    assert await receiving.hear() == []


async def test_factors_are_credentials(receiving: Receiving) -> None:
    world, person = receiving.world, receiving.openid.person
    await receiving.create(events_requested=[URIS["credential_change"]])
    await allow(receiving)
    await enrol(world, person)
    admin = await administering(world)
    ok(await admin.post(f"/admin/people/{person.account_id}/factors/reset"))
    changes = [each["events"][URIS["credential_change"]] for each in await receiving.hear()]
    told = [(each["credential_type"], each["change_type"]) for each in changes]
    assert told == [
        ("app", "create"),
        ("app", "delete"),
    ]


def test_passkeys_are_credentials() -> None:
    key = Passkey(
        factor_id="k",
        credential="c",
        rp_id="r",
        sign_count=0,
        enrolled_at=0,
        name=None,
        credential_id=None,
        public_key=None,
    )
    both = Factors(totp="t", passkeys=(key,))
    enrolled = PasskeyEnrolled(factor_id="k", credential="c", rp_id="r", sign_count=0)
    copied = PasskeyCounterReversed(factor_id="k", known=2, shown=1, auth_session="s")
    told = [
        [(kind, said["credential_type"], said.get("change_type")) for kind, said in commands._kinds(event, both)]
        for event in (enrolled, copied, FactorRemoved(factor_id="k"), FactorRemoved(factor_id="t"), FactorsReset())
    ]
    assert told == [
        [("credential_change", "passkey", "create")],
        [("credential_compromise", "passkey", None)],
        [("credential_change", "passkey", "delete")],
        [("credential_change", "app", "delete")],
        [("credential_change", "app", "delete"), ("credential_change", "passkey", "delete")],
    ]


async def test_containment_is_a_compromise(receiving: Receiving) -> None:
    await receiving.create(events_requested=[URIS["credential_compromise"], "urn:of:somebody:else"])
    await allow(receiving)
    admin = await administering(receiving.world)
    ok(await admin.post("/leaks/contain", json={"account_id": receiving.openid.person.account_id}))
    assert kinds(await receiving.hear()) == ["credential-compromise"]


async def test_who_may_see_everybody_hears_of_everybody(receiving: Receiving, monkeypatch: pytest.MonkeyPatch) -> None:
    world = receiving.world
    watch = await world.register_client("Watch", grant_types=("client_credentials",), scope=("ssf", "audit:personal"))
    watching = Receiving(receiving.openid, await calling(world, watch), monkeypatch)
    await watching.create()
    other = await world.register_person("olga", realm="administration")
    admin = await administering(world)
    ok(await admin.post(f"/admin/people/{other.account_id}/disable"))
    assert await watching.hear() == []
    await disable(receiving)
    assert kinds(await watching.hear()) == ["account-disabled", "session-revoked"]


async def test_events_wait_to_be_fetched(receiving: Receiving) -> None:
    world = receiving.world
    await receiving.create(delivery={"method": METHODS["poll"]})
    await allow(receiving)
    await disable(receiving)
    told = await receiving.fetch()
    assert kinds(told.values()) == ["account-disabled", "session-revoked"]
    assert await receiving.fetch() == told
    first, second = told
    answer = ok(await receiving.caller.post(POLL, json={"maxEvents": 1}))
    assert (len(answer["sets"]), answer["moreAvailable"]) == (1, True)
    error = {second: {"err": "invalid_key", "description": "unknown"}}
    assert await receiving.fetch(ack=[first, first, "unknown"], setErrs=error) == {}
    (delivered,) = await world.events("event_stream.signal_delivered")
    (failed,) = await world.events("event_stream.signal_failed")
    assert (delivered.event.jti, failed.event.jti) == (first, second)
    assert (failed.event.reason, failed.event.final) == ("refused", True)
    assert (delivered.actor.kind, delivered.actor.id) == ("client", receiving.openid.shop.client_id)


async def test_what_is_acknowledged_twice_at_once_was_taken_once(receiving: Receiving) -> None:
    await receiving.create(delivery={"method": METHODS["poll"]})
    await allow(receiving)
    await disable(receiving)
    taken = list(await receiving.fetch())
    assert taken
    body = {"ack": taken, "maxEvents": 0}
    for answer in await asyncio.gather(*(receiving.caller.post(POLL, json=body) for _ in range(4))):
        ok(answer)
    told = await receiving.world.events("event_stream.signal_delivered")
    assert sorted(each.event.jti for each in told) == sorted(taken)


async def test_what_nobody_fetches_is_given_up(receiving: Receiving) -> None:
    world = receiving.world
    await receiving.create(delivery={"method": METHODS["poll"]}, events_requested=[URIS["account_disabled"]])
    await allow(receiving)
    await disable(receiving)
    assert await receiving.hear() == []
    world.clock.advance(FETCHED_WITHIN // SECOND)
    await receiving.notifier.deliver()
    (failed,) = await world.events("event_stream.signal_failed")
    assert (failed.event.reason, failed.event.final) == ("not_fetched", True)
    assert await world.services.ledger.read(signals.number, receiving.openid.shop.client_id) == 0


async def test_a_deleted_receiver_leaves_nothing_behind(receiving: Receiving) -> None:
    world, client_id = receiving.world, receiving.openid.shop.client_id
    await receiving.create(events_requested=[URIS["account_disabled"]])
    await allow(receiving)
    await disable(receiving)
    await receiving.notifier.distribute()
    ledger = world.services.ledger

    async def wanted() -> Stored | None:
        return await ledger.read(lambda connection: ledger.vault.get_secret(connection, authorization_name(client_id)))

    assert await ledger.read(signals.number, client_id) == 1
    assert await wanted() is not None
    admin = await administering(world, "clients:write")
    ok(await admin.delete(f"/admin/clients/{client_id}"), 204)
    assert await ledger.read(signals.number, client_id) == 0
    assert await wanted() is None


@pytest.mark.parametrize(
    ("failure", "reason", "status"),
    [(NoAnswer("x"), "no_answer", None), (NotAllowed(), "private_address", None), (400, "refused", 400)],
)
async def test_a_push_is_tried_again_until_it_is_given_up(
    receiving: Receiving, failure: int | Exception, reason: str, status: int | None
) -> None:
    world = receiving.world
    await receiving.create(events_requested=[URIS["account_disabled"]])
    await allow(receiving)
    await disable(receiving)
    receiving.next = [failure] * ATTEMPTS
    for _ in range(ATTEMPTS):
        assert await receiving.hear() == []
        world.clock.advance(7 * 3600 * 2)
    first, last = await world.events("event_stream.signal_failed")
    assert (first.event.attempts, first.event.reason, first.event.status, first.event.final) == (
        1,
        reason,
        status,
        False,
    )
    assert (last.event.attempts, last.event.final, receiving.asked) == (ATTEMPTS, True, ATTEMPTS)
    assert await receiving.hear() == []


async def test_a_stream_waits_and_goes_on(receiving: Receiving) -> None:
    stream_id = await receiving.create(events_requested=[URIS["account_disabled"]])
    await allow(receiving)
    paused = {"stream_id": stream_id, "status": "paused", "reason": "a holiday"}
    assert ok(await receiving.caller.post(STATUS, json=paused)) == {"stream_id": stream_id, "status": "paused"}
    await disable(receiving)
    assert await receiving.hear() == []
    ok(await receiving.caller.post(STATUS, json=paused | {"status": "enabled"}))
    assert kinds(await receiving.hear()) == ["account-disabled"]
    ok(await receiving.caller.post(STATUS, json=paused | {"status": "disabled"}))
    assert ok(await receiving.caller.get(STATUS, params={"stream_id": stream_id}))["status"] == "disabled"
    changed = await receiving.world.events("event_stream.status_changed")
    assert [each.event.status for each in changed] == ["paused", "enabled", "disabled"]


async def test_a_stream_without_room_waits(receiving: Receiving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "AT_MOST", 1)
    await receiving.create(events_requested=[URIS["account_disabled"], URIS["session_revoked"]])
    await allow(receiving)
    receiving.next = [500]
    await disable(receiving)
    await receiving.notifier.distribute()
    await disable_and_enable(receiving)
    receiving.next = []
    told = await receiving.hear()
    assert "stream-updated" in kinds(told)
    (changed,) = await receiving.world.events("event_stream.status_changed")
    assert (changed.event.status, changed.event.overflowed) == ("paused", True)


async def disable_and_enable(receiving: Receiving) -> None:
    admin = await administering(receiving.world)
    account_id = receiving.openid.person.account_id
    ok(await admin.post(f"/admin/people/{account_id}/enable"))
    await allow(receiving)
    await disable(receiving)


async def test_a_verification_goes_the_same_way(receiving: Receiving) -> None:
    stream_id = await receiving.create()
    body = {"stream_id": stream_id, "state": "s t"}
    assert (await receiving.caller.post(VERIFY, json=body)).status_code == 204
    (told,) = await receiving.hear()
    assert told["events"] == {URIS["verification"]: {"state": "s t"}}
    assert told["sub_id"] == {"format": "opaque", "id": stream_id}
    answer = await receiving.caller.post(VERIFY, json=body)
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


async def test_a_stream_is_read_changed_and_deleted(receiving: Receiving) -> None:
    caller = receiving.caller
    assert ok(await caller.get(STREAMS)) == []
    problem(await caller.post(POLL, json={}), 404)
    stream_id = await receiving.create()
    problem(await caller.post(STREAMS, json=PUSH), 409)
    (shown,) = ok(await caller.get(STREAMS))
    assert shown == ok(await caller.get(STREAMS, params={"stream_id": stream_id}))
    assert shown["delivery"] == {"method": METHODS["push"], "endpoint_url": URL}
    assert shown["events_delivered"] == [URIS[kind] for kind in SUPPORTED]
    problem(await caller.post(POLL, json={}), 400)
    some = {"stream_id": stream_id, "events_requested": [URIS["session_revoked"]]}
    changed = ok(await caller.patch(STREAMS, json=some))
    assert (changed["events_delivered"], changed["delivery"]) == ([URIS["session_revoked"]], shown["delivery"])
    replaced = ok(await caller.put(STREAMS, json={"stream_id": stream_id}))
    assert replaced["delivery"]["method"] == METHODS["poll"]
    assert replaced["delivery"]["endpoint_url"].endswith(POLL)
    problem(await caller.delete(STREAMS, params={"stream_id": "another"}), 404)
    assert (await caller.delete(STREAMS, params={"stream_id": stream_id})).status_code == 204
    problem(await caller.get(STREAMS, params={"stream_id": stream_id}), 404)
    vault = receiving.world.services.ledger.vault
    assert await receiving.world.services.ledger.read(vault.secrets_like, "event_stream:") == {}
    await receiving.create()


async def test_a_receiver_says_nothing_that_is_the_servers_to_say(receiving: Receiving) -> None:
    """SSF §8.1.1.3, §8.1.1.4: it may stand there, as it is."""
    caller, stream_id = receiving.caller, await receiving.create(delivery={"method": METHODS["poll"]})
    (shown,) = ok(await caller.get(STREAMS))
    wrong: dict[str, Any] = {
        "iss": "https://other.example",
        "aud": "another",
        "events_supported": [],
        "events_delivered": [URIS["session_revoked"]],
        "min_verification_interval": 1,
    }
    for by in (caller.patch, caller.put):
        assert ok(await by(STREAMS, json=shown)) == shown
        for name, value in wrong.items():
            problem(await by(STREAMS, json={"stream_id": stream_id, name: value}), 400, field=name)
    assert ok(await caller.get(STREAMS)) == [shown]


@cases(
    "body",
    [
        {"delivery": {"method": METHODS["push"]}},
        {"delivery": {"method": METHODS["push"], "endpoint_url": "http://shop.example/events"}},
        {"delivery": {"method": METHODS["push"], "endpoint_url": "com.example:/events"}},
        {"delivery": {"method": "urn:ietf:rfc:0"}},
        {"delivery": {"method": METHODS["push"], "endpoint_url": URL, "authorization_header": "a\nb"}},
        {"delivery": []},
        {"events_requested": [7]},
        {"events_requested": ["x" * 257]},
    ],
)
async def test_a_stream_that_cannot_be(receiving: Receiving, body: dict[str, Any]) -> None:
    problem(await receiving.caller.post(STREAMS, json=body), 400)


async def test_more_is_acknowledged_at_once_than_may_be(receiving: Receiving) -> None:
    await receiving.create(delivery={"method": METHODS["poll"]})
    ack = ["j"] * (ACKNOWLEDGED_MAXIMUM + 1)
    problem(await receiving.caller.post(POLL, json={"ack": ack}), 400)


async def test_a_person_is_no_receiver(receiving: Receiving) -> None:
    openid, world = receiving.openid, receiving.world
    await world.define_role("platform", "member", "orders", "catalog:read", "ssf", default=True)
    browser = await openid.signed_in()
    page = await browser.press(await browser.open(openid.openid(scope="openid ssf")), CONSENT, APPROVE)
    token = (await openid.redeem(page))["access_token"]
    caller = world.caller(headers={"authorization": f"Bearer {token}"})
    problem(await caller.get(STREAMS), 403)


async def test_the_metadata_leads_to_all_of_it(receiving: Receiving) -> None:
    issuer = receiving.world.settings.issuer
    told = ok(await receiving.world.client.get("/.well-known/ssf-configuration"))
    assert (told["issuer"], told["jwks_uri"]) == (issuer, f"{issuer}/.well-known/jwks.json")
    assert told["delivery_methods_supported"] == list(METHODS.values())
    assert told["configuration_endpoint"] == f"{issuer}{STREAMS}"
    assert "add_subject_endpoint" not in told


async def test_an_altered_event_is_told_to_nobody(receiving: Receiving) -> None:
    await receiving.create(events_requested=[URIS["account_disabled"]])
    await allow(receiving)
    await disable(receiving)
    await receiving.notifier.distribute()
    ledger = receiving.world.services.ledger
    await ledger.maintain(
        lambda connection: connection.execute(signals.SIGNALS.update().values(sealed=b"x" * 40)).rowcount
    )
    assert await receiving.hear() == []
    assert await ledger.read(signals.number, receiving.openid.shop.client_id) == 0
