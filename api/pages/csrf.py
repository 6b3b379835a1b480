"""No other site posts our forms: each form holds a token made from a secret that only its own browser has.

Before the sign-in that secret is a cookie made for the purpose, after it the session's own, so a sign-in changes every
token. Where the browser says from where a form was posted, that counts as well.
"""

import hmac
from base64 import urlsafe_b64encode
from typing import Annotated

from litestar.datastructures import Cookie
from msgspec import Meta

from api.http.cookies import clear_cookie, read_cookie, set_cookie
from api.http.errors import AccessDenied
from api.http.request_context import Scope, header_values
from api.services import Services
from domain.rules import origin
from security.ids import new_id
from security.tokens import same

COOKIE = "grantlog-form"
LONGEST = 64
TOKEN_LENGTH = 43

FormToken = Annotated[
    str,
    # Anything else is no token of ours, which is 403 and no fault of form.
    Meta(description="The form's own token, out of its page.", extra_json_schema={"maxLength": TOKEN_LENGTH}),
]


def form_token(secret: str, *purpose: str) -> str:
    """The token of a form. `purpose` says what posting it means: a token for one purpose serves no other."""
    mac = hmac.digest(secret.encode(), "\0".join(purpose).encode(), "sha256")
    return urlsafe_b64encode(mac).rstrip(b"=").decode()


def is_genuine(token: str, secret: str, *purpose: str) -> bool:
    """Whether the posted token is that of our form, compared in constant time."""
    return same(token, form_token(secret, *purpose))


def form_secret(services: Services, scope: Scope) -> str | None:
    """The secret behind this browser's forms before anybody has signed in; None when it has none yet."""
    found = read_cookie(scope, COOKIE, services.settings.issuer)
    return found if found and len(found) <= LONGEST and found.isascii() and found.isalnum() else None


def new_form_secret(services: Services) -> tuple[str, Cookie]:
    """A fresh one and its cookie."""
    secret = new_id()
    return secret, set_cookie(COOKIE, secret, services.settings.issuer)


def forget_form_secret(services: Services) -> Cookie:
    """After a sign-in: what was served to this browser before must not be postable any more."""
    return clear_cookie(COOKIE, services.settings.issuer)


def require_own_page(services: Services, scope: Scope) -> None:
    """Raises 403 when the browser says that the form was posted from elsewhere; most browsers do say.

    `Sec-Fetch-Site` (Fetch Metadata §2.3) is the browser's own verdict. Without it, `Origin` must be ours.
    """
    verdicts = header_values(scope, b"sec-fetch-site")
    if verdicts:
        # `none` is what the person did themselves, such as loading a page again.
        own = all(verdict in ("same-origin", "none") for verdict in verdicts)
    else:
        own = all(given == origin.of_issuer(services.settings.issuer) for given in header_values(scope, b"origin"))
    if not own:
        given = header_values(scope, b"origin")
        named = origin.by_issuers_name(given[0], services.settings.issuer) if given else None
        again = "Open the page itself and try again." if named is None else f"Open the page at {named} and try again."
        raise AccessDenied(f"This form was sent from another site, so nothing was done. {again}")
