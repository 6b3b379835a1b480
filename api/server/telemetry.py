"""Traces and metrics for OpenTelemetry, where its own variables name a collector; else nothing of it is even loaded.

A span is made when a request has been answered, from what is known of it then: route, method, status, error. It tells
neither address nor path nor anything that was sent. The ids that the server gives to requests are ids of traces then,
so that an event and a log line lead to their trace, and back.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from time import time_ns
from typing import Any
from uuid import uuid4

import structlog

from api.http.errors import TOLD
from api.http.middleware import Middleware
from api.http.request_context import Proxies, Scope, header, is_for_operators, request_context
from api.server.facts import Facts

ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
"""One of these turns it on (OpenTelemetry, OTLP exporter configuration)."""

TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
TRACEPARENT = re.compile(r"00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context §3.2."""

NAME = "grantlog"

log = structlog.get_logger("server")


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables name a collector and do not turn everything off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return any(environment.get(name) for name in ENDPOINTS)


def new_trace_id() -> str:
    """A request's id that is a trace's: 32 hexadecimal digits."""
    return secrets.token_hex(16)


class Telemetry:
    """One process's. To be made behind the fork, since it has threads, and closed at the end."""

    def __init__(self, version: str, facts: Facts, proxies: Proxies) -> None:
        from opentelemetry.sdk.resources import Resource

        self._proxies = proxies
        self._closing: list[Callable[[], Any]] = []
        # Workers count each for itself, and are told apart by this.
        own = {"service.version": version, "service.instance.id": str(uuid4())}
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": NAME}
        resource = Resource.create(own | named)
        self._tracer = self._traces(resource, version) if _is_exported("TRACES") else None
        self._seconds = self._metrics(resource, version, facts) if _is_exported("METRICS") else None

    def _traces(self, resource: Any, version: str) -> Any:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class Chosen(RandomIdGenerator):
            """The id that is chosen for the next trace, if one is."""

            next: int | None = None

            def generate_trace_id(self) -> int:
                chosen, self.next = self.next, None
                return super().generate_trace_id() if chosen is None else chosen

        self._ids = Chosen()
        provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._closing.append(provider.shutdown)
        return provider.get_tracer(NAME, version)

    def _metrics(self, resource: Any, version: str, facts: Facts) -> Any:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.metrics import CallbackOptions, Observation
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        self._closing.append(provider.shutdown)
        meter = provider.get_meter(NAME, version)

        def observing(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _: [Observation(count, labels) for labels, count in facts.counted(name)]

        for name, (text, _) in facts.families.items():
            meter.create_observable_counter(f"{NAME}.{name}", [observing(name)], description=text)
        return meter.create_histogram("http.server.request.duration", "s", "Duration of HTTP server requests.")

    def follow(self, outer: Middleware) -> None:
        """Has it tell of its requests, whose ids are ids of traces then."""
        outer.traced, outer.make_id = self.request, new_trace_id

    def request(self, scope: Scope, method: str, status: int | None, seconds: float) -> None:
        """Tells of an answered request. It says nothing of those of operators."""
        if is_for_operators(scope):
            return
        attributes: dict[str, Any] = {
            "http.request.method": method if method.isupper() and len(method) < 8 else "_OTHER",
            "http.response.status_code": status or 500,
            "url.scheme": scope.get("scheme", "http"),
        }
        if route := scope.get("path_template"):
            attributes["http.route"] = route
        if status is None or status >= 500:
            attributes["error.type"] = str(status or 500)
        if self._seconds is not None:
            self._seconds.record(seconds, attributes)
        if self._tracer is not None:
            error, reason = scope.get(TOLD, (None, None))
            more = {"grantlog.error": error, "grantlog.reason": reason}
            self._span(
                self._tracer, scope, attributes | {name: value for name, value in more.items() if value}, seconds
            )

    def _span(self, tracer: Any, scope: Scope, attributes: dict[str, Any], seconds: float) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        ended, request_id = time_ns(), request_context(scope).request_id
        parent = self._parent(scope)
        # Nothing that happens to be under way is its parent.
        if not parent and TRACE_ID.fullmatch(request_id):
            self._ids.next = int(request_id, 16)
        name = " ".join(filter(None, (attributes["http.request.method"], attributes.get("http.route"))))
        span = tracer.start_span(
            name,
            parent,
            SpanKind.SERVER,
            attributes | {"grantlog.request_id": request_id},
            start_time=ended - int(seconds * 1_000_000_000),
        )
        if "error.type" in attributes:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def _parent(self, scope: Scope) -> Any:
        """What a proxy that is trusted says the request is part of; anybody else could name what they like."""
        client = scope.get("client")
        given = TRACEPARENT.fullmatch(header(scope, b"traceparent") or "")
        if given is None or client is None or not self._proxies.trusts(client[0]):
            return _nothing()
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        flags = TraceFlags(int(given[3], 16))
        remote = SpanContext(int(given[1], 16), int(given[2], 16), is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(remote), _nothing())

    def close(self) -> None:
        """Sends what was gathered; it takes seconds where the collector does not answer."""
        for each in self._closing:
            each()


def _nothing() -> Any:
    from opentelemetry.context import Context

    return Context()


def _is_exported(kind: str) -> bool:
    """Whether this kind is to be sent (OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER: `otlp`, unless `none`)."""
    named = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", f"{kind}_"))
    return named and os.environ.get(f"OTEL_{kind}_EXPORTER", "otlp") == "otlp"


def opened(version: str, facts: Facts, proxies: Proxies) -> Telemetry | None:
    """What the variables ask for, or nothing. Where its packages are missing, a warning says so."""
    if not is_wanted(os.environ):
        return None
    try:
        return Telemetry(version, facts, proxies)
    except ImportError:
        log.warning("telemetry is configured and not installed", package="grantlog[otel]")
        return None
