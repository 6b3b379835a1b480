"""What is known of a request before anybody looks at what it asks for: its header fields, its id, the address it came
from, and whether it wants the answer itself or only what stands before it."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal

import msgspec
import structlog

from security.clock import HOUR, Moment, SteadyClock, Timer

# A dict whose members depend on its type; the framework and the server each have types of their own for it.
Scope = Any
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

log = structlog.get_logger("api")

Header = Literal["x-forwarded-for", "forwarded"]
"""Where a proxy writes for whom it asks: the common header, or the one of RFC 7239."""

KEY = "grantlog.request_context"
FIELDS = "grantlog.fields"
"""Where the scope holds what `fields` put together."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=-]{1,64}", re.ASCII)
"""Ids that proxies make: UUIDs, ULIDs, trace ids, base64. Anything else could not stand in a header or a log line."""

FORWARDED_FOR = re.compile(r'(?:^|[;,])\s*for=("[^"\\;,\s]*"|[^;,"\s]+)', re.IGNORECASE)
"""Nothing that ends a pair stands in the quotes of an address: whoever opens some before the proxy's own pair does not
hide that (RFC 7239 §4, §6)."""

Network = IPv4Network | IPv6Network


class RequestContext(msgspec.Struct, frozen=True):
    """`request_id` stands in the answer, the log line and every event. `address` is the client's, None when unknown.

    `head` says that it came as HEAD, which handlers see as GET: nobody gets the body, and nothing is to be done for it
    that GET would do for whoever reads it (RFC 9110 §9.2.1, §9.3.2).
    """

    request_id: str
    address: str | None
    head: bool = False


def request_context(scope: Any) -> RequestContext:
    """What is known of the request that an ASGI scope belongs to."""
    found: RequestContext = scope[KEY]
    return found


def fields(scope: Scope) -> Mapping[bytes, bytes]:
    """A request's header fields by lower-case name, of a repeated one the last; put together once for a request."""
    found: Mapping[bytes, bytes] | None = scope.get(FIELDS)
    if found is None:
        found = scope[FIELDS] = dict(scope["headers"])
    return found


def header(scope: Scope, name: bytes) -> str | None:
    """The last value of a request's header field, as latin-1 text, which every octet has (RFC 9110 §5.5)."""
    value = fields(scope).get(name)
    return None if value is None else value.decode("latin-1")


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header field in the order of arrival."""
    given = fields(scope)
    value = given.get(name)
    if value is None:
        return []
    if len(given) == len(scope["headers"]):
        return [value.decode("latin-1")]
    return [each.decode("latin-1") for field, each in scope["headers"] if field == name]


class Proxies:
    """The trusted networks, and what a request that came through them says about its origin, in the one `header` that
    they write. A proxy passes on what it does not write as the client sent it, so nothing else is looked at.
    """

    def __init__(
        self, networks: tuple[str, ...] = (), header: Header = "x-forwarded-for", timer: Timer | None = None
    ) -> None:
        self.networks: tuple[Network, ...] = tuple(ip_network(network, strict=False) for network in networks)
        self._header = header
        self._timer = timer or SteadyClock()
        self._warn_again: Moment | None = None
        # One proxy or a few: their addresses are looked up for every request.
        self.trusts = lru_cache(maxsize=1024)(self._trusts)

    def _trusts(self, address: str) -> bool:
        parsed = parse_address(address)
        return parsed is not None and any(
            parsed.version == network.version and parsed in network for network in self.networks
        )

    def arrive(self, scope: Scope, new_id: str) -> RequestContext:
        """The request's id and client address. Without a trusted peer, `new_id` and the peer; no header counts then."""
        client, head = scope.get("client"), scope.get("method") == "HEAD"
        peer = normalise(client[0]) if client else None
        if not self.networks or peer is None or not self.trusts(peer):
            if b"x-forwarded-for" in fields(scope):
                self._warn()
            return RequestContext(new_id, peer, head)
        given = header_values(scope, b"x-request-id")
        request_id = given[0] if len(given) == 1 and REQUEST_ID.fullmatch(given[0]) else new_id
        return RequestContext(request_id, self._origin(scope, peer), head)

    def _origin(self, scope: Scope, peer: str) -> str:
        """The nearest address that is no proxy of ours (RFC 7239 §5.2): only what a trusted hop wrote is believed."""
        values = ",".join(header_values(scope, self._header.encode()))
        if self._header == "forwarded":
            return self._walk([part.strip('"') for part in FORWARDED_FOR.findall(values)], peer)
        return self._walk([part.strip() for part in values.split(",")], peer)

    def _warn(self) -> None:
        """Once an hour: all callers of a proxy that was not named share one address, and slow each other."""
        now = self._timer.now()
        if self._warn_again is None or now >= self._warn_again:
            self._warn_again = now + HOUR
            log.warning("a proxy is not named, and its header is ignored", setting="GRANTLOG_TRUSTED_PROXIES")

    def _walk(self, chain: list[str], peer: str) -> str:
        nearest = peer
        for text in reversed(chain):
            address = normalise(_without_port(text))
            if address is None:
                return nearest
            nearest = address
            if not self.trusts(address):
                return nearest
        return nearest


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address without zone; an IPv4-mapped one (RFC 4291 §2.5.5.2) as the IPv4 address that it is."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return parsed.ipv4_mapped
        if parsed.scope_id is not None:
            return IPv6Address(int(parsed))
    return parsed


@lru_cache(maxsize=4096)
def normalise(text: str) -> str | None:
    """The canonical text of an address (RFC 5952); None for what is none."""
    parsed = parse_address(text)
    return None if parsed is None else str(parsed)
