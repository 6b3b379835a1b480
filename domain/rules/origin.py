"""Where the server is and who may call it: the issuer identifier, and web origins (RFC 6454 §6.1) beside its own."""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

# The issuer identifier: the URL by which clients know this server.

PRINTABLE = re.compile(r"[!-~]+")
"""A URL is visible ASCII (RFC 3986 §2); anything else is refused before it is split."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address literal means this very machine (RFC 8252 §7.3, RFC 6761 §6.3)."""
    if host is None:
        return False
    address = _address(host.strip("[]"))
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


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
    if parts.path:
        return "must end after the host and port: clients compare it character by character and add paths to it"
    return None


def is_secure(issuer: str) -> bool:
    """Whether cookies may be marked `Secure` and named `__Host-` (RFC 6265bis §4.1.3.2)."""
    return issuer.startswith("https://")


# Web origins that may call from a browser: their form, and which are same-site with the issuer.

MAXIMUM = 255

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:(?P<port>[1-9][0-9]{0,4}))?"
)
_REGISTRIES = frozenset(
    {"ac", "co", "com", "edu", "gob", "gov", "go", "gv", "ltd", "ne", "net", "nom", "or", "org", "sch"}
)


def problem(origin: str) -> str | None:
    """Why this is no origin as a browser would send it, or one that neither https nor the loopback address protects."""
    form = _ORIGIN.fullmatch(origin)
    if len(origin) > MAXIMUM or form is None:
        return "must be an origin as browsers send it: scheme, host and port alone, in lower case"
    scheme, port = form["scheme"], form["port"]
    if (scheme, port) in (("https", "443"), ("http", "80")) or (port and int(port) > 65535):
        return "must not name the default port or one that does not exist"
    if scheme == "http" and not _is_local(form["host"]):
        return "must be https, or http on a loopback address"
    return None


# Asked with every request of a dashboard, and of a few issuers only.
@lru_cache(maxsize=256)
def of_issuer(issuer: str) -> str:
    """The web origin of the issuer, as browsers write it in `Origin` (RFC 6454 §6.2): the default port left out."""
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    literal = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{literal}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def same_site(origin: str, issuer: str) -> bool:
    """Whether the issuer's SameSite=Strict cookie travels with requests from this origin (RFC 6265bis §5.2).

    The list of public suffixes is not at hand here: the issuer's parent domain counts as its site when it does not look
    like a registry (`co.uk`). A wrong guess opens nothing, since the browser holds the cookie back by its own list.
    """
    ours, theirs = urlsplit(issuer), urlsplit(origin)
    if ours.scheme != theirs.scheme or not ours.hostname or not theirs.hostname:
        return False
    home, host = ours.hostname, theirs.hostname
    if home == host:
        return True
    if _address(home) or _address(host):
        return False
    site = _site(home)
    return site is not None and (host == site or host.endswith("." + site))


def by_issuers_name(origin: str, issuer: str) -> str | None:
    """How a page on this machine has to be opened, when it was opened by another name than the issuer's.

    `localhost` and `127.0.0.1` are one machine and two sites: neither's cookies go along with the other's requests.
    None where that is not what is wrong.
    """
    try:
        ours, theirs = urlsplit(issuer), urlsplit(origin)
        home, host, port = ours.hostname or "", theirs.hostname or "", theirs.port
    except ValueError:
        return None
    if theirs.scheme != ours.scheme or home == host or not (_is_local(home) and _is_local(host)):
        return None
    name = f"[{home}]" if ":" in home else home
    return f"{ours.scheme}://{name}" + (f":{port}" if port is not None else "")


def _is_local(host: str) -> bool:
    return host.endswith(".localhost") or is_loopback(host)


def _site(host: str) -> str | None:
    labels = host.split(".")
    registry = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _REGISTRIES
    length = 3 if registry else 2
    return ".".join(labels[-length:]) if len(labels) >= length else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
