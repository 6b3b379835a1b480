"""The OAuth client of the MCP SDK for Python: it knows the address of a resource server alone, finds from its refusal
where tokens for it come from (RFC 9728), and asks for one that is for it (RFC 8707).
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests import plain_http
from tests.clients.conftest import CALLBACK, Stage
from tests.scenarios.world import Client, World

oauth2 = pytest.importorskip("mcp.client.auth.oauth2", reason="the MCP SDK is not installed: make dev")

METADATA = "/.well-known/oauth-protected-resource/tools"
SCOPE = "catalog:read"


class Tools(ThreadingHTTPServer):
    """A resource server, which believes what introspection says of a token."""

    def __init__(self, issuer: str) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.issuer = issuer
        self.client: Client | None = None
        self.address = f"http://127.0.0.1:{self.server_address[1]}/tools"

    def introspected(self, token: str) -> dict[str, Any]:
        """What the issuer says of it."""
        assert self.client is not None
        url = f"{self.issuer}/oauth/introspect"
        found: dict[str, Any] = plain_http.post(url, data={"token": token}, auth=self.client.auth).json()
        return found


class Answering(BaseHTTPRequestHandler):
    server: Tools

    def do_GET(self) -> None:
        """The metadata to everybody, the rest to who has a token for it."""
        if self.path == METADATA:
            described = {"resource": self.server.address, "authorization_servers": [self.server.issuer]}
            return self._answer(200, described | {"scopes_supported": [SCOPE]})
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        said = self.server.introspected(token) if token else {}
        if said.get("aud") == self.server.address:
            return self._answer(200, {"for": said["sub"], "scope": said["scope"]})
        origin = self.server.address.removesuffix("/tools")
        return self._answer(401, {}, f'Bearer resource_metadata="{origin}{METADATA}"')

    def _answer(self, status: int, body: dict[str, Any], challenge: str | None = None) -> None:
        written = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(written)))
        if challenge is not None:
            self.send_header("www-authenticate", challenge)
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: standard error is the tests'."""


class Kept:
    """What the client remembers of its registration, and of its tokens."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.tokens: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


@pytest.fixture
def tools(stage: Stage) -> Iterator[Tools]:
    with Tools(stage.issuer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


async def test_a_token_for_a_tool(stage: Stage, world: World, tools: Tools) -> None:  # noqa: F811
    httpx2 = pytest.importorskip("httpx2")
    tools.client = await world.register_client("Tools", grant_types=("client_credentials",), serves=(tools.address,))
    agent = await world.register_client(
        "Agent", redirect_uris=(CALLBACK,), scope=(SCOPE, "offline_access"), resources=(tools.address,)
    )
    described = {
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    registered = {"client_id": agent.client_id, "client_secret": agent.secret, **described}
    returned: list[str] = []

    async def lead(address: str) -> None:
        returned.append(await stage.approve(address))

    async def came_back() -> Any:
        return oauth2.AuthorizationCodeResult(**dict(parse_qsl(urlsplit(returned[0]).query)))

    provider = oauth2.OAuthClientProvider(
        tools.address,
        oauth2.OAuthClientMetadata(**described),
        Kept(oauth2.OAuthClientInformationFull(**registered)),
        lead,
        came_back,
    )
    async with httpx2.AsyncClient(auth=provider, trust_env=False) as client:
        answer = await client.get(tools.address)
    assert answer.json() == {"for": stage.person.account_id, "scope": f"{SCOPE} offline_access"}
    assert dict(parse_qsl(urlsplit(returned[0]).query))["iss"] == stage.issuer
