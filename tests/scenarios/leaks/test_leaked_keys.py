"""A key leaked: pasted as it was found, it is known whose it is and what is bound to it, and all of that ends."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import quote, quote_plus

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from api.leaks import address_target, reported_keys, revoke
from eventstore.leaked import keys
from security import pasted_keys
from security.keyring import Keyring
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import VERIFIER, Scene, set_scene
from tests.scenarios.assertions import made_key, public, refused, register_signer
from tests.scenarios.client_authentication.test_tls_client_auth import DNS, ISSUED, mtls_settings
from tests.scenarios.leaks.test_leaks_at_an_address import NOTHING, active, contain, give, proved
from tests.scenarios.proofs import Holder
from tests.scenarios.tokens.test_certificate_bound_tokens import BOUND, shown
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings_given(tmp_path: Path) -> dict[str, Any]:
    return mtls_settings(tmp_path) | {"registration": "token"}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


@pytest.fixture
async def server(world: World) -> Client:
    return await world.register_client("API", grant_types=("client_credentials",), scope=("introspect",))


async def looked_at(admin: httpx.AsyncClient, text: str) -> Any:
    return ok(await admin.post("/leaks/investigate", json={"secret": text}))


async def test_key_of_a_client_in_whatever_form(
    world: World, admin: httpx.AsyncClient, server: Client, keyring: Keyring
) -> None:
    leaked, safe = made_key("ES256", "leaked"), made_key("ES256", "safe")
    signer, other = await register_signer(world, leaked, safe), await register_signer(world, safe)
    given = [ok(await signer.ask())["access_token"] for _ in range(3)]
    spared = ok(await other.ask())["access_token"]
    before = await world.head()
    private = leaked.as_pem(private=True).decode()
    words = json.dumps({"keys": [dict(leaked.as_dict(private=True))]})
    thumbprint = leaked.thumbprint()
    public_half = leaked.as_pem(private=False).decode()
    encoded = (quote(words), quote_plus(words), f"key={quote(private)}&x=1", quote_plus(public_half))
    for text in (private, f"{words} in a log", json.dumps(words), public_half, thumbprint, *encoded):
        found = await looked_at(admin, text)
        assert (found["kind"], found["state"], found["client_id"]) == ("key", "active", signer.client_id), text
        assert (len(found["items"]), found["foreign"]) == (1, [])
        assert found["derived"]["access_tokens"] == {"total": 3, "live": 3}
        assert found["addresses"][0]["count"] == 3
        assert found["containment"] == NOTHING | {"secrets_ended": 1, "grants_ended": 3, "tokens_ended": 3}
    pages = f"/leaks/investigate/{found['sha256']}"
    assert len(ok(await admin.get(f"{pages}/tokens"))["items"]) == 3
    types = [each["type"] for each in ok(await admin.get(f"{pages}/events"))["items"]]
    assert types == ["grant.tokens_issued"] * 3 + ["client.keys_registered"]
    # Who may not know more than the digest knows it by that.
    assert ok(await admin.post("/leaks/investigate", json={"sha256": found["sha256"]}))["client_id"] == signer.client_id
    problem(await admin.post("/leaks/contain", json={"secret": private, "rotate": True}), 400, field="rotate")
    numbers = await contain(admin, secret=private, evidence=f"In a paste: {private}")
    assert numbers == NOTHING | {"secrets_ended": 1, "grants_ended": 3, "tokens_ended": 3}
    assert [await active(world, server, raw) for raw in (*given, spared)] == [False, False, False, True]
    # The client goes on with its other key, and never again with this one, which it cannot even register.
    refused(await signer.ask())
    path, both = f"/admin/clients/{signer.client_id}", {"keys": [public(safe), public(leaked)]}
    problem(await admin.patch(path, json={"jwks": both}), 400, field="jwks")
    ok(await admin.patch(path, json={"jwks": {"keys": [public(safe)]}}))
    signer.key = safe
    ok(await signer.ask())
    assert (await looked_at(admin, thumbprint))["state"] == "revoked"
    (revoked,) = await world.events("client.key_revoked")
    assert (revoked.stream, revoked.event.thumbprint) == (f"client:{signer.client_id}", thumbprint)
    (incident,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert (incident["kind"], incident["sha256"]) == ("key", pasted_keys.hex_of(thumbprint))
    assert incident["evidence"] == "In a paste: private_key_***-----END PRIVATE KEY-----\n"
    told = str(await world.events(after=before)) + json.dumps(incident)
    assert not any(part in told for part in (str(leaked.as_dict(private=True)["d"]), private.split("\n")[1]))
    assert await contain(admin, secret=private) == NOTHING | {"grants_ended": 0}
    await address_target.settle(world.services.ledger)
    await proved(world, keyring)


async def test_key_to_which_a_persons_tokens_are_bound(world: World, admin: httpx.AsyncClient, server: Client) -> None:
    scene = await set_scene(world)
    app = await world.register_client("App", public=True)
    given = []
    for holder in (leaked := Holder(world), Holder(world)):
        page = await scene.approved(await scene.signed_in(), scene.address(app, prompt="consent", dpop_jkt=holder.jkt))
        given.append(await redeemed(scene, app, page.parameters["code"], holder))
    found = await looked_at(admin, json.dumps(leaked.key.as_dict(private=True)))
    assert (found["state"], found["client_id"]) == ("active", app.client_id)
    assert found["account_id"] == scene.person.account_id
    assert [found["derived"][each] for each in ("codes", "access_tokens", "refresh_tokens")] == [
        {"total": 1, "live": 0},
        {"total": 1, "live": 1},
        {"total": 1, "live": 1},
    ]
    assert await contain(admin, sha256=found["sha256"]) == NOTHING | {
        "grants_ended": 1,
        "tokens_ended": 2,
        "people_affected": 1,
    }
    assert [await active(world, server, each["access_token"]) for each in given] == [False, True]
    # It was nobody's to prove themselves by, so that there is nothing more to end.
    assert await world.events("client.key_revoked") == ()
    assert (await looked_at(admin, leaked.jkt))["state"] == "expired"


async def test_anybody_may_end_a_private_key_that_they_hold(world: World, server: Client, keyring: Keyring) -> None:
    leaked, safe = made_key("RS256", "held"), made_key("ES256", "kept")
    signer, other = await register_signer(world, leaked), await register_signer(world, safe)
    signer.algorithm = "RS256"
    given, spared = ok(await signer.ask())["access_token"], ok(await other.ask())["access_token"]
    private = leaked.as_pem(private=True).decode()
    stranger = world.caller("203.0.113.77")

    async def report(*texts: str) -> Any:
        answer = ok(await stranger.post("/credentials/revoke", json={"credentials": texts}), 202)
        await revoke.ended(world.services.ledger)
        await address_target.settle(world.services.ledger)
        return answer

    # Who shows what is public holds nothing.
    shown = (leaked.as_pem(private=False).decode(), leaked.thumbprint(), json.dumps(public(safe)))
    assert await report(*shown) == {"accepted": 0, "damaged": 0}
    unknown = json.dumps(made_key("EdDSA", "unknown").as_dict(private=True))
    wrong = json.dumps(public(safe) | {"d": made_key("ES256", "wrong").as_dict(private=True)["d"]})
    assert await report(unknown, wrong) == {"accepted": 0, "damaged": 0, "keys": 2}
    assert await world.events("incident.*") == ()
    assert await report(f"in a log: {private}", given) == {"accepted": 1, "damaged": 0, "keys": 1}
    assert [await active(world, server, raw) for raw in (given, spared)] == [False, True]
    refused(await signer.ask())
    (revoked,) = await world.events("client.key_revoked")
    assert (revoked.event.thumbprint, revoked.actor.kind) == (leaked.thumbprint(), "anonymous")
    head = await world.head()
    await report(private)
    assert await world.head() == head
    await proved(world, keyring)


async def test_few_false_halves_of_a_known_key_are_tried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts hold them: to try one takes long, and anybody knows the public half. Nor is looked at what the
    key was used for."""
    known, other = made_key("RS256", "known"), made_key("RS256", "other")
    await register_signer(world, known)
    tried: list[int] = []
    fits = pasted_keys._of_exponent

    def counted(key: Any, exponent: int, factors: Sequence[int]) -> pasted_keys.Names:
        tried.append(exponent)
        return fits(key, exponent, factors)

    monkeypatch.setattr(pasted_keys, "_of_exponent", counted)
    monkeypatch.setattr(keys, "holders_of", None)
    false = json.dumps(public(known) | {"d": other.as_dict(private=True)["d"]})
    body = {"credentials": [f"{number} {false}" for number in range(2 * pasted_keys.TRIED)]}
    ok(await world.client.post("/credentials/revoke", json=body), 202)
    assert len(tried) == pasted_keys.TRIED
    assert await world.events("client.key_revoked") == ()


async def test_nobody_has_a_far_behind_index_follow(
    world: World, server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaked = made_key("ES256", "leaked")
    signer = await register_signer(world, leaked)
    given = [ok(await signer.ask())["access_token"] for _ in range(2)]
    private = leaked.as_pem(private=True).decode()

    async def report(*texts: str) -> httpx.Response:
        answer = await world.client.post("/credentials/revoke", json={"credentials": texts})
        await revoke.ended(world.services.ledger)
        return answer

    monkeypatch.setattr(reported_keys, "CATCHING_UP", 0)
    answer = await report(private)
    assert answer.headers["retry-after"]
    problem(answer, 503)
    beside = ok(await signer.ask())["access_token"]
    problem(await report(private, beside), 503)
    assert not await active(world, server, beside)
    # What fell behind only after it was accepted waits, and keeps no secret beside it waiting.
    monkeypatch.setattr(reported_keys, "held", held := AsyncMock())
    held.return_value = reported_keys.HeldKeys([], [leaked.thumbprint()])
    ok(await report(private, given[0]), 202)
    assert [await active(world, server, raw) for raw in given] == [False, True]
    monkeypatch.undo()
    world.clock.advance(24 * 3600)
    await revoke.resume(world.services.ledger)
    (revoked,) = await world.events("client.key_revoked")
    assert revoked.event.thumbprint == leaked.thumbprint()


async def redeemed(scene: Scene, app: Client, code: str, holder: Holder) -> Any:
    data = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": app.redirect_uri,
        "code_verifier": VERIFIER,
        "client_id": app.client_id,
    }
    headers = {"dpop": holder.proof("/oauth/token")}
    return ok(await scene.world.client.post("/oauth/token", data=data, headers=headers))


async def test_certificate_of_a_client(world: World, server: Client) -> None:
    await world.define_scopes("clients:read")
    admin = await administering(world)
    body = {
        "client_name": "Job",
        "grant_types": ["client_credentials"],
        "scope": "clients:read",
        "token_endpoint_auth_method": "tls_client_auth",
        DNS: "job.example",
        BOUND: True,
    }
    client_id = ok(await admin.post("/admin/clients", json=body), 201)["client_id"]
    data = {"grant_type": "client_credentials", "client_id": client_id}
    token = ok(await world.client.post("/oauth/token", data=data, headers=shown(ISSUED)))["access_token"]
    certificate = ISSUED.public_bytes(Encoding.PEM).decode()
    own, of_key = (await looked_at(admin, certificate))["items"]
    assert (own["client_id"], own["derived"]["access_tokens"]) == (client_id, {"total": 1, "live": 1})
    # Nothing was ever bound to the key itself, and no event names it.
    assert (of_key["kind"], of_key["state"]) == ("key", "unknown")
    assert await contain(admin, secret=certificate, disable_client=False) == NOTHING | {
        "secrets_ended": 1,
        "grants_ended": 1,
        "tokens_ended": 1,
    }
    assert not await active(world, server, token)
    refused(await world.client.post("/oauth/token", data=data, headers=shown(ISSUED)))
    # Nor is it anybody else's, whoever is named in it.
    other = ok(await admin.post("/admin/clients", json=body), 201)["client_id"]
    refused(await world.client.post("/oauth/token", data=data | {"client_id": other}, headers=shown(ISSUED)))


async def test_key_and_secret_in_one_text(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    signer = await register_signer(world, key := made_key("ES256", "beside"))
    ok(await signer.ask())
    text = f"{job.secret} {json.dumps(dict(key.as_dict(private=True)))}"
    done = ok(await admin.post("/leaks/contain", json={"secret": text, "rotate": True}))
    assert [each["client_id"] for each in done["items"]] == [job.client_id, signer.client_id]
    assert [each["contained"]["secrets_ended"] for each in done["items"]] == [1, 1]
    # Only who has a secret gets another one.
    assert ["client_secret" in each for each in done["items"]] == [True, False]
    refused(await signer.ask())


async def test_key_that_a_deleted_client_had_too(world: World, admin: httpx.AsyncClient) -> None:
    key = made_key("ES256", "both")
    gone, left = await register_signer(world, key), await register_signer(world, key)
    for each in (gone, left):
        ok(await each.ask())
    assert (await admin.delete(f"/admin/clients/{gone.client_id}")).status_code == 204
    asked = {"secret": key.thumbprint(), "disable_client": True}
    would, done = [
        ok(await admin.post("/leaks/contain", json=asked | {"dry_run": dry}))["contained"] for dry in (True, False)
    ]
    assert would == done == NOTHING | {"secrets_ended": 1, "grants_ended": 1, "tokens_ended": 1}
    (disabled,) = await world.events("client.disabled")
    assert disabled.stream == f"client:{left.client_id}"
    refused(await left.ask())


@pytest.mark.parametrize("used", [0, 1])
async def test_what_ends_with_the_client_that_is_disabled_counts(
    world: World, admin: httpx.AsyncClient, server: Client, used: int
) -> None:
    """Also what it had by other keys than the one that leaked, and nothing of it twice."""
    leaked, safe = made_key("ES256", "leaked"), made_key("ES256", "safe")
    signer = await register_signer(world, leaked, safe)
    given = [ok(await signer.ask())["access_token"] for _ in range(used)]
    signer.key = safe
    given += [ok(await signer.ask())["access_token"] for _ in range(2)]
    asked = {"secret": leaked.thumbprint(), "disable_client": True}
    would, done = [ok(await admin.post("/leaks/contain", json=asked | {"dry_run": dry})) for dry in (True, False)]
    everything = {"secrets_ended": 1, "grants_ended": used + 2, "tokens_ended": used + 2}
    assert would["contained"] == done["contained"] == NOTHING | everything
    assert not any([await active(world, server, each) for each in given])
    await address_target.settle(world.services.ledger)
    incident = ok(await admin.get(f"/leaks/incidents/{done['incident_id']}"))
    assert {name: incident["contained"][name] for name in everything} == everything


async def test_key_and_secret_of_a_deleted_client(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    key = made_key("ES256", "over")
    signer = await register_signer(world, key)
    given = ok(await signer.ask())["access_token"]
    for each in (signer.client_id, job.client_id):
        assert (await admin.delete(f"/admin/clients/{each}")).status_code == 204
    asked = {"secret": f"{job.secret} {given} {json.dumps(dict(key.as_dict(private=True)))}", "disable_client": True}
    for rotate in (True, False):
        told = [asked | {"rotate": rotate, "dry_run": dry} for dry in (True, False)]
        would, done = [ok(await admin.post("/leaks/contain", json=each)) for each in told]
        assert [each["contained"] for each in would["items"]] == [each["contained"] for each in done["items"]]
        assert {each["contained"]["tokens_ended"] for each in done["items"]} == {0}
    # What leaked with whom it belonged to is no key for anybody else.
    body = {
        "client_name": "Another",
        "grant_types": ["client_credentials"],
        "scope": "orders",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [public(key)]},
    }
    problem(await admin.post("/admin/clients", json=body), 400, field="jwks")
    initial = ok(await admin.post("/admin/initial-access-tokens", json={}), 201)["initial_access_token"]
    answer = await world.client.post(
        "/oauth/register", json=body | {"scope": ""}, headers={"authorization": f"Bearer {initial}"}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_keys_of_issuers_are_named(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_scopes("orders")
    (own, *_) = ok(await world.client.get("/.well-known/jwks.json"))["keys"]
    told = await looked_at(admin, json.dumps(own))
    assert (told["kind"], told["state"], told["client_id"]) == ("signing_key", "active", None)
    assert "/admin/keys/rotate" in told["items"][0]["advice"]
    theirs = made_key("ES256", "theirs")
    terms = {"issuer": "https://else.example", "jwks": {"keys": [public(theirs)]}, "scope": "orders"}
    ok(await admin.put("/admin/trusted-issuers/workforce", json=terms), 201)
    told = await looked_at(admin, theirs.as_pem(private=True).decode())
    assert (told["kind"], told["state"]) == ("trusted_issuer_key", "active")
    assert "/admin/trusted-issuers/workforce" in told["advice"]
    ok(await admin.post("/admin/keys/rotate", json={"compromised": True}))
    assert (await looked_at(admin, json.dumps(own)))["state"] == "revoked"


async def test_what_names_nothing_here(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    (spared,) = await give(world, job, "203.0.113.7")
    stranger = made_key("EdDSA", "stranger")
    found = await looked_at(admin, stranger.as_pem(private=True).decode())
    assert (found["kind"], found["state"], len(found["items"])) == ("key", "unknown", 1)
    problem(await admin.post("/leaks/contain", json={"secret": stranger.as_pem(private=True).decode()}), 404)
    # What only looks like a thumbprint may be anything, and is none of ours.
    word = stranger.thumbprint()
    alone = await looked_at(admin, word)
    assert (alone["kind"], alone["items"]) == (None, [])
    problem(await admin.post("/leaks/contain", json={"secret": word}), 400, field="secret")
    both = await looked_at(admin, f"{spared} {json.dumps(dict(stranger.as_dict(private=True)))}")
    assert [each["state"] for each in both["items"]] == ["active", "unknown"]
