"""The issuer identifier: the URL by which clients know this server, and everything that follows from it."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

PRINTABLE = re.compile(r"[!-~]+")
"""A URL is visible ASCII (RFC 3986 §2); anything else is refused before it is split."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address literal means this very machine (RFC 8252 §7.3, RFC 6761 §6.3)."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def fault(issuer: str) -> str | None:
    """What is wrong with an issuer identifier by RFC 8414 §2, in words for the operator; None when it may be used.

    Plain http is allowed on loopback only, where nobody else can listen.
    """
    if not PRINTABLE.fullmatch(issuer) or "\\" in issuer:
        return "must be a URL of visible ASCII characters"
    if "?" in issuer or "#" in issuer:
        return "must have no query and no fragment (RFC 8414 §2)"
    try:
        parts = urlsplit(issuer)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be a URL such as https://login.example.com"
    if "@" in parts.netloc:
        return "must not carry a user name or password"
    if parts.scheme == "http" and not is_loopback(host):
        return "must use https (RFC 8414 §2); plain http is allowed on a loopback address only"
    if parts.path.endswith("/") or parts.path:
        return "must end after the host and port: clients compare it character by character and add paths to it"
    return None


def is_secure(issuer: str) -> bool:
    """Whether cookies may be marked `Secure` and named `__Host-` (RFC 6265bis §4.1.3.2)."""
    return issuer.startswith("https://")
