"""Who is signed in to the console: a cookie that holds nothing but a secret, and behind it the tokens, sealed.

A backend for its frontend (RFC 10017): no token ever reaches the browser. The cookie is Strict, so that no other site
has it sent along; who comes by a link is led through a page of this server first (`gate`).
"""

import asyncio
import hmac
import secrets
from urllib.parse import urlencode

import msgspec
from litestar.datastructures import Cookie
from msgspec.structs import replace

from api.console.own_api import FORM, OwnApi
from api.http.errors import TemporarilyUnavailable
from api.http.request_context import Scope
from api.http.responses import read_cookie, set_cookie
from api.services import Services
from commands.console import console_client, console_sessions
from commands.console.console_sessions import COOKIE as COOKIE
from commands.console.console_sessions import ConsoleSession
from security import base64url
from security.clock import SECOND
from security.jose import read_claims
from security.tokens import digest, same

LONGEST = 128
TOUCH_AFTER = 60
"""Seconds after which it is noted again that a session is in use."""

REFRESH_BEFORE = 60
"""Seconds before its end that an access token is refreshed."""

CLAIMED_FOR = 10
"""Seconds for which the others wait for the one who refreshes."""

LOOK_AGAIN = 0.05


class TokenAnswer(msgspec.Struct, frozen=True):
    """What the token endpoint answers (RFC 6749 §5.1)."""

    access_token: str
    expires_in: int
    scope: str = ""
    refresh_token: str = ""
    id_token: str = ""


class SignedIn(msgspec.Struct, frozen=True):
    """Somebody who is signed in, and under which digest."""

    digest: bytes
    session: ConsoleSession

    def form_token(self, action: str) -> str:
        """What a form holds that only this person's own pages can have; for one action."""
        mac = hmac.digest(self.session.form_secret.encode(), action.encode(), "sha256")
        return base64url.encode(mac)

    def is_genuine(self, token: str, action: str) -> bool:
        """Whether a form came from such a page."""
        return same(token, self.form_token(action))


async def signed_in(services: Services, api: OwnApi, scope: Scope) -> SignedIn | None:
    """Who asks, with an access token that is good for a while; None for nobody, or nobody any more."""
    raw = read_cookie(scope, COOKIE, services.settings.issuer)
    if raw is None or not raw or len(raw) > LONGEST:
        return None
    sha256 = digest(raw)
    kept = await console_sessions.find_session(services.ledger, sha256)
    now = services.ledger.clock.now()
    if kept is None:
        return None
    if now >= kept.session.expires_at or now - kept.used_at >= console_sessions.IDLE * SECOND:
        await revoke(services, api, kept.session)
        await console_sessions.forget_session(services.ledger, sha256)
        return None
    if now - kept.used_at >= TOUCH_AFTER * SECOND:
        await console_sessions.touch_session(services.ledger, sha256)
    session = kept.session
    if session.access_expires_at - now < REFRESH_BEFORE * SECOND:
        refreshed = await _refreshed(services, api, sha256)
        if refreshed is None:
            return None
        session = refreshed
    return SignedIn(sha256, session)


async def _refreshed(services: Services, api: OwnApi, sha256: bytes) -> ConsoleSession | None:
    """The session with fresh tokens. One process refreshes; the others wait and find what it got, since a refresh token
    that is used twice ends all that came of it (RFC 9700 §4.14.2). Raises TemporarilyUnavailable where there are none
    at present."""
    ledger = services.ledger
    for _ in range(int(CLAIMED_FOR / LOOK_AGAIN)):
        until = ledger.clock.now() + CLAIMED_FOR * SECOND
        claimed = await console_sessions.claim_session(ledger, sha256, until)
        kept = await console_sessions.find_session(ledger, sha256)
        if kept is None:
            return None
        if kept.session.access_expires_at - ledger.clock.now() >= REFRESH_BEFORE * SECOND:
            return kept.session
        if claimed:
            return await _refresh(services, api, sha256, kept.session)
        await asyncio.sleep(LOOK_AGAIN)
    raise TemporarilyUnavailable


async def _refresh(services: Services, api: OwnApi, sha256: bytes, session: ConsoleSession) -> ConsoleSession | None:
    parameters = {"grant_type": "refresh_token", "refresh_token": session.refresh_token}
    try:
        answer = await ask_for_tokens(services, api, parameters)
    except TemporarilyUnavailable:
        # It waits as it was, and for the next one who asks.
        await console_sessions.keep_session(services.ledger, sha256, session)
        raise
    if answer is None:
        await console_sessions.forget_session(services.ledger, sha256)
        return None
    now = services.ledger.clock.now()
    fresh = replace(
        session,
        access_token=answer.access_token,
        access_expires_at=now + answer.expires_in * SECOND,
        refresh_token=answer.refresh_token or session.refresh_token,
        scope=tuple(answer.scope.split()),
        id_token=answer.id_token or session.id_token,
    )
    await console_sessions.keep_session(services.ledger, sha256, fresh)
    return fresh


async def ask_for_tokens(services: Services, api: OwnApi, parameters: dict[str, str]) -> TokenAnswer | None:
    """Asks the token endpoint as the client `console`; None where it refuses. Raises TemporarilyUnavailable where it
    refuses for now alone, as while issuance is suspended."""
    authorization = await console_client.authorization(services.ledger)
    if authorization is None:
        return None
    body = urlencode(parameters).encode()
    answer = await api.exchange("POST", "/oauth/token", body, FORM, authorization)
    if answer.status in (429, 503):
        raise TemporarilyUnavailable("There are no tokens at present: the server is busy, or issuance is suspended.")
    return msgspec.json.decode(answer.body, type=TokenAnswer) if answer.status == 200 else None


class AuthenticationTime(msgspec.Struct, frozen=True):
    """When somebody proved who they are, in an id_token (OpenID Connect Core §2)."""

    auth_time: int | None = None


def signed_in_at(session: ConsoleSession) -> int | None:
    """When they last proved who they are, as their id_token says; None where it does not."""
    try:
        found = msgspec.convert(read_claims(session.id_token), AuthenticationTime)
    except (IndexError, ValueError):
        return None
    return None if found.auth_time is None else found.auth_time * SECOND


async def begin(services: Services, session: ConsoleSession) -> Cookie:
    """Keeps a new session; gives its cookie."""
    raw = secrets.token_urlsafe(32)
    await console_sessions.keep_session(services.ledger, digest(raw), session)
    return _cookie(services, raw, console_client.LASTS)


async def end(services: Services, api: OwnApi, who: SignedIn) -> Cookie:
    """Ends a session and its grant; gives the cookie that takes the session's back."""
    await revoke(services, api, who.session)
    await console_sessions.forget_session(services.ledger, who.digest)
    return cleared(services)


async def revoke(services: Services, api: OwnApi, session: ConsoleSession) -> None:
    """Ends the grant behind a session, with all its tokens (RFC 7009)."""
    authorization = await console_client.authorization(services.ledger)
    if authorization is not None:
        body = urlencode({"token": session.refresh_token}).encode()
        await api.exchange("POST", "/oauth/revoke", body, FORM, authorization)


def cleared(services: Services) -> Cookie:
    """Takes the cookie back."""
    return _cookie(services, "", 0)


def _cookie(services: Services, value: str, max_age: int) -> Cookie:
    return set_cookie(COOKIE, value, services.settings.issuer, max_age=max_age, samesite="strict")
