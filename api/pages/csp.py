"""Where a page's forms may lead: as a policy that browsers enforce, and in words that people check."""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

HOST = re.compile(r"[a-z0-9.-]+")
OTHER_HOST = re.compile(r"[a-z0-9._~%:-]+")
"""What a policy cannot name and a browser goes to all the same: IPv6, and names such as `my_shop`."""

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def security_headers(form_action: Sequence[str] = (), *, script: bool = False) -> dict[str, str]:
    """The headers of a page. `form_action` are redirect URIs to which the page's forms may lead by a redirect.

    Browsers hold a form's whole chain of redirects to `form-action` (CSP Level 3 §6.4.1), so a consent form that sends
    the person back to the application must name it. `script` admits the server's own script files and calls to itself.
    """
    sources = (form_source(uri) for uri in form_action)
    targets = dict.fromkeys(["'self'", *(source for source in sources if source)])
    policy = ["default-src 'none'", "style-src 'self'", "img-src 'self'"]
    if script:
        policy += ["script-src 'self'", "connect-src 'self'"]
    policy += [f"form-action {' '.join(targets)}", "frame-ancestors 'none'", "base-uri 'none'"]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def form_source(uri: str) -> str | None:
    """A redirect URI as a CSP source: its origin, or `scheme:` for an application's private scheme (RFC 8252 §7.1).

    CSP has no way to write an IPv6 address or a host with other characters than letters, digits and hyphens (CSP Level
    3 §2.3.1, `host-part`), so such a target admits its scheme. None for what no browser would go to.
    """
    try:
        parts = urlsplit(uri)
        host, port = ascii_host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if not SCHEME.fullmatch(parts.scheme):
        return None
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}:"
    if not HOST.fullmatch(host):
        return f"{parts.scheme}:" if OTHER_HOST.fullmatch(host) else None
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def destination(redirect_uri: str) -> str:
    """Where an authorization answer goes, in words that a person can check.

    International names are shown in their ASCII form, so that a look-alike letter cannot pass for another (RFC 5891
    §4.4). A loopback or private-scheme target is an application on the person's own device (RFC 8252 §7).
    """
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("http", "https"):
        return f"an app on this device ({parts.scheme})"
    host = ascii_host(parts.hostname or "")
    shown = f"[{host}]" if ":" in host else host
    if parts.port:
        shown += f":{parts.port}"
    return f"this device ({shown})" if is_loopback(host) else shown


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ascii_host(host: str) -> str:
    """The host as it goes on the wire. Raises ValueError (UnicodeError) for what is no host name."""
    return host if host.isascii() else host.encode("idna").decode()
