"""Bad input at every endpoint: refused in the place's own words, and nothing committed.

What an endpoint takes is read off the OpenAPI document, and its endpoints off the routes.
"""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from commands import registering
from domain import incident
from domain.rules.built_in_scope import ACCOUNT
from security.keyring import Keyring
from security.tokens import new_id
from tests.any_command import any_command
from tests.scenarios.administration import EVERYTHING
from tests.scenarios.asking import APPROVE, CHALLENGE, CONSENT, SIGN_IN
from tests.scenarios.browser import Browser, Page
from tests.scenarios.dashboards.platform import make_dashboard, make_platform
from tests.scenarios.http.endpoints import METHODS, Endpoint, endpoints, paths
from tests.scenarios.http.raw import Headers, Raw, send
from tests.scenarios.http.spoiling import spoilt_form, spoilt_json, spoilt_queries
from tests.scenarios.world import PASSWORD, REDIRECT_URI, World, open_world

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
OAUTH_ERRORS = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_token",
    "invalid_target",
}
"""RFC 6749 §5.2, RFC 6750 §3.1 and RFC 8707 §2."""

DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
"""RFC 6749 §5.2: the characters that `error_description` may hold."""

DOCUMENTED = [each for each in endpoints() if each.operation is not None]
NOT_REFUSED_BEFORE_SIGN_IN = "/oauth/authorize"
"""Faults of an authorization request are told after sign-in (RFC 9700 §4.11.2): until then its page is shown."""


class Target:
    """A server with everything that an address of it can name."""

    def __init__(self, world: World, token: str, own: str, auth: tuple[str, str], named: dict[str, str]) -> None:
        self.world = world
        self.token = token
        self.own = own
        self.auth = auth
        self.named = named

    def path(self, template: str, **given: str) -> bytes:
        """The address with real names in it."""
        return re.sub(r"\{(\w+)\}", lambda match: (self.named | given)[match[1]], template).encode()

    def headers(self, endpoint: Endpoint) -> list[tuple[bytes, bytes]]:
        """Those of a caller who may do everything."""
        if endpoint.answers == "oauth":
            return [(b"authorization", b"Basic " + b64encode(":".join(self.auth).encode()))]
        if endpoint.path.startswith("/dashboards/"):
            accept = [(b"accept", b"text/html")] if endpoint.answers == "page" else []
            return [(b"origin", self.world.settings.issuer.encode()), *accept]
        if endpoint.scope is not None:
            token = self.own if endpoint.scope == ACCOUNT else self.token
            return [(b"authorization", f"Bearer {token}".encode())]
        return []

    async def send(self, method: str, target: bytes, headers: Headers = (), body: bytes = b"") -> Raw:
        return await send(self.world.app, method, target, headers, body)

    async def committed(self, after: int) -> list[str]:
        """What has been committed since; but that a client authenticated, that the audit was read, and that a client
        was refused its registration are facts."""
        types = await self.world.types_after(after)
        facts = ("audit.", "usage.", "server.registrations_refused")
        return [each for each in types if not each.startswith(facts)]


@pytest.fixture(scope="module")
async def target(module_sqlite_url: str, tmp_path_factory: Any, keyring: Keyring) -> AsyncIterator[Target]:
    async with _opened(module_sqlite_url, tmp_path_factory.mktemp("bad-input"), keyring) as found:
        yield found


@asynccontextmanager
async def _opened(url: str, directory: Path, keyring: Keyring) -> AsyncIterator[Target]:
    async with open_world(url, directory, keyring, throttle=False, registration="open") as world:
        platform = await make_platform(world)
        shop = await world.register_client(
            grant_types=("authorization_code", "refresh_token", "client_credentials"), scope=("orders",)
        )
        secret_id = (await world.events("client.*", stream=f"client:{shop.client_id}"))[-1].event.secret_id
        issued = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=shop.auth)
        assert issued.status_code == 200
        grant = (await world.events("grant.tokens_issued"))[-1]
        incident_id = new_id()
        await world.execute(any_command(incident.stream(incident_id), incident.report, {"source": "administrator"}))
        token_id = new_id()
        await world.execute(registering.issue_initial(token_id, "0" * 64, lifetime=None, uses=None))
        named = {
            "token_id": token_id,
            "client_id": shop.client_id,
            "secret_id": secret_id,
            "account_id": platform.paul.account_id,
            "grant_id": grant.stream.partition(":")[2],
            "slug": "client",
            "realm": "platform",
            "name": "orders",
            "upstream": "corp",
            "position": "3",
            "level": "0",
            "rest": "000",
            "stream": grant.stream,
            "path": "nothing",
            "incident_id": incident_id,
            "sha256": grant.event.access_token,
            "what": "tokens",
        }
        board = await make_dashboard(world, "own", realm="platform", scope=("orders", ACCOUNT))
        own, _ = await board.sign_in(platform.paul)
        named["session_id"] = (await world.events("grant.tokens_issued"))[-1].stream.partition(":")[2]
        yield Target(world, await world.token(*EVERYTHING), own, shop.auth, named)


def check(endpoint: Endpoint, answer: Raw, what: str, statuses: range = range(400, 500)) -> None:
    """A refusal in the endpoint's own vocabulary, which repeats nothing that was sent."""
    said = f"{endpoint} with {what}: {answer.status} {answer.body[:300]!r}"
    if endpoint.path.startswith("/console") and answer.status == 303:
        # Whoever is not signed in is led to the sign-in, whatever they ask for.
        assert answer.header("location").startswith("/console/sign-in"), said
        return
    assert answer.status in statuses, said
    assert answer.header("x-request-id"), said
    if endpoint.answers == "page":
        assert answer.media_type == "text/html", said
        assert b"<script" not in answer.body
        return
    body = answer.json()
    if endpoint.answers == "oauth":
        assert answer.media_type == JSON, said
        assert body["error"] in OAUTH_ERRORS, said
        assert set(body) <= {"error", "error_description"}, said
        assert DESCRIPTION.fullmatch(body.get("error_description", "")), said
        assert answer.header("cache-control") == "no-store", said
        return
    assert answer.media_type == "application/problem+json", said
    assert {"type", "title", "status", "detail", "request_id"} <= set(body), said
    assert body["status"] == answer.status
    if endpoint.answers == "dashboard":
        assert body["error"], said
    if "errors" in body:
        assert all(set(each) == {"field", "detail"} for each in body["errors"]), said


@pytest.mark.parametrize("endpoint", [each for each in DOCUMENTED if JSON in each.bodies], ids=str)
async def test_json(target: Target, endpoint: Endpoint) -> None:
    await try_json(target, endpoint)


async def try_json(target: Target, endpoint: Endpoint) -> None:
    head = await target.world.head()
    for spoilt in spoilt_json(endpoint.bodies[JSON]):
        if spoilt.what == "nothing" and not (endpoint.operation or {})["requestBody"].get("required", False):
            continue
        if endpoint.answers == "oauth" and spoilt.what.endswith(("unknown member", ": too long")):
            # RFC 6749 §3.2: unrecognised parameters are ignored; and a token that cannot be one is an unknown token.
            continue
        headers = target.headers(endpoint)
        if spoilt.media_type is not None:
            headers.append((b"content-type", spoilt.media_type))
        answer = await target.send(endpoint.method, target.path(endpoint.path), headers, spoilt.body)
        check(endpoint, answer, spoilt.what)
    assert await target.committed(head) == []


@pytest.mark.parametrize("endpoint", [each for each in DOCUMENTED if FORM in each.bodies], ids=str)
async def test_forms(target: Target, endpoint: Endpoint) -> None:
    head = await target.world.head()
    for spoilt in spoilt_form(endpoint.bodies[FORM]):
        headers = target.headers(endpoint)
        if spoilt.media_type is not None:
            headers.append((b"content-type", spoilt.media_type))
        answer = await target.send(endpoint.method, target.path(endpoint.path), headers, spoilt.body)
        check(endpoint, answer, spoilt.what)
    assert await target.committed(head) == []


@pytest.mark.parametrize("endpoint", DOCUMENTED, ids=str)
async def test_queries(target: Target, endpoint: Endpoint) -> None:
    head = await target.world.head()
    authorization = endpoint.path.startswith(NOT_REFUSED_BEFORE_SIGN_IN)
    hot = endpoint.answers == "oauth"
    for what, query in spoilt_queries(endpoint.queries, repeatable=authorization or hot):
        address = target.path(endpoint.path) + b"?" + query
        answer = await target.send(endpoint.method, address, target.headers(endpoint))
        check(endpoint, answer, what)
    assert await target.committed(head) == []


@pytest.mark.parametrize("endpoint", [each for each in DOCUMENTED if "{" in each.path], ids=str)
async def test_names_in_paths(target: Target, endpoint: Endpoint) -> None:
    head = await target.world.head()
    names = re.findall(r"\{(\w+)\}", endpoint.path)
    for name in names:
        for what, text in (
            ("NUL", "a%00b"),
            ("no UTF-8", "%FF%FE"),
            ("control character", "a%0Ab"),
            ("way up", "..%2f..%2fadmin"),
            ("a long one", "x" * 5000),
            ("another script", "%E2%80%AE%F0%9F%92%A9"),
            ("a quote", "%27%22%3Cscript%3E"),
        ):
            if what == "way up" and endpoint.answers == "page":
                continue  # It leads to another address, where another vocabulary is spoken.
            address = target.path(endpoint.path, **{name: text})
            headers = target.headers(endpoint)
            body = b""
            if JSON in endpoint.bodies:
                headers.append((b"content-type", b"application/json"))
                body = b"{}"
            answer = await target.send(endpoint.method, address, headers, body)
            check(endpoint, answer, f"{what} as {name}")
    unknown = {
        name: new_id() for name in names if name not in ("realm", "name", "slug", "position", "path", "upstream")
    }
    if unknown and not endpoint.bodies:
        answer = await target.send(endpoint.method, target.path(endpoint.path, **unknown), target.headers(endpoint))
        check(endpoint, answer, "unknown names")
    assert await target.committed(head) == []


@pytest.mark.parametrize("path", paths())
async def test_wrong_methods(target: Target, path: str) -> None:
    head = await target.world.head()
    services = {each.method: each for each in endpoints() if each.path == path}
    right = {method for method, each in services.items() if each.operation is not None or each.answers != "dashboard"}
    for method in (*METHODS, "TRACE", "PROPFIND", "x" * 300):
        if method in right or (method == "HEAD" and "GET" in right):
            continue
        some = services.get(method, next(iter(services.values())))
        answer = await target.send(method, target.path(path), target.headers(some))
        if method == "HEAD":
            assert answer.status in (404, 405), (path, answer)
            continue
        check(some, answer, method, range(405, 406))
        assert right <= {each.strip() for each in (answer.header("allow") or "").split(",")}, (path, method, answer)
    assert await target.committed(head) == []


@pytest.mark.parametrize("endpoint", DOCUMENTED, ids=str)
async def test_headers(target: Target, endpoint: Endpoint) -> None:
    head = await target.world.head()
    address = target.path(endpoint.path)
    for what, field in (
        ("a length that is no number", (b"content-length", b"-1")),
        ("a long length", (b"content-length", b"9" * 30)),
        ("an Arabic length", (b"content-length", "١".encode())),
        ("a host that is none", (b"host", b"a b")),
    ):
        answer = await target.send(endpoint.method, address, [*target.headers(endpoint), field])
        check(endpoint, answer, what)
    if endpoint.scope is not None:
        for what, value in (
            ("no scheme", target.token.encode()),
            ("a foreign scheme", b"Digest x"),
            ("no token", b"Bearer "),
            ("octets", b"Bearer \xff\xfe"),
            ("a long token", b"Bearer " + b"x" * 100_000),
            ("two tokens", f"Bearer {target.token} {target.token}".encode()),
            ("a list", f"Bearer {target.token}, Bearer {target.token}".encode()),
        ):
            answer = await target.send(endpoint.method, address, [(b"authorization", value)])
            check(endpoint, answer, what, range(401, 402))
        twice = [*target.headers(endpoint), *target.headers(endpoint)]
        check(endpoint, await target.send(endpoint.method, address, twice), "two fields", range(401, 402))
    assert await target.committed(head) == []


KEYED = [
    each for each in DOCUMENTED if each.scope is not None and each.method != "GET" and each.path.startswith("/admin")
]


@pytest.mark.parametrize("endpoint", KEYED, ids=str)
async def test_idempotency_keys(target: Target, endpoint: Endpoint) -> None:
    head = await target.world.head()
    for what, key in (("empty", b""), ("a long one", b"x" * 100_000), ("octets", b"\xff\xfe"), ("a blank", b"a\tb")):
        answer = await target.send(
            endpoint.method, target.path(endpoint.path), [*target.headers(endpoint), (b"idempotency-key", key)]
        )
        check(endpoint, answer, f"the key {what}")
    assert await target.committed(head) == []


@pytest.mark.parametrize(
    "endpoint", [each for each in DOCUMENTED if JSON in each.bodies and each.path.startswith("/admin/")], ids=str
)
async def test_json_on_postgresql(on_postgresql: Target, endpoint: Endpoint) -> None:
    await try_json(on_postgresql, endpoint)


@pytest.fixture(scope="module")
async def on_postgresql(module_postgresql_url: str, tmp_path_factory: Any, keyring: Keyring) -> AsyncIterator[Target]:
    async with _opened(module_postgresql_url, tmp_path_factory.mktemp("bad-input"), keyring) as found:
        yield found


def _spoilt_fields(fields: dict[str, str]) -> list[tuple[str, bytes]]:
    """A page's form with each field left out, doubled, or holding what no text is."""
    spoilt = []
    for name in fields:
        rest = urlencode({other: value for other, value in fields.items() if other != name}).encode()
        start = rest + (b"&" if rest else b"") + name.encode() + b"="
        spoilt += [
            (f"{name} twice", start + b"x&" + name.encode() + b"=x"),
            (f"{name}: NUL", start + b"a%00b"),
            (f"{name}: no UTF-8", start + b"%FF%FE"),
            (f"{name}: a broken escape", start + b"%zz"),
            (f"{name}: a megabyte", start + b"x" * 1_000_000),
            (f"without {name}", rest or b"x=1"),
        ]
    return spoilt


async def _try_form(target: Target, browser: Browser, page: Page, path: str, **typed: str) -> None:
    form = page.form(path)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    headers = [
        (b"cookie", cookies),
        (b"origin", browser.origin.encode()),
        (b"sec-fetch-site", b"same-origin"),
        (b"content-type", FORM.encode()),
    ]
    (endpoint,) = [each for each in DOCUMENTED if each.path == path and each.method == "POST"]
    head = await target.world.head()
    for what, body in _spoilt_fields({**form.fields, **typed}):
        answer = await target.send("POST", form.action.encode(), headers, body)
        check(endpoint, answer, what)
    assert await target.committed(head) == []


async def test_forms_of_pages_with_everything_else_right(target: Target) -> None:
    world, browser = target.world, target.world.browser()
    typed = {"username": "paul", "password": PASSWORD}
    page = await browser.open("/account/sign-in?realm=platform")
    await _try_form(target, browser, page, "/account/sign-in", **typed)
    request = {
        "response_type": "code",
        "client_id": target.named["client_id"],
        "redirect_uri": REDIRECT_URI,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    page = await browser.open(f"/oauth/authorize?{urlencode(request)}")
    await _try_form(target, browser, page, SIGN_IN, **typed)
    page = await browser.press(page, SIGN_IN, **typed)
    assert page.status == 200, page.text
    await _try_form(target, browser, page, CONSENT, decision="approve")
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.location.startswith(REDIRECT_URI)
    assert (await world.types_after(0)).count("grant.code_issued") == 1
