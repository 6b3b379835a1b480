"""Redirect URIs: what may be registered, what a request may name (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1)."""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from domain.rules.origin import is_loopback

MAXIMUM = 1024
"""Characters. The URI stands in events and in a Location header, together with a code and a state."""

PRESENTED_MAXIMUM = MAXIMUM + len(":65535")
"""Of one that a request names: the port of a loopback URI need not be registered (RFC 8252 §7.3)."""

# Visible ASCII without what RFC 3986 leaves no place for; browsers and parsers each repair the rest in their own way.
_CHARACTERS = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+", re.IGNORECASE)
_LOOPBACK = re.compile(
    r"http://(?P<host>127\.0\.0\.1|\[::1\]|localhost)(:(?P<port>[1-9][0-9]{0,4}))?(?P<rest>([/?].*)?)"
)


def problem(uri: str) -> str | None:
    """Why this redirect URI cannot be registered: a phrase that follows its name, or None."""
    if not uri or len(uri) > MAXIMUM:
        return f"must have 1 to {MAXIMUM} characters"
    if _CHARACTERS.fullmatch(uri) is None:
        return "must be ASCII without blanks and without characters that a URI cannot hold"
    if "#" in uri:
        return "must not have a fragment"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return "must be an absolute URI with a valid host and port"
    if not parts.scheme or not uri[len(parts.scheme) :].startswith(":"):
        return "must be an absolute URI"
    if "@" in parts.netloc:
        return "must not have a user name or password"
    if port == 0:
        return "must not name port 0"
    return _scheme_problem(parts)


def _scheme_problem(parts: SplitResult) -> str | None:
    if parts.scheme in ("https", "http"):
        if not parts.hostname:
            return "must name a host"
        if "*" in parts.hostname:
            return "must name one host: each redirect URI is compared as it is (RFC 9700 §2.1)"
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            return "must be https, or http on a loopback address"
        return None
    # RFC 8252 §7.1: the reversed name of a domain that the application's maker controls, hence the dot. This also keeps
    # out every scheme that a browser runs or shows itself (javascript, data, file, about, blob).
    if _PRIVATE_SCHEME.fullmatch(parts.scheme) is None:
        return "must be https, or http on a loopback address, or a private scheme with a dot"
    if not (parts.netloc or parts.path):
        return "must have something after the scheme"
    return None


def matches(registered: str, presented: str) -> bool:
    """Whether they are the same, character by character; the port of a loopback URI aside (RFC 8252 §7.3)."""
    if registered == presented:
        return True
    ours = _LOOPBACK.fullmatch(registered)
    theirs = _LOOPBACK.fullmatch(presented)
    if ours is None or theirs is None or int(theirs["port"] or 80) > 65535:
        return False
    return (ours["host"], ours["rest"]) == (theirs["host"], theirs["rest"])


def chosen(registered: Sequence[str], presented: str | None) -> str | None:
    """Where to send the answer: the presented URI if registered, or the only one; None: nowhere (RFC 6749 §3.1.2)."""
    if presented is None:
        return registered[0] if len(registered) == 1 else None
    return presented if any(matches(uri, presented) for uri in registered) else None


def origin(uri: str) -> str:
    """Who receives what is sent there (RFC 6454 §4): scheme, host and port, or a private scheme alone.

    The port of a loopback URI is another one each time (RFC 8252 §7.3).
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("https", "http"):
        return f"{parts.scheme}:"
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if parts.scheme == "http" or parts.port in (None, 443):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{parts.port}"


def private_or_loopback(uri: str) -> bool:
    """Whether any program on the machine could receive it, so that consent is asked each time (RFC 8252 §8.6)."""
    parts = urlsplit(uri)
    if parts.scheme == "http":
        return is_loopback(parts.hostname)
    return parts.scheme != "https"
