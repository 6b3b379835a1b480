"""The cookie that holds a dashboard's refresh token: out of reach of scripts, of other sites and of other hosts."""

from collections.abc import Iterable

from litestar.datastructures import Cookie

from api.http.request_context import Scope
from api.http.responses import HostCookie, cookie_name, read_cookie
from api.services import Services
from domain.event import SECOND, Recorded
from domain.rules.origin import is_secure
from eventstore import issued
from security.tokens import Format, Kind, Secret

DELETE = -1
"""A `Max-Age` in the past takes a cookie back (RFC 6265 §5.2.2)."""


def name_of(slug: str) -> str:
    """The name without the prefix that it has over TLS."""
    return f"grantlog-{slug}"


def is_there(scope: Scope, slug: str, issuer_url: str) -> bool:
    """Whether the browser sent the cookie at all, whatever it holds."""
    return read_cookie(scope, name_of(slug), issuer_url) is not None


def read(scope: Scope, slug: str, issuer_url: str, format: Format) -> Secret | None:
    """The refresh token in the cookie; None without the cookie, and for what cannot be one."""
    raw = read_cookie(scope, name_of(slug), issuer_url)
    secret = None if raw is None else format.read(raw)
    return secret if secret is not None and secret.kind is Kind.REFRESH_TOKEN else None


def holding(services: Services, slug: str, token: Secret, recorded: Iterable[Recorded]) -> Cookie:
    """The cookie with a refresh token that was just issued, as was `recorded`; the browser drops it when the token
    expires."""
    issuances = (issuance for each in recorded for issuance in issued.all_of(each))
    ends_at = next(each.expires_at for each in issuances if each.sha256 == token.hex)
    left = 0 if ends_at is None else max(0, (ends_at - services.ledger.clock.now()) // SECOND)
    return cookie_of(slug, token.reveal(), services.settings.issuer, left)


def cleared(slug: str, issuer_url: str) -> Cookie:
    """Takes the cookie back."""
    return cookie_of(slug, "", issuer_url, DELETE)


def cookie_of(slug: str, value: str, issuer_url: str, max_age: int) -> Cookie:
    """A cookie of a dashboard's, with its name made from the slug."""
    return HostCookie(
        key=cookie_name(name_of(slug), issuer_url),
        value=value,
        max_age=max_age,
        path="/",
        secure=is_secure(issuer_url),
        httponly=True,
        samesite="Strict",  # type: ignore[arg-type]  # spelled as the contract has it; browsers take either
    )
