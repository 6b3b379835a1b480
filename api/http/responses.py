"""Responses as plain data, as hot endpoints and the middleware send them, and the cookies of the server's own pages."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from litestar.datastructures import Cookie

from api.http.request_context import Scope, Send, header_values
from domain.rules import origin

Headers = Mapping[str, str]
JSON = "application/json"


Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields with lower-case names."""


class RawResponse(msgspec.Struct, frozen=True, gc=False):
    """Status, header fields, and the whole body."""

    status: int
    headers: Fields
    body: bytes


class WrittenResponse(msgspec.Struct, frozen=True, gc=False):
    """A whole answer to a whole request as it goes over the wire: `head` has the header fields, each with its line end,
    but for those that are the connection's; `closes` says whether that ends with it."""

    status: int
    head: bytes
    body: bytes
    closes: bool = False


def raw_response(status: int, body: bytes, media_type: str | None, headers: Headers | None = None) -> RawResponse:
    """An answer with its `Content-Type` and `Content-Length` (RFC 9110 §8.3, §8.6); 204 and 304 carry neither."""
    return RawResponse(status, fields_of(None if status in (204, 304) else len(body), media_type, headers), body)


def fields_of(length: int | None, media_type: str | None, headers: Headers | None = None) -> Fields:
    """The header fields of an answer whose body has so many octets; None where none is told."""
    found = raw_headers(headers.items() if headers else ())
    if media_type is not None:
        found += ((b"content-type", media_type.encode("latin-1")),)
    if length is not None:
        found += ((b"content-length", str(length).encode()),)
    return found


def raw_headers(headers: Iterable[tuple[str, str]]) -> Fields:
    """Header fields as ASGI wants them. Raises ValueError for a line break: nobody may add a field through a value."""
    fields = []
    for name, value in headers:
        if "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"a line break in the header field {name}")
        fields.append((name.lower().encode("latin-1"), value.encode("latin-1", "replace")))
    return tuple(fields)


async def send_response(send: Send, given: RawResponse) -> None:
    """Send it in two messages."""
    await send({"type": "http.response.start", "status": given.status, "headers": list(given.headers)})
    await send({"type": "http.response.body", "body": given.body})


# Cookies (RFC 6265): bound to this very host, out of reach of scripts and other sites.

HOST_ONLY = "__Host-"
"""Browsers take a cookie of this prefix only from the host itself, over TLS, for all paths (RFC 6265bis §4.1.3.2)."""


def cookie_name(name: str, issuer_url: str) -> str:
    """The name on the wire. On plain http, which only a loopback issuer has, the prefix could not be."""
    return HOST_ONLY + name if origin.is_secure(issuer_url) else name


COOKIES = "grantlog.cookies"
"""Where the scope holds what the browser sent, taken apart once for a request."""


def read_cookie(scope: Scope, name: str, issuer_url: str) -> str | None:
    """What the browser sent under this name; the first, where a page of another path has planted a second."""
    sent: dict[str, str] | None = scope.get(COOKIES)
    if sent is None:
        sent = {}
        scope[COOKIES] = sent
        for field in header_values(scope, b"cookie"):
            for pair in field.split(";"):
                found, equals, value = pair.strip().partition("=")
                if equals:
                    sent.setdefault(found, value)
    return sent.get(cookie_name(name, issuer_url))


class HostCookie(Cookie):
    """A cookie that is written without the standard library's jar, which costs as much as a page does."""

    def to_encoded_header(self) -> tuple[bytes, bytes]:
        """The header field (RFC 6265 §4.1.1)."""
        if _COOKIE_OCTETS.fullmatch(value := self.value or "") is None:
            return super().to_encoded_header()
        lasts = "" if self.max_age is None else f"; Max-Age={self.max_age}"
        secure = "; Secure" if self.secure else ""
        field = f"{self.key}={value}; HttpOnly{lasts}; Path={self.path}; SameSite={self.samesite}{secure}"
        return b"set-cookie", field.encode("latin-1")


_COOKIE_OCTETS = re.compile(r"[\w!#-+./:<-@\[\]^`{|}~-]*", re.ASCII)


def set_cookie(
    name: str,
    value: str,
    issuer_url: str,
    *,
    max_age: int | None = None,
    samesite: Literal["lax", "strict"] = "lax",
) -> Cookie:
    """A cookie that lasts `max_age` seconds, or as long as the browser runs. Lax where people come here from
    applications elsewhere; a strict one stays away from what other sites lead to."""
    return HostCookie(
        key=cookie_name(name, issuer_url),
        value=value,
        max_age=max_age,
        path="/",
        secure=origin.is_secure(issuer_url),
        httponly=True,
        samesite=samesite,
    )


def clear_cookie(name: str, issuer_url: str) -> Cookie:
    """Takes the cookie back."""
    cleared = set_cookie(name, "", issuer_url)
    cleared.max_age = 0
    return cleared
