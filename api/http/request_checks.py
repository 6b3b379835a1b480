"""What is wrong with the head of a request before anybody asks what it wants, and what it leaves on the connection."""

import re
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from api.http.errors import HTTPError, InvalidRequest
from api.http.request_context import Scope, fields

HOST = re.compile(rb"(?:[0-9A-Za-z._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
TOKEN_IN_QUERY = re.compile(rb"(?:^|&)access_token=", re.IGNORECASE)

SINGLE = frozenset((b"host", b"origin"))
"""Fields of which a request has one at most, and which decide what it may do (RFC 9112 §3.2, RFC 6454 §7.3)."""

REFUSED = "grantlog.refused"
"""Where a scope says why the server refuses the request, whatever it asks for: an `HTTPError`."""

SMALL_BODY = 4096
"""Bodies up to this size have arrived with the head of the request: the server can go on to the next one after them."""


def body_length(scope: Scope) -> int | None:
    """How many bytes of body were announced, 0 for no body; None when only its end will tell (RFC 9112 §6.3)."""
    given = fields(scope)
    return None if b"transfer-encoding" in given else int(given.get(b"content-length", b"0"))


def closes(scope: Scope, status: int) -> bool:
    """Whether the connection ends with this answer. HTTP/2 has no field to say so."""
    if status < 400 or not scope.get("http_version", "1.1").startswith("1"):
        return False
    return status == HTTPStatus.REQUEST_TIMEOUT or _leaves_body(scope)


def _leaves_body(scope: Scope) -> bool:
    """Whether a refusal may leave a part of the request's body unread, so that the connection ends with the answer.

    A client has to be told (RFC 9112 §9.6), or its next request on the connection is lost.
    """
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not (value.isdigit() and len(value) < 15 and int(value) <= SMALL_BODY)
    return False


def check(scope: Scope) -> None:
    """Raises InvalidRequest for what the framework would stumble over or a database refuse.

    What the server could not even read comes with its own refusal.
    """
    refused: HTTPError | None = scope.get(REFUSED)
    if refused is not None:
        raise refused
    if fault := _path_fault(scope) or _query_fault(scope["query_string"]) or _head_fault(scope):
        raise InvalidRequest(fault)


def _head_fault(scope: Scope) -> str | None:
    given = fields(scope)
    if len(given) != len(scope["headers"]) and (fault := _doubled(scope)):
        return fault
    host = given.get(b"host")
    if host is not None and not _is_host(host):
        return "The Host header is not valid."
    length = given.get(b"content-length")
    if length is not None and (not length.isdigit() or len(length) > 15):
        return "The Content-Length header is not valid."
    kind = given.get(b"content-type")
    if kind is not None and not kind.isascii():
        return "The Content-Type header is not valid."
    return None


# A server has one name or a few, and an attacker's thousand others are forgotten again.
@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    match = HOST.fullmatch(value)
    return match is not None and int(match[1] or b"0") <= 65535


def _doubled(scope: Scope) -> str | None:
    # Whoever read the first one and whoever read the last would not mean the same request.
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in seen:
            if name in SINGLE:
                return "Host or Origin stands there twice."
            if name == b"content-length" and seen[name] != value:
                return "The Content-Length header is not valid."
        if name == b"content-type" and not value.isascii():
            return "The Content-Type header is not valid."
        seen[name] = value
    return None


def _path_fault(scope: Scope) -> str | None:
    path: str = scope["path"]
    if path.isascii():
        return None if path.isprintable() else "The path holds a control character."
    raw: bytes = scope.get("raw_path") or path.encode("utf-8", "surrogatepass")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return "The path is not UTF-8."
    return None if text.isprintable() else "The path holds a control character."


def _query_fault(query: bytes) -> str | None:
    if not query:
        return None
    octets = unquote_to_bytes(query) if b"%" in query else query
    if CONTROL.search(octets):
        return "The query holds a control character."
    if not octets.isascii():
        try:
            octets.decode("utf-8")
        except UnicodeDecodeError:
            return "The query is not UTF-8."
    if b"access_token" in query.lower() and TOKEN_IN_QUERY.search(query):
        return "An access token must not stand in the query: it would be kept in histories and logs."
    return None
