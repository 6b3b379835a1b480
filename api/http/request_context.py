"""What is known of a request before anybody looks at what it asks for, and what is wrong with its head: its fields, its
id, the address it came from, whether it wants the answer itself or only what stands before it."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
import structlog

from api.http.errors import FieldError, HTTPError, InvalidRequest
from api.http.invalid_members import name_to_tell
from api.languages import ENGLISH, Language, Words, choose
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
"""An address's quotes hold nothing that ends a pair: nobody hides a proxy's pair in quotes of theirs (RFC 7239 §4,
§6)."""

Network = IPv4Network | IPv6Network


class RequestContext(msgspec.Struct, frozen=True):
    """`request_id` stands in the answer, the log line and every event. `address` is the client's, None when unknown.
    `head` says that it came as HEAD, which handlers see as GET: nobody gets the body, and nothing is done for it that
    GET would do for anyone who reads it (RFC 9110 §9.2.1, §9.3.2)."""

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


LANGUAGE = "grantlog.language"
"""Where the scope holds the languages that a request asks for elsewhere than in its query."""

UI_LOCALES = re.compile(rb"(?:^|&)ui_locales=([^&]{1,1024})")


def speak(scope: Scope, ui_locales: str) -> None:
    """Has the answer written in the first of these languages that there is."""
    scope[LANGUAGE] = ui_locales


def language(scope: Scope, default: str = ENGLISH) -> Language:
    """In which language to answer, where the answer is for people; `default` for who wants none that there is."""
    wanted: str = scope.get(LANGUAGE, "")
    if not wanted and (match := UI_LOCALES.search(scope.get("query_string", b""))):
        wanted = unquote_to_bytes(match[1].replace(b"+", b" ")).decode("ascii", "replace")
    return choose(wanted, ",".join(header_values(scope, b"accept-language")), default)


def is_for_people(scope: Scope) -> bool:
    """Whether a browser asks for something to show."""
    return "text/html" in (header(scope, b"accept") or "")


READINGS = "grantlog.readings"
"""Where a scope whose caller wants to know it holds the positions of the events that its questions left."""


def note_reading(scope: Scope, position: int) -> None:
    """Tells who called in this process which event a question left."""
    readings: list[int] | None = scope.get(READINGS)
    if readings is not None:
        readings.append(position)


FOR_OPERATORS = "grantlog.for_operators"
"""Where a scope says that its request came in over the listener for operators."""


def is_for_operators(scope: Any) -> bool:
    """Whether a request came in over the listener for operators."""
    return FOR_OPERATORS in scope


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


# What is wrong with the head of a request, and what a request leaves on its connection.

HOST = re.compile(rb"(?:[0-9A-Za-z._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
TOKEN_IN_QUERY = re.compile(
    rb"(?:^|&)" + b"".join(rb"(?:%c|%%%02x)" % (each, each) for each in b"access_token") + rb"=", re.IGNORECASE
)
"""Its name may stand there escaped, in whole or in part (RFC 3986 §2.3)."""

SINGLE = frozenset((b"host", b"origin"))
"""Fields of which a request has one at most, and which decide what it may do (RFC 9112 §3.2, RFC 6454 §7.3)."""

REFUSED = "grantlog.refused"
"""Where a scope says why the server refuses the request, whatever it asks for: an `HTTPError`."""

SMALL_BODY = 4096
"""Bodies up to this size have arrived with the head of the request: the server can go on to the next one after them."""


def closes(scope: Scope, status: int) -> bool:
    """Whether the connection ends with this answer. HTTP/2 has no field to say so."""
    if status < 400 or not scope.get("http_version", "1.1").startswith("1"):
        return False
    return status == HTTPStatus.REQUEST_TIMEOUT or _leaves_body(scope)


def _leaves_body(scope: Scope) -> bool:
    """Whether a refusal may leave a part of the body unread, so that the connection ends with the answer. A client has
    to be told (RFC 9112 §9.6), or its next request on the connection is lost."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not (value.isdigit() and len(value) < 15 and int(value) <= SMALL_BODY)
    return False


class _Fault(NamedTuple):
    """What is wrong: as a sentence for people, and what is said of the field."""

    words: Words
    field: str
    detail: str


def check(scope: Scope) -> int | None:
    """Raises InvalidRequest for what the framework would stumble over or a database refuse, and what `REFUSED` holds.
    Gives the bytes of body that were announced, None when only its end will tell (RFC 9112 §6.3)."""
    refused: HTTPError | None = scope.get(REFUSED)
    if refused is not None:
        raise refused
    given = fields(scope)
    if fault := _path_fault(scope) or _query_fault(scope["query_string"]) or _head_fault(scope, given):
        raise InvalidRequest(fault.words, errors=(FieldError(fault.field, fault.detail),))
    return None if b"transfer-encoding" in given else int(given.get(b"content-length", b"0"))


def _head_fault(scope: Scope, given: Mapping[bytes, bytes]) -> _Fault | None:
    if len(given) != len(scope["headers"]) and (fault := _doubled(scope)):
        return fault
    host = given.get(b"host")
    if host is not None and not _is_host(host):
        return _Fault(Words("The Host header is not valid."), "Host", "is not valid")
    length = given.get(b"content-length")
    if length is not None and (not length.isdigit() or len(length) > 15):
        return _Fault(Words("The Content-Length header is not valid."), "Content-Length", "is not valid")
    kind = given.get(b"content-type")
    if kind is not None and not kind.isascii():
        return _Fault(Words("The Content-Type header is not valid."), "Content-Type", "is not valid")
    return None


# A server has one name or a few, and an attacker's thousand others are forgotten again.
@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    match = HOST.fullmatch(value)
    return match is not None and int(match[1] or b"0") <= 65535


def _doubled(scope: Scope) -> _Fault | None:
    # Anyone who read the first one and anyone who read the last would not mean the same request.
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in seen:
            if name in SINGLE:
                return _Fault(Words("Host or Origin stands there twice."), name.decode().title(), "stands there twice")
            if name == b"content-length" and seen[name] != value:
                return _Fault(Words("The Content-Length header is not valid."), "Content-Length", "is not valid")
        if name == b"content-type" and not value.isascii():
            return _Fault(Words("The Content-Type header is not valid."), "Content-Type", "is not valid")
        seen[name] = value
    return None


_CONTROL_IN_PATH = _Fault(Words("The path holds a control character."), "path", "holds a control character")


def _path_fault(scope: Scope) -> _Fault | None:
    path: str = scope["path"]
    if path.isascii():
        return None if path.isprintable() else _CONTROL_IN_PATH
    raw: bytes = scope.get("raw_path") or path.encode("utf-8", "surrogatepass")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return _Fault(Words("The path is not UTF-8."), "path", "is not UTF-8")
    return None if text.isprintable() else _CONTROL_IN_PATH


def _query_fault(query: bytes) -> _Fault | None:
    if not query:
        return None
    octets = unquote_to_bytes(query) if b"%" in query else query
    if CONTROL.search(octets):
        name = _at_fault(query, lambda part: CONTROL.search(part) is not None)
        return _Fault(Words("The query holds a control character."), name, "holds a control character")
    if not (octets.isascii() or _is_utf8(octets)):
        name = _at_fault(query, lambda part: not _is_utf8(part))
        return _Fault(Words("The query is not UTF-8."), name, "is not UTF-8")
    if (octets is not query or b"access_token" in query.lower()) and TOKEN_IN_QUERY.search(query):
        words = Words("An access token must not stand in the query: it would be kept in histories and logs.")
        return _Fault(words, "access_token", "must not stand in the query")
    return None


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _at_fault(query: bytes, is_wrong: Callable[[bytes], bool]) -> str:
    """The name of the first parameter with which something is wrong, as far as it may be told."""
    wrong = next((part for part in map(unquote_to_bytes, query.split(b"&")) if is_wrong(part)), b"")
    return name_to_tell(wrong.partition(b"=")[0].decode("ascii", "replace"), "query")
