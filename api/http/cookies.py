"""Cookies of the server's own pages (RFC 6265): bound to this very host, out of reach of scripts and other sites."""

from litestar.datastructures import Cookie

from api.http.request_context import Scope, header_values
from domain.rules import origin

HOST_ONLY = "__Host-"
"""Browsers take a cookie of this prefix only from the host itself, over TLS, for all paths (RFC 6265bis §4.1.3.2)."""


def cookie_name(name: str, issuer_url: str) -> str:
    """The name on the wire. On plain http, which only a loopback issuer has, the prefix could not be."""
    return HOST_ONLY + name if origin.is_secure(issuer_url) else name


def read_cookie(scope: Scope, name: str, issuer_url: str) -> str | None:
    """What the browser sent under this name; the first, where a page of another path has planted a second."""
    wanted = cookie_name(name, issuer_url)
    for field in header_values(scope, b"cookie"):
        for pair in field.split(";"):
            found, equals, value = pair.strip().partition("=")
            if equals and found == wanted:
                return value
    return None


def set_cookie(name: str, value: str, issuer_url: str) -> Cookie:
    """A cookie that lasts as long as the browser runs. Lax, because people come here from applications elsewhere."""
    return Cookie(
        key=cookie_name(name, issuer_url),
        value=value,
        path="/",
        secure=origin.is_secure(issuer_url),
        httponly=True,
        samesite="lax",
    )


def clear_cookie(name: str, issuer_url: str) -> Cookie:
    """Takes the cookie back."""
    cleared = set_cookie(name, "", issuer_url)
    cleared.max_age = 0
    return cleared
