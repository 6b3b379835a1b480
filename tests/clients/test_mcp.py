"""The OAuth client of the MCP SDK for Python: it knows the address of a resource server alone, finds from its refusal
where tokens for it come from (RFC 9728), registers itself there (RFC 7591) or is known by the address of a document
that describes it (Client ID Metadata Documents), and asks for one that is for it (RFC 8707).
"""

import json
import shlex
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from api.oauth.client_names import id_of
from tests import plain_http
from tests.clients.conftest import CALLBACK, Stage
from tests.clients.recipes import filled
from tests.scenarios.world import Client, World
from tests.started import program

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
    """What the client remembers of its registration and of its tokens: at first nothing."""

    client: Any = None
    tokens: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


@pytest.fixture
def tools(issuer: str) -> Iterator[Tools]:
    with Tools(issuer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Describing(BaseHTTPRequestHandler):
    """Answers with the document of an agent, wherever it is asked for."""

    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        written = json.dumps(
            {
                "client_id": f"https://localhost:{self.server.server_address[1]}{self.path}",
                "client_name": "Agent",
                "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: standard error is the tests'."""


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a document behind TLS, whose authority the server is told to trust as others are."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)]
    subprocess.run([*made, "-out", str(certificate)], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Describing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_address[1]}/agent.json"
        server.shutdown()


@pytest.fixture
def described() -> bool:
    """Whether a document describes the agent, so that it need not register itself."""
    return False


@pytest.fixture
def settings(tools: Tools, described: bool, request: pytest.FixtureRequest) -> dict[str, str]:
    """Whoever registers, or has a document, may ask for tokens for the tools."""
    lines = shlex.split(filled("MCP", {"https://tools.example.com/mcp": tools.address}))
    given = {
        name.removeprefix("GRANTLOG_").lower(): value for name, _, value in (each.partition("=") for each in lines)
    }
    if not described:
        return given | {"client_id_metadata_documents": "0"}
    request.getfixturevalue("document")
    return given | {"registration": "off", "allow_private_urls": "1"}


async def test_a_token_for_a_tool(stage: Stage, world: World, tools: Tools) -> None:  # noqa: F811
    kept = Kept()
    answered = await used(stage, world, tools, kept, None)
    assert answered == {"for": stage.person.account_id, "scope": f"{SCOPE} offline_access"}
    assert kept.client.issuer == stage.issuer


@pytest.mark.parametrize("described", [True])
async def test_an_agent_that_a_document_describes(
    stage: Stage,
    world: World,  # noqa: F811
    tools: Tools,
    document: str,
) -> None:
    kept = Kept()
    assert (await used(stage, world, tools, kept, document))["for"] == stage.person.account_id
    assert kept.client.client_id == document
    (registered,) = await world.events("client.registered", stream=f"client:{id_of(document)}")
    assert (registered.event.metadata_uri, registered.event.client_name) == (document, "Agent")


async def used(stage: Stage, world: World, tools: Tools, kept: Kept, document: str | None) -> Any:  # noqa: F811
    """What the tool answers an agent that the person lets use it."""
    # Here, since whoever collects tests would wait for them too, and each process of a run does.
    httpx2 = pytest.importorskip("httpx2")
    oauth2 = pytest.importorskip("mcp.client.auth.oauth2", reason="the MCP SDK is not installed: make dev")
    tools.client = await world.register_client("Tools", grant_types=("client_credentials",), serves=(tools.address,))
    described = oauth2.OAuthClientMetadata(client_name="Agent", redirect_uris=[CALLBACK])
    returned: list[str] = []

    async def lead(address: str) -> None:
        returned.append(await stage.approve(address))

    async def came_back() -> Any:
        return oauth2.AuthorizationCodeResult(**dict(parse_qsl(urlsplit(returned[0]).query)))

    provider = oauth2.OAuthClientProvider(tools.address, described, kept, lead, came_back, client_metadata_url=document)
    async with httpx2.AsyncClient(auth=provider, trust_env=False) as client:
        return (await client.get(tools.address)).json()
