"""Flows that use every kind of secret, and a watch over the answers that they get."""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from security.ids import new_id
from tests.scenarios.asking import APPROVE, CONSENT, DENY, SIGN_IN, VERIFIER, Scene
from tests.scenarios.browser import Browser
from tests.scenarios.dashboards import Dashboard
from tests.scenarios.traces import holds
from tests.scenarios.world import Client, Person, World

PERSONAL = ("/admin/", "/audit/", "/oauth/introspect", "/account/", "/oauth/authorize")
"""What shows names and addresses when all is well: to administrators, to a client, and to the person themselves."""


class Kept(NamedTuple):
    """An answer, the secrets that it may hold, and whether it may hold personal values."""

    what: str
    text: bytes
    allowed: set[str]
    personal: bool


@dataclass
class Watch:
    """Every secret and personal value that was used, and every answer with what it may show.

    A value is shown by the one answer that hands it out; personal values by those to whoever may see them.
    """

    secrets: set[str] = field(default_factory=set)
    personal: set[str] = field(default_factory=set)
    answers: list[Kept] = field(default_factory=list)
    echoed: set[str] = field(default_factory=set)
    """What the answer in hand may repeat, because its request says so (the `state` of an authorization request)."""

    def client(self, world: World, **given: Any) -> httpx.AsyncClient:
        """A caller whose every answer is kept."""
        return world.caller(event_hooks={"response": [self._keep]}, **given)

    async def _keep(self, answer: httpx.Response) -> None:
        body = await answer.aread()
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items()).encode()
        what = f"{answer.request.method} {answer.request.url.path} {answer.status_code}"
        handed_out = self._handed_out(answer)
        # Handed out by this very answer: none before it could know the value, and none after it may say it.
        self.secrets |= handed_out
        # A refused sign-in shows what was typed as the name to whoever typed it.
        fine = answer.is_success or answer.request.url.path == SIGN_IN
        personal = fine and answer.request.url.path.startswith(PERSONAL)
        self.answers.append(Kept(what, head + b"\n\n" + body, handed_out | self.echoed, personal))

    def _handed_out(self, answer: httpx.Response) -> set[str]:
        found: set[str] = set()
        if answer.headers.get("content-type", "").partition(";")[0] == "application/json":
            body = answer.json()
            members = body if isinstance(body, dict) else {}
            found |= {members[name] for name in ("access_token", "refresh_token", "client_secret") if members.get(name)}
        for name, value in answer.cookies.items():
            assert "session" in name or name.startswith("grantlog-"), name
            found.add(value.strip('"'))
        found |= set(parse_qs(urlsplit(answer.headers.get("location", "")).query).get("code", ()))
        return {value for value in found if len(value) > 12}

    def leaks(self) -> list[tuple[str, str]]:
        """Answers that say what they should not."""
        return [
            (answer.what, value)
            for answer in self.answers
            for value in (self.secrets if answer.personal else self.secrets | self.personal) - answer.allowed
            if holds(answer.text, value)
        ]


@dataclass
class Flows:
    """The parties, and what each step may use."""

    world: World
    scene: Scene
    watch: Watch
    dashboard: Dashboard
    token: str
    unique: Callable[[str], str]

    def __post_init__(self) -> None:
        self.program = self.watch.client(self.world)
        self.admin = self.watch.client(self.world, headers={"authorization": f"Bearer {self.token}"})

    @property
    def person(self) -> Person:
        return self.scene.person

    @property
    def shop(self) -> Client:
        return self.scene.shop

    def browser(self) -> Browser:
        return Browser(self.watch.client(self.world))

    def known(self) -> list[str]:
        """Secrets that somebody may put into the wrong place."""
        return sorted(self.watch.secrets)

    def misplaced(self) -> list[str]:
        """Some of them, of each kind, and the person's own password and address."""
        kinds = {raw[:8]: raw for raw in self.known()}
        return [*kinds.values(), self.person.password, self.person.email]

    async def ask(self, **parameters: str) -> httpx.Response:
        return await self.program.post("/oauth/token", data=parameters, auth=self.shop.auth)

    async def code(self, browser: Browser, **changes: str) -> str:
        page = await browser.open(self.scene.address(**changes))
        if any(urlsplit(form.action).path == SIGN_IN for form in page.forms):
            page = await browser.press(page, SIGN_IN, username=self.person.email, password=self.person.password)
        if page.status == 200:
            page = await browser.press(page, CONSENT, APPROVE)
        return page.parameters["code"]

    async def redeem(self, code: str, verifier: str = VERIFIER) -> httpx.Response:
        return await self.ask(
            grant_type="authorization_code", code=code, redirect_uri=self.shop.redirect_uri, code_verifier=verifier
        )


Step = Callable[[Flows], Awaitable[None]]


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
    page = await browser.open(flows.scene.address(scope="profile"))
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
    body = {"client_name": "Shop", "grant_types": ["client_credentials"], "scope": "profile", "owner": owner}
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
    assert (await flows.admin.get("/audit/export", params={"format": "jsonl"})).status_code == 200


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


STEPS: tuple[Step, ...] = (
    code_flow,
    denied,
    wrong_password,
    at_the_dashboard,
    registration,
    person,
    audit,
    as_parameters,
    in_bodies,
    in_headers_and_addresses,
    in_state,
)
