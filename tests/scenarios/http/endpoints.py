"""Every endpoint of the server, read off its routes and its OpenAPI document, so that no list is kept by hand."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute

from api.environment import load
from api.http.error_responses import Vocabulary, vocabulary
from api.openapi.document import document
from tests.scenarios.lent_routes import lent_routes

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `operation` is what the document says of it, None for what it leaves out."""

    method: str
    path: str
    answers: Vocabulary
    scope: str | None
    guarded: bool
    operation: dict[str, Any] | None = field(hash=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def bodies(self) -> dict[str, Any]:
        """The documented bodies by media type."""
        found: dict[str, Any] = ((self.operation or {}).get("requestBody") or {}).get("content", {})
        return found

    @property
    def queries(self) -> list[dict[str, Any]]:
        """The documented query parameters."""
        return [each for each in (self.operation or {}).get("parameters", []) if each["in"] == "query"]


@cache
def application() -> Litestar:
    """The framework's app as it is put together for a server, and the first server that is opened has it."""
    settings = load({}, None, environment="demo", data_dir=Path(tempfile.gettempdir()) / "grantlog-never-opened")
    with lent_routes(settings) as app:
        return app


@cache
def described() -> dict[str, Any]:
    """The OpenAPI document."""
    # As it goes over the network: examples and defaults are JSON there, whatever they were in the code.
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(application())))
    return found


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Every endpoint, the document and its page included; OPTIONS, which the framework answers, left out."""
    return tuple(sorted(_endpoints(), key=lambda each: (each.path, each.method)))


def _endpoints() -> Iterator[Endpoint]:
    for route in application().routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                if method != "OPTIONS":
                    yield _endpoint(method, route.path_format, handler)
        elif isinstance(route, ASGIRoute):
            for method in described()["paths"].get(route.path_format, {}):
                yield _endpoint(method.upper(), route.path_format, route.route_handler)


def _endpoint(method: str, path: str, handler: Any) -> Endpoint:
    return Endpoint(
        method,
        path,
        vocabulary({"path": path, "headers": [], "route_handler": handler}),
        handler.opt.get("scope"),
        bool(handler.guards),
        described()["paths"].get(path, {}).get(method.lower()),
    )


def allowed(path: str) -> frozenset[str]:
    """The methods that some endpoint of this path has."""
    return frozenset(each.method for each in endpoints() if each.path == path)


def paths() -> tuple[str, ...]:
    """The paths of all endpoints, each once."""
    return tuple(dict.fromkeys(each.path for each in endpoints()))
