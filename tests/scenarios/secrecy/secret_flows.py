"""Flows that use every kind of secret, in the right places and in wrong ones."""

import json
from base64 import b64encode
from urllib.parse import urlencode

from domain.rules import client_assertion
from security.tokens import new_id
from tests.scenarios.administration import EVERYTHING
from tests.scenarios.asking import CONSENT, DENY, SIGN_IN
from tests.scenarios.assertions import register_signer
from tests.scenarios.secrecy.leak_flows import LEAKS
from tests.scenarios.secrecy.watching import Flows, Step


async def code_flow(flows: Flows) -> None:
    """To the end: redeemed, refreshed, asked about, revoked; and the code again."""
    code = await flows.code(flows.browser())
    assert (await flows.redeem(code, "x" * 50)).status_code == 400
    token = (await flows.redeem(code)).json()
    refreshed = (await flows.ask(grant_type="refresh_token", refresh_token=token["refresh_token"])).json()
    for each in (token["access_token"], refreshed["refresh_token"], "glog_at_" + "0" * 36):
        await flows.program.post("/oauth/introspect", data={"token": each}, auth=flows.shop.auth)
    # The username stands in an introspection's answer, which is what it is for.
    await flows.program.post("/oauth/revoke", data={"token": refreshed["access_token"]}, auth=flows.shop.auth)
    assert (await flows.ask(grant_type="refresh_token", refresh_token=token["refresh_token"])).status_code == 400
    assert (await flows.redeem(code)).status_code == 400


async def denied(flows: Flows) -> None:
    browser = flows.browser()
    page = await browser.open(flows.scene.address(scope="orders"))
    page = await browser.press(page, SIGN_IN, username=flows.person.username, password=flows.person.password)
    page = await browser.press(page, CONSENT, DENY) if page.status == 200 else page
    await browser.open("/account/grants")


async def wrong_password(flows: Flows) -> None:
    """Nearly the right one; and a password typed into the field of the username."""
    browser = flows.browser()
    page = await browser.open(flows.scene.address())
    wrong = flows.unique("wrong-")
    flows.watch.secrets.add(wrong)
    page = await browser.press(page, SIGN_IN, username=flows.person.username, password=wrong)
    # The form keeps what was typed as the name for whoever typed it.
    flows.watch.echoed = {flows.person.password}
    await browser.press(page, SIGN_IN, username=flows.person.password, password=wrong)
    flows.watch.echoed = set()
    body = {"username": flows.person.password, "password": flows.person.email}
    await flows.dashboard.call("POST", "/login", by=flows.program, json=body)
    await flows.ask(grant_type="password", username=flows.person.email, password=flows.person.password)


async def at_the_dashboard(flows: Flows) -> None:
    dashboard, by = flows.dashboard, flows.watch.client(flows.world)
    token, cookie = await dashboard.sign_in(flows.person, by=by)
    answer = await dashboard.refresh(cookie, by=by)
    await dashboard.refresh(cookie, by=by)
    await dashboard.logout(bearer=token, cookie=dashboard.cookie(answer), by=by)
    await dashboard.refresh(dashboard.cookie(answer), by=by)


async def registration(flows: Flows) -> None:
    """A client with an owner, its rotation, a repeat with the same key, its end."""
    owner = f"{flows.unique('owner-')}@example.test"
    flows.watch.personal.add(owner)
    body = {"client_name": "Shop", "grant_types": ["client_credentials"], "scope": "orders", "owner": owner}
    key = {"idempotency-key": new_id()}
    made = await flows.admin.post("/admin/clients", json=body, headers=key)
    assert made.status_code == 201, made.text
    repeated = await flows.admin.post("/admin/clients", json=body, headers=key)
    assert repeated.json()["client_secret"] is None
    client_id, secret = made.json()["client_id"], made.json()["client_secret"]
    address = f"/admin/clients/{client_id}"
    rotated = await flows.admin.post(f"{address}/secrets", json={"others_expire_in": 0})
    assert rotated.status_code == 201, rotated.text
    for given in (secret, rotated.json()["client_secret"]):
        await flows.program.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(client_id, given))
    for path in (address, f"{address}/secrets", "/admin/clients"):
        assert (await flows.admin.get(path)).status_code == 200
    await flows.admin.patch(address, json={"client_name": "Another shop"})
    assert (await flows.admin.delete(address)).status_code == 204


async def person(flows: Flows) -> None:
    """Known by an address, which changes; a password, which changes; then erased."""
    email, later = (f"{flows.unique(name)}@example.test" for name in ("first-", "later-"))
    passwords = [flows.unique("pw-"), flows.unique("pw-")]
    flows.watch.personal |= {email, later}
    flows.watch.secrets |= set(passwords)
    body = {"realm": "platform", "username": flows.unique("name-"), "email": email, "password": passwords[0]}
    flows.watch.personal.add(body["username"])
    made = await flows.admin.post("/admin/people", json=body, headers={"idempotency-key": new_id()})
    assert made.status_code == 201, made.text
    address = f"/admin/people/{made.json()['id']}"
    await flows.dashboard.call("POST", "/login", by=flows.program, json={"username": email, "password": passwords[0]})
    assert (await flows.admin.get("/admin/people", params={"email": email})).status_code == 200
    assert (await flows.admin.patch(address, json={"email": later})).status_code == 200
    changed = await flows.admin.post(f"{address}/password", json={"password": passwords[1]})
    assert changed.status_code == 204, changed.text
    assert (await flows.admin.post("/admin/people", json=body | {"email": later})).status_code == 409
    too_short = await flows.admin.post(f"{address}/password", json={"password": "abcdefg"})
    assert too_short.status_code == 400
    assert (await flows.admin.get(address)).status_code == 200
    assert (await flows.admin.delete(address)).status_code == 204


async def audit(flows: Flows) -> None:
    for raw in flows.known():
        await flows.admin.post("/audit/token-history", json={"token": raw})
        await flows.admin.post("/audit/token-state", json={"token": raw})
    assert (await flows.admin.get("/audit/events", params={"limit": "200"})).status_code == 200
    await exported(flows)


async def exported(flows: Flows) -> list[bytes]:
    """The whole log in every form that an auditor can have."""
    forms = []
    for name in ("jsonl", "csv", "cloudevents", "ocsf"):
        answer = await flows.admin.get("/audit/export", params={"format": name})
        assert answer.status_code == 200, answer.text
        forms.append(answer.content)
    return forms


async def as_parameters(flows: Flows) -> None:
    """Whatever is secret, as every parameter that it is not."""
    for raw in flows.misplaced():
        for name in ("client_id", "grant_type", "scope", "redirect_uri", "code", "refresh_token", raw):
            await flows.program.post("/oauth/token", data={"grant_type": "client_credentials", name: raw})
            await flows.ask(**{"grant_type": "authorization_code", "code": raw, name: raw})
        for auth in ((raw, raw), (flows.shop.client_id, raw)):
            await flows.program.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
        for name in ("scope", "client_id", "response_type", "code_challenge", "redirect_uri"):
            # The page's form carries the request along, which is checked again at each step.
            flows.watch.echoed = {raw}
            await flows.browser().open(flows.scene.address(**{name: raw}))
            flows.watch.echoed = set()


async def in_bodies(flows: Flows) -> None:
    """In bodies that cannot be read, and as names of members."""
    for raw in flows.misplaced():
        broken = ('{"token": "' + raw + '", "token": 1').encode()
        for path in ("/oauth/introspect", "/oauth/revoke", "/audit/token-history", "/admin/people"):
            for body in (broken, json.dumps({raw: raw}).encode(), json.dumps(raw).encode()):
                await flows.admin.post(path, content=body, headers={"content-type": "application/json"})
            await flows.admin.post(path, content=raw.encode(), headers={"content-type": "text/plain"})


async def in_headers_and_addresses(flows: Flows) -> None:
    """In headers and queries; and tokens in paths, which a line of the log shows."""
    for raw in flows.misplaced():
        encoded = b64encode(raw.encode()).decode()
        for name in ("user-agent", "referer", "x-request-id", "idempotency-key", "cookie", "accept", "origin", "x-any"):
            await flows.admin.get("/admin/clients", headers={name: encoded})
            await flows.admin.post("/admin/clients", headers={name: encoded}, json={})
        for name in ("x", "after", "email", "limit", "access_token", "type", "since"):
            for path in ("/admin/people", "/audit/events", "/health/live", "/oauth/authorize"):
                await flows.admin.get(path, params={name: raw})
    for raw in [each for each in flows.known() if each.startswith("glog_")][:4]:
        for agent in (raw, f"agent {raw}", b64encode(raw.encode()).decode(), b64encode(f"a:{raw}".encode()).decode()):
            # A new token's first use is recorded, and who brought it.
            token = await flows.world.token(*EVERYTHING)
            flows.watch.secrets.add(token)
            given = {"authorization": f"Bearer {token}", "user-agent": agent}
            await flows.admin.get("/admin/clients", headers=given)
        for path in (f"/{raw}", f"/admin/clients/{raw}", f"/dashboards/{raw}/login", f"/audit/state/client:{raw}"):
            await flows.admin.get(path)
        headers = {"user-agent": raw, "x-forwarded-for": raw, "authorization": raw}
        await flows.program.get("/health/live", headers=headers)
        await flows.admin.post("/admin/clients", headers={"idempotency-key": raw}, json={})


async def in_state(flows: Flows) -> None:
    """The server gives `state` back and keeps it nowhere."""
    raw = flows.known()[0]
    flows.watch.echoed = {raw}
    await flows.code(flows.browser(), state=raw)
    await flows.browser().open("/oauth/authorize?" + urlencode({"state": raw}))
    flows.watch.echoed = set()


async def registering_itself(flows: Flows) -> None:
    """By a token and as anybody; read, changed, refused and deleted."""
    given = (await flows.admin.post("/admin/initial-access-tokens", json={})).json()["initial_access_token"]
    body = {"client_name": "Prints", "redirect_uris": ["https://prints.example/callback"]}
    for headers in ({"authorization": f"Bearer {given}"}, {}):
        answer = await flows.program.post("/oauth/register", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
    made = answer.json()
    uri, token = made["registration_client_uri"], made["registration_access_token"]
    bearer = {"authorization": f"Bearer {token}"}
    # It is repeated to whoever shows it.
    flows.watch.echoed = {token}
    assert (await flows.program.get(uri, headers=bearer)).status_code == 200
    changed = body | {"client_id": made["client_id"], "client_secret": made["client_secret"]}
    assert (await flows.program.put(uri, json=changed, headers=bearer)).status_code == 200
    flows.watch.echoed = set()
    auth = (made["client_id"], made["client_secret"])
    await flows.program.post("/oauth/token", data={"grant_type": token, "code": token}, auth=auth)
    await flows.program.post("/oauth/token", data={"grant_type": "authorization_code", "code": token}, auth=auth)
    for headers in (bearer, {"authorization": f"Bearer {made['client_secret']}"}):
        await flows.program.get(f"{uri}/log", headers=headers)
    await flows.program.put(uri, json=changed | {"client_secret": token}, headers=bearer)
    await flows.program.post("/oauth/register", json=body | {"scope": token, "grant_types": [token]})
    assert (await flows.program.delete(uri, headers=bearer)).status_code == 204


async def signing(flows: Flows) -> None:
    """By an assertion, which is good once; another time, and in a wrong place."""
    signer = await register_signer(flows.world)
    good = signer.assertion(jti=flows.unique("jti-"))
    bad = signer.assertion(jti=flows.unique("jti-"), aud="https://elsewhere.example")
    flows.watch.secrets |= {good, bad}
    for each in (good, good, bad):
        given = {"client_assertion_type": client_assertion.TYPE, "client_assertion": each}
        await flows.program.post("/oauth/token", data={"grant_type": "client_credentials"} | given)
    await flows.program.post("/oauth/token", data={"grant_type": good}, auth=flows.shop.auth)


STEPS: tuple[Step, ...] = (
    code_flow,
    denied,
    wrong_password,
    at_the_dashboard,
    registration,
    registering_itself,
    signing,
    person,
    audit,
    as_parameters,
    in_bodies,
    in_headers_and_addresses,
    in_state,
    *LEAKS,
)
