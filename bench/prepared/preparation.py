"""What the load needs before it begins: clients, a person, live and dead tokens. Made by the command line and HTTP."""

import base64
import json
import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from bench.load import asking, wrk
from bench.subjects.server import THIS, Checkout, Server
from security.tokens import Kind, mint

REDIRECT_URI = "https://shop.example/callback"
SCOPE = "catalog:read orders:write"
VERIFIER = "the-verifier-of-a-benchmark-is-no-secret-at-all"
CHALLENGE = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
"""Of that verifier, by the method `S256` (RFC 7636 §4.2)."""
USERNAME = "paul"
PASSWORD = secrets.token_urlsafe(24)
AT_A_TIME = 16


class Unprepared(Exception):
    """The server did not give what the load needs."""


@dataclass
class Prepared:
    """Authorization headers of the clients, tokens, and the path and cookie that give an authorization code each time.

    `administrator` is a client with every administrative scope.
    """

    service: str
    shop: str
    administrator: str
    authorize: str
    cookie: str = field(repr=False)
    access: list[str] = field(default_factory=list, repr=False)
    revoked: list[str] = field(default_factory=list, repr=False)
    unknown: list[str] = field(default_factory=list, repr=False)


class Administration:
    """The command line, on one database."""

    def __init__(self, environment: Mapping[str, str], checkout: Checkout = THIS) -> None:
        self._environment = {"PATH": str(checkout.programs), **environment}
        self._checkout = checkout

    def run(self, *arguments: str, given: str | None = None) -> str:
        """What a command prints; raises RuntimeError with its words when it fails."""
        done = subprocess.run(
            [self._checkout.programs / "grantlog", *arguments],
            env=self._environment,
            cwd=self._checkout.root,
            input=given,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"grantlog {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def client(self, name: str, scope: str, *options: str) -> tuple[str, str]:
        """Registers a client; its id and its secret."""
        answer = json.loads(self.run("client", "register", "--name", name, "--scope", scope, *options, "--json"))
        return answer["client_id"], answer["client_secret"]


def upgrade(environment: Mapping[str, str], checkout: Checkout = THIS) -> None:
    """Makes the tables."""
    Administration(environment, checkout).run("database", "upgrade")


def install(
    environment: Mapping[str, str], checkout: Checkout = THIS
) -> tuple[tuple[str, str], tuple[str, str], tuple[str, str]]:
    """Scopes, a role and a person; the ids and secrets of the three clients: service, shop, administrator."""
    administration = Administration(environment, checkout)
    for name in SCOPE.split():
        administration.run("scope", "put", name, f"Use {name}")
    administration.run("role", "put", "platform", "shopper", "--scope", SCOPE)
    service = administration.client("Service", f"{SCOPE} introspect", "--grant-type", "client_credentials")
    shop = administration.client(
        "Shop", SCOPE, "--grant-type", "authorization_code", "--grant-type", "refresh_token",
        "--redirect-uri", REDIRECT_URI,
    )  # fmt: skip
    person = ("--username", USERNAME, "--email", "paul@example.test", "--role", "shopper", "--password-stdin")
    administration.run("person", "add", *person, given=f"{PASSWORD}\n")
    made = json.loads(administration.run("bootstrap", "--json"))
    return service, shop, (made["client_id"], made["client_secret"])


def prepare(server: Server, environment: Mapping[str, str], checkout: Checkout = THIS) -> Prepared:
    """Clients and a person who has signed in and consented. Tokens are for `collect`, `revoke` and `invent`."""
    service, shop, administrator = install(environment, checkout)
    authorize, cookie = consented(server, shop[0])
    return Prepared(basic(*service), basic(*shop), basic(*administrator), authorize, cookie)


def basic(client_id: str, secret: str) -> str:
    """The Authorization header (RFC 7617). Neither of ours has a character that RFC 6749 §2.3.1 would encode."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def collect(
    server: Server, prepared: Prepared, directory: Path, *, seconds: int, at_least: int = 0, path: str = "/oauth/token"
) -> None:
    """Adds the access tokens that `seconds` of load give, again and again until there are as many as wanted."""
    while True:
        load = wrk.Load(path, "collect.lua", directory / "access", prepared.service)
        wrk.run(server.port, load, seconds=seconds, connections=64)
        found: list[str] = []
        for file in sorted(directory.glob("access.*")):
            # The last line of a thread that was stopped may be half a token.
            found += [line for line in file.read_text().split("\n")[:-1] if line]
            file.unlink()
        if not found:
            raise Unprepared("the token endpoint gives no tokens")
        prepared.access += found
        if len(prepared.access) >= at_least:
            return


def revoke(server: Server, prepared: Prepared, count: int) -> None:
    """Has so many of the live tokens revoked."""
    ended, prepared.access = prepared.access[:count], prepared.access[count:]
    sent = [
        asking.request(server.port, "POST", "/oauth/revoke", authorization=prepared.service, body=f"token={token}")
        for token in ended
    ]
    all_succeeded(asking.run(asking.each_once(server.port, sent)))
    prepared.revoked += ended


def invent(prepared: Prepared, count: int) -> None:
    """Adds tokens that were never issued and that nobody can tell from others by their looks."""
    prepared.unknown += [mint(Kind.ACCESS_TOKEN).reveal() for _ in range(count)]


def codes(server: Server, prepared: Prepared, count: int) -> list[str]:
    """Fresh authorization codes of a person who consented before, each an answer of the authorization endpoint."""
    sent = asking.request(server.port, "GET", prepared.authorize, Cookie=prepared.cookie)
    answers = asking.run(asking.each_once(server.port, [sent] * count, AT_A_TIME))
    all_succeeded(answers, 303)
    return [parse_qs(urlsplit(each.header("location") or "").query)["code"][0] for each in answers]


def exchange(code: str) -> str:
    """The body of a request that redeems a code."""
    body = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    return urlencode(body)


def refresh_tokens(server: Server, prepared: Prepared, count: int) -> list[str]:
    """Refresh tokens that nobody has used, of as many grants."""
    sent = [
        asking.request(server.port, "POST", "/oauth/token", authorization=prepared.shop, body=exchange(code))
        for code in codes(server, prepared, count)
    ]
    answers = asking.run(asking.each_once(server.port, sent, AT_A_TIME))
    all_succeeded(answers)
    return [json.loads(each.body)["refresh_token"] for each in answers]


def bearer(server: Server, authorization: str) -> str:
    """The Authorization header with a fresh access token of a client."""
    given = httpx.post(
        f"{server.url}/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"authorization": authorization},
        timeout=60,
    )
    given.raise_for_status()
    return f"Bearer {given.json()['access_token']}"


def consented(server: Server, client_id: str, scope: str | None = None) -> tuple[str, str]:
    """Signs in and consents once; from then on each authorization request is answered with a code at once."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    if scope is not None:
        asked["scope"] = scope
    address = f"/oauth/authorize?{urlencode(asked)}"
    with httpx.Client(base_url=server.url, timeout=60, headers={"origin": server.url}) as browser:
        page = browser.get("/account/sign-in?realm=platform")
        form = {"csrf": _csrf(page.text), "username": USERNAME, "password": PASSWORD}
        browser.post(_action(page.text), data=form)
        page = browser.get(address)
        action = _action(page.text, "consent")
        browser.post(action, data={"csrf": _csrf(page.text), "decision": "approve"})
        return address, "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def all_succeeded(answers: Sequence[asking.Answer], status: int = 200) -> None:
    """Raises `Unprepared` unless every answer has the status."""
    found = asking.statuses(answers)
    if set(found) - {status}:
        raise Unprepared(f"answers should all be {status} and are {dict(found)}")


def _csrf(page: str) -> str:
    return _only(r'name="csrf" value="([^"]+)"', page)


def _action(page: str, part: str = "") -> str:
    return _only(rf'<form[^>]* action="([^"]*{part}[^"]*)"', page).replace("&amp;", "&")


def _only(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise Unprepared(f"no {pattern} in the page:\n{page[:2000]}")
    return found[1]
