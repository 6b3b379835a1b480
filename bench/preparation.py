"""What the load needs before it begins: clients, a person, live tokens. Made by the command line and over HTTP."""

import asyncio
import base64
import json
import re
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from bench import wrk
from bench.server import BIN, ROOT, Server

REDIRECT_URI = "https://shop.example/callback"
SCOPE = "catalog:read orders:write"
VERIFIER = "the-verifier-of-a-benchmark-is-no-secret-at-all"
PASSWORD = secrets.token_urlsafe(24)
AT_A_TIME = 16


@dataclass
class Prepared:
    """Authorization headers of the two clients, live access tokens, and refresh tokens that nobody has used."""

    service: str
    shop: str
    access: list[str]
    refresh: list[str] = field(repr=False)


class Administration:
    """The command line, on one database."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {"PATH": str(BIN), **environment}

    def run(self, *arguments: str, given: str | None = None) -> str:
        """What a command prints; raises RuntimeError with its words when it fails."""
        done = subprocess.run(
            [BIN / "grantlog", *arguments],
            env=self._environment,
            cwd=ROOT,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"grantlog {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def client(self, name: str, scope: str, *options: str) -> tuple[str, str]:
        """Registers a client; its id and its secret."""
        answer = json.loads(self.run("client", "register", "--name", name, "--scope", scope, *options, "--json"))
        return answer["client_id"], answer["client_secret"]


def upgrade(environment: Mapping[str, str]) -> None:
    """Makes the tables."""
    Administration(environment).run("database", "upgrade")


def prepare(
    server: Server, environment: Mapping[str, str], directory: Path, *, grants: int, seconds: float
) -> Prepared:
    """Clients, one person who consented, `grants` refresh tokens, and the access tokens that `seconds` of load give."""
    administration = Administration(environment)
    for name in SCOPE.split():
        administration.run("scope", "put", name, f"Use {name}")
    administration.run("role", "put", "platform", "shopper", "--scope", SCOPE)
    service = administration.client("Service", f"{SCOPE} introspect", "--grant-type", "client_credentials")
    shop_id, shop_secret = administration.client(
        "Shop", SCOPE, "--grant-type", "authorization_code", "--grant-type", "refresh_token",
        "--redirect-uri", REDIRECT_URI,
    )  # fmt: skip
    person = ("--username", "paul", "--email", "paul@example.test", "--role", "shopper", "--password-stdin")
    administration.run("person", "add", *person, given=f"{PASSWORD}\n")
    access = _access_tokens(server, basic(*service), directory, seconds)
    refresh = asyncio.run(_refresh_tokens(server, shop_id, shop_secret, grants))
    return Prepared(basic(*service), basic(shop_id, shop_secret), access, refresh)


def basic(client_id: str, secret: str) -> str:
    """The Authorization header (RFC 7617). Neither of ours has a character that RFC 6749 §2.3.1 would encode."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def _access_tokens(server: Server, authorization: str, directory: Path, seconds: float) -> list[str]:
    beginning = directory / "access"
    load = wrk.Load("/oauth/token", "collect.lua", beginning, authorization)
    wrk.run(server.port, load, seconds=seconds, connections=64)
    found: list[str] = []
    for path in sorted(directory.glob("access.*")):
        # The last line of a thread that was stopped may be half a token.
        found += [line for line in path.read_text().split("\n")[:-1] if line]
        path.unlink()
    return found


async def _refresh_tokens(server: Server, client_id: str, secret: str, count: int) -> list[str]:
    """Signs in and consents once; from then on each authorization request is answered with a code at once."""
    limits = asyncio.Semaphore(AT_A_TIME)
    challenge = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    address = f"/oauth/authorize?{urlencode(asked)}"
    async with httpx.AsyncClient(base_url=server.url, timeout=60, headers={"origin": server.url}) as browser:
        page = await browser.get("/account/sign-in?realm=platform")
        form = {"csrf": _csrf(page.text), "username": "paul", "password": PASSWORD}
        await browser.post(_action(page.text), data=form)
        page = await browser.get(address)
        action = _action(page.text, "consent")
        await browser.post(action, data={"csrf": _csrf(page.text), "decision": "approve"})

        async def one() -> str:
            async with limits:
                sent = await browser.get(address)
                code = parse_qs(urlsplit(sent.headers["location"]).query)["code"][0]
                body = {
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": REDIRECT_URI,
                    "code_verifier": VERIFIER,
                }
                answer = await browser.post("/oauth/token", data=body, auth=(client_id, secret))
                answer.raise_for_status()
                token: str = answer.json()["refresh_token"]
                return token

        return list(await asyncio.gather(*(one() for _ in range(count))))


def _csrf(page: str) -> str:
    return _only(r'name="csrf" value="([^"]+)"', page)


def _action(page: str, part: str = "") -> str:
    return _only(rf'<form[^>]* action="([^"]*{part}[^"]*)"', page).replace("&amp;", "&")


def _only(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise RuntimeError(f"no {pattern} in the page:\n{page[:2000]}")
    return found[1]
