"""The OpenAPI document against the server: nothing made from it is a 5xx, and answers are as it says."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3 import HTTPResponse
from urllib3._collections import HTTPHeaderDict

from security.keyring import Keyring
from tests.explore import examples
from tests.scenarios.administration import EVERYTHING
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.http.endpoints import Endpoint, described, endpoints
from tests.scenarios.http.raw import send
from tests.scenarios.world import World, open_world

EXAMPLES = 3
"""For each endpoint and each kind of caller; whoever explores has other ones, and `EXPLORED` of them."""

EXPLORED = 20

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DOCUMENTED = [each for each in endpoints() if each.operation is not None]
BOUNDED = settings(
    max_examples=examples(EXAMPLES, EXPLORED),
    database=None,
    # A failing example is shown as it was found: making it smaller would take longer than reading it.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)

pytestmark = pytest.mark.hypothesis
"""The properties stand inside these tests, where nobody else would see that they are there to be explored."""


class Server(HTTPAdapter):
    """The server, in a thread with an event loop of its own, as what `requests` sends to."""

    def __init__(self, portal: BlockingPortal, world: World, token: str, basic: str, named: dict[str, str]) -> None:
        super().__init__()
        self.portal = portal
        self.world = world
        self.token = token
        self.basic = basic
        self.named = named
        self.session = requests.Session()
        self.session.mount("http://", self)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        target = request.path_url.encode("utf-8")
        body = request.body or b""
        headers = [
            (name.lower().encode("latin-1"), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in request.headers.items()
        ]
        raw = self.portal.call(
            send,
            self.world.app,
            request.method or "",
            target,
            [field for field in headers if field[0] != b"content-length"],
            body if isinstance(body, bytes) else str(body).encode(),
        )
        fields = HTTPHeaderDict([(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw.headers])
        answer = HTTPResponse(BytesIO(raw.body), fields, raw.status, preload_content=False)
        return self.build_response(request, answer)


@pytest.fixture(scope="module")
def server(module_sqlite_url: str, tmp_path_factory: pytest.TempPathFactory, keyring: Keyring) -> Iterator[Server]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            _opened(module_sqlite_url, tmp_path_factory.mktemp("schemathesis"), keyring)
        ) as (world, token, basic, named),
    ):
        yield Server(portal, world, token, basic, named)


@asynccontextmanager
async def _opened(url: str, directory: Path, keyring: Keyring) -> Any:
    async with open_world(url, directory, keyring, throttle=False, registration="open") as world:
        platform = await make_platform(world)
        shop = await world.register_client(
            grant_types=("authorization_code", "refresh_token", "client_credentials"), scope=("orders",)
        )
        issued = (await world.events("client.*", stream=f"client:{shop.client_id}"))[-1].event
        token = await world.token(*EVERYTHING)
        basic = "Basic " + b64encode(":".join(shop.auth).encode()).decode()
        grant = (await world.events("grant.tokens_issued"))[-1]
        yield (
            world,
            token,
            basic,
            {
                "client_id": shop.client_id,
                "secret_id": issued.secret_id,
                "token_id": "nobody",
                "account_id": platform.paul.account_id,
                "grant_id": grant.stream.partition(":")[2],
                "slug": "client",
                "realm": "platform",
                "name": "orders",
                "position": "3",
                "stream": grant.stream,
            },
        )


@pytest.fixture(scope="module")
def schema() -> Any:
    # Who calls is decided by the tests; and NUL, which the server takes nowhere, would hide what lies behind it.
    generation = {"allow-x00": False, "with-security-parameters": False}
    config = schemathesis.Config.from_dict({"generation": generation})
    return schemathesis.openapi.from_dict(described(), config=config)


def _try(server: Server, schema: Any, endpoint: Endpoint, mode: GenerationMode, *callers: dict[str, str]) -> None:
    """Sends each example once for every caller: to think them up takes longer than to answer them."""
    operation = schema[endpoint.path][endpoint.method]
    # On the session, since the library takes this one field out of a call's own.
    server.session.headers["accept"] = "text/html" if endpoint.answers == "page" else "*/*"

    @BOUNDED
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def run(case: Any, real_names: bool) -> None:
        if real_names and case.path_parameters:
            case.path_parameters |= {name: server.named[name] for name in case.path_parameters if name in server.named}
        for headers in callers:
            response = case.call(base_url="http://127.0.0.1:8400", session=server.session, headers=headers)
            case.validate_response(response, checks=CHECKS)

    run()


@pytest.mark.parametrize("endpoint", DOCUMENTED, ids=str)
def test_what_the_document_allows_known_callers_and_anybody(server: Server, schema: Any, endpoint: Endpoint) -> None:
    known, anybody = _known(server, endpoint), _browser(endpoint)
    _try(server, schema, endpoint, GenerationMode.POSITIVE, known | anybody, anybody)


@pytest.mark.parametrize("endpoint", [each for each in DOCUMENTED if each.bodies or each.queries], ids=str)
def test_what_the_document_excludes(server: Server, schema: Any, endpoint: Endpoint) -> None:
    _try(server, schema, endpoint, GenerationMode.NEGATIVE, _known(server, endpoint) | _browser(endpoint))


def _known(server: Server, endpoint: Endpoint) -> dict[str, str]:
    """What a caller adds who may do everything, or the client that an endpoint of OAuth is for."""
    return {"authorization": server.basic if endpoint.answers == "oauth" else f"Bearer {server.token}"}


def _browser(endpoint: Endpoint) -> dict[str, str]:
    """What a browser adds at a dashboard: the origin of the page that calls."""
    return {"origin": "http://127.0.0.1:8400"} if endpoint.path.startswith("/dashboards/") else {}
