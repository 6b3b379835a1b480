"""Traces and metrics reach a collector when the standard variables name one, and tell nothing of whom."""

import gzip
import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from security.keyring import Keyring
from tests.scenarios.world import World, open_world

PARENT, WITHIN = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01", "ab" * 16


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what was exported, by path."""

    daemon_threads = True

    def __init__(self) -> None:
        self.taken: dict[str, list[bytes]] = {}
        super().__init__(("127.0.0.1", 0), Taking)


class Taking(http.server.BaseHTTPRequestHandler):
    """One export."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.setdefault(self.path, []).append(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{found.server_address[1]}")
    yield found
    found.shutdown()
    found.server_close()


def attributes(given: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in given}


def spans(collector: Collector) -> list[Any]:
    told = [ExportTraceServiceRequest.FromString(body) for body in collector.taken["/v1/traces"]]
    return [
        span
        for each in told
        for resource in each.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def counts(collector: Collector, name: str) -> dict[tuple[Any, ...], float]:
    """The counts of one metric when it was exported last, by the values of its labels."""
    last = ExportMetricsServiceRequest.FromString(collector.taken["/v1/metrics"][-1])
    (metric,) = [
        metric
        for resource in last.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
    ]
    return {tuple(attributes(point.attributes).values()): point.as_int for point in metric.sum.data_points}


async def test_a_request_is_a_trace_with_the_id_of_its_events(
    collector: Collector, sqlite_url: str, tmp_path: Path, keyring: Keyring
) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, trusted_proxies=("198.51.100.1",)) as world:
        client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
        asked = {"grant_type": "client_credentials"}
        answer = await world.client.post("/oauth/token", data=asked, auth=client.auth)
        refused = await world.client.post("/oauth/token", data=asked, auth=(client.client_id, "wrong"))
        # Whoever is no proxy of ours names no trace.
        await world.client.get(f"/no/such/{client.client_id}?q=secret", headers={"traceparent": PARENT})
        through = await world.caller("198.51.100.1").get("/.well-known/jwks.json", headers={"traceparent": PARENT})
        await world.operators.get("/metrics")
        (issued,) = await world.events("grant.tokens_issued")
    told = spans(collector)
    assert [span.name for span in told] == ["POST /oauth/token"] * 2 + ["GET", "GET /.well-known/jwks.json"]
    first, second, nowhere, last = told
    assert first.trace_id.hex() == answer.headers["x-request-id"] == issued.request_id
    assert second.trace_id.hex() == refused.headers["x-request-id"]
    assert (
        attributes(second.attributes).items()
        >= {
            "http.response.status_code": 401,
            "grantlog.error": "invalid_client",
            "grantlog.reason": "wrong_secret",
        }.items()
    )
    assert (nowhere.trace_id.hex() != WITHIN, nowhere.parent_span_id) == (True, b"")
    assert (last.trace_id.hex(), last.parent_span_id.hex()) == (WITHIN, "cd" * 8)
    assert attributes(last.attributes)["grantlog.request_id"] == through.headers["x-request-id"]

    assert counts(collector, "grantlog.tokens")[("client_credentials",)] == 1
    assert counts(collector, "grantlog.refusals")[("invalid_client", "wrong_secret")] == 1
    everything = b"".join(body for bodies in collector.taken.values() for body in bodies)
    secrets = (client.client_id, answer.json()["access_token"], "q=secret", "no/such", "198.51.100.1")
    assert [each for each in (*secrets, client.secret or "") if each.encode() in everything] == []


async def test_without_the_variables_nothing_is_asked_of_a_request(world: World) -> None:
    assert world.app.traced is None
    answer = await world.client.get("/health/live")
    assert len(answer.headers["x-request-id"]) == 22


async def test_what_is_not_installed_is_said_and_harms_nobody(
    collector: Collector, sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    async with open_world(sqlite_url, tmp_path, keyring) as world:
        assert world.app.traced is None
        assert (await world.client.get("/health/live")).status_code == 200
    assert collector.taken == {}
