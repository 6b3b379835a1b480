"""The role `auditor` as an installation begins with it: it reads all of `/audit` and `/log`, and changes nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from commands.servers import install
from security.keyring import Keyring
from tests.scenarios.event_source import EventSource
from tests.scenarios.http.endpoints import Endpoint, endpoints
from tests.scenarios.http.raw import Raw, send
from tests.scenarios.world import SYSTEM, World, open_world

READ = [each for each in endpoints() if each.scope == "audit:read"]
ENDING = [each for each in READ if each.path != "/audit/stream"]
GIVEN = {"profile", "audit:read", "audit:personal", "people:read", "clients:read", "grants:read"}
# Who somebody is they learn by any administrative scope.
CLOSED = [each for each in endpoints() if each.scope is not None and each.scope not in GIVEN and each.path != "/me"]
WRITING = [each for each in CLOSED if each.scope is not None and each.scope.endswith(":write")]

ANSWERED = {
    "GET /audit/counts": (b"?by=type", 200),
    "GET /audit/diff/{stream}": (b"", 200),
    "GET /audit/event-types": (b"", 200),
    "GET /audit/events": (b"", 200),
    "GET /audit/events/{position}": (b"", 200),
    "GET /audit/export": (b"?format=jsonl", 200),
    "GET /audit/package": (b"", 200),
    "GET /audit/proofs/{position}": (b"", 200),
    "GET /audit/state/{stream}": (b"", 200),
    "GET /audit/overview": (b"", 200),
    "POST /audit/find": (b'{"text":"nobody"}', 200),
    "POST /audit/token-history": (b'{"id":"nobody"}', 404),
    "POST /audit/token-state": (b'{"sha256":"%s"}' % (b"0" * 64), 200),
    "GET /log/tile/entries/{rest}": (b"", 404),
}
"""What each of an auditor's endpoints gets (a query, or a body) and answers; a new one has to be entered here."""

NAMES = {
    "position": "1",
    "stream": "server",
    "rest": "000",
    "realm": "platform",
    "name": "orders",
    "slug": "client",
    "sha256": "0" * 64,
}


class Auditor:
    """A person with the role, signed in at the Administration Dashboard."""

    def __init__(self, world: World, token: str, scope: str) -> None:
        self.world = world
        self.token = token
        self.scope = scope
        self.headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]

    async def ask(self, endpoint: Endpoint, query: bytes = b"", body: bytes = b"") -> Raw:
        return await send(self.world.app, endpoint.method, _address(endpoint) + query, self.headers, body)


def _address(endpoint: Endpoint) -> bytes:
    names = {part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")}
    return endpoint.path.format(**{name: NAMES.get(name, "nobody") for name in names}).encode()


@pytest.fixture(scope="module")
async def auditor(module_sqlite_url: str, tmp_path_factory: Any, keyring: Keyring) -> AsyncIterator[Auditor]:
    data = tmp_path_factory.mktemp("auditor")
    async with open_world(module_sqlite_url, data, keyring, throttle=False) as world:
        services = world.services
        assert await install(services.ledger, keyring, services.format, world.settings.issuer, SYSTEM)
        person = await world.register_person("vera", realm="administration", roles_of=("auditor",))
        answer = await world.client.post(
            "/dashboards/administration/login",
            json={"username": person.username, "password": person.password},
            headers={"origin": world.settings.issuer},
        )
        assert answer.status_code == 200, answer.text
        yield Auditor(world, answer.json()["access_token"], answer.json()["scope"])


async def test_the_role_gives_reading_alone(auditor: Auditor) -> None:
    assert set(auditor.scope.split()) == GIVEN


def test_every_endpoint_of_an_auditor_is_tried() -> None:
    assert {str(each) for each in READ} == {*ANSWERED, "GET /audit/stream"}
    assert {each.method for each in READ} <= {"GET", "HEAD", "POST"}
    assert len(WRITING) >= 10


@pytest.mark.parametrize("endpoint", ENDING, ids=str)
async def test_an_auditor_reads_it(auditor: Auditor, endpoint: Endpoint) -> None:
    given, status = ANSWERED[str(endpoint)]
    query, body = (b"", given) if endpoint.method == "POST" else (given, b"")
    answer = await auditor.ask(endpoint, query, body)
    assert answer.status == status, answer


async def test_an_auditor_follows_the_stream(auditor: Auditor) -> None:
    async with EventSource(auditor.world, "/audit/stream", auditor.token) as stream:
        assert stream.started["status"] == 200


@pytest.mark.parametrize("endpoint", CLOSED, ids=str)
async def test_everything_else_is_closed_and_nothing_changes(auditor: Auditor, endpoint: Endpoint) -> None:
    head = await auditor.world.head()
    answer = await auditor.ask(endpoint, body=b"{}")
    assert answer.status == 403, answer
    assert f'scope="{endpoint.scope}"' in (answer.header("www-authenticate") or "")
    assert await auditor.world.head() == head


async def test_reading_leaves_only_the_note_that_somebody_read(auditor: Auditor) -> None:
    head = await auditor.world.head()
    for endpoint in ENDING:
        given, _ = ANSWERED[str(endpoint)]
        query, body = (b"", given) if endpoint.method == "POST" else (given, b"")
        await auditor.ask(endpoint, query, body)
    types = await auditor.world.types_after(head)
    assert types
    assert {each.partition(".")[0] for each in types} == {"audit"}, types
