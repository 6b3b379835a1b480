"""A person's browser session at the server, one cookie for each realm, and the forms that only its own pages post.

How long a session may last at all stands in its first event. When it was last used stands, sealed by the server, in the
cookie itself: telling the idle from the busy costs no write, and anyone who finds an old cookie cannot revive it.
"""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from litestar.datastructures import Cookie
from msgspec import Meta

from api.http.errors import AccessDenied
from api.http.request_context import Scope, header_values
from api.http.responses import clear_cookie, read_cookie, set_cookie
from api.languages import Words
from api.oauth.person_authentication import Verified, policy_of
from api.services import Services, origin
from commands import factors, grants, people, upstreams
from commands.console import console_sessions
from domain import account, session
from domain.decision import FactorRefused, Refusal
from domain.event import SECOND, Actor, Moment
from domain.factors.realm_policy import RealmPolicy
from domain.factors.second_factor import ShownFactor
from domain.people.upstream_link import UPSTREAM_AMR
from domain.rules.origin import by_issuers_name, of_issuer
from eventstore.execution import Origin, Step
from eventstore.present import session_by_digest
from security import base64url
from security.tokens import Kind, Secret, digest, new_id, same

NAME = "grantlog-session-"
RENEW_AFTER = 60
"""Seconds after which a used cookie is given anew with a later time; a tenth of the idle lifetime if that is less."""


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A live session. `cookies` are to be set with the answer: the renewed one, when it is due."""

    session_id: str
    account: account.State
    started_at: Moment
    proved_at: Moment
    amr: tuple[str, ...]
    policy: RealmPolicy
    secret: Secret
    cookies: tuple[Cookie, ...] = ()

    @property
    def realm(self) -> str:
        return self.account.realm

    @property
    def acr(self) -> str:
        return session.acr_of(self.amr)

    @property
    def asked_factor(self) -> bool:
        """Whether the person is asked for a second factor when they sign in."""
        return self.policy.asks(self.account.factors)

    def lacking(self, scope: Collection[str]) -> FactorRefused | None:
        """What this sign-in lacks for a scope: a factor to be shown, or first to be enrolled."""
        return self.policy.lacking(self.account.factors, self.amr, scope)

    @property
    def form_secret(self) -> str:
        """What this session's form tokens are made from."""
        return self.secret.reveal()

    def origin(self, scope: Scope) -> Origin:
        """The person, acting with this session."""
        return origin(scope, _actor(self.account.account_id, self.session_id))


def _actor(account_id: str, session_id: str) -> Actor:
    return Actor("person", account_id, {"session_id": session_id})


async def find_session(services: Services, scope: Scope, realm: str) -> BrowserSession | None:
    """Who is signed in to this realm with this browser, as of everything acknowledged before; None for nobody."""
    value = read_cookie(scope, NAME + realm, services.settings.issuer)
    if value is None:
        return None
    now = services.ledger.clock.now()
    raw, used_at = _opened(services, value)
    secret = services.format.read(raw)
    idle = services.settings.session_idle_lifetime
    if secret is None or secret.kind is not Kind.BROWSER_SESSION or used_at + idle <= now // SECOND:
        return None
    found = await services.ledger.look(session_by_digest, secret.sha256)
    if found is None or found[1].realm != realm:
        return None
    session_id, state = found
    person: account.State = await services.ledger.state(account.stream(state.account_id))
    if not session.is_live(state, person, now):
        return None
    due = used_at + min(RENEW_AFTER, idle // 10) <= now // SECOND
    return BrowserSession(
        session_id,
        person,
        state.started_at,
        state.proved_at,
        state.amr,
        await policy_of(services, realm),
        secret,
        (_cookie(services, realm, secret, now),) if due else (),
    )


def is_recent(services: Services, used: BrowserSession) -> bool:
    """Whether the person signed in a moment ago."""
    return services.ledger.clock.now() - used.proved_at <= services.settings.recent_authentication * SECOND


@dataclass(frozen=True, slots=True)
class BegunSession:
    """The session of somebody who has just signed in: its secret, and the cookies to set."""

    secret: Secret
    cookies: tuple[Cookie, ...]


async def start_session(
    services: Services,
    scope: Scope,
    realm: str,
    verified: Verified,
    shown: ShownFactor | None = None,
    *,
    again: bool = False,
) -> BegunSession | Refusal:
    """Signs the verified person in, or whose passkey was `shown` alone, with a new secret whatever they sent, and
    ends the session it had. Where they were to sign in `again`, their own goes on: for the applications that know of it
    nothing ended. The factor that they have `shown` is used up with it. A refusal when they may not sign in, as the log
    says under the lock."""
    before = await find_session(services, scope, realm)
    amr = _methods(verified, shown)
    using_up: list[Step] = [] if shown is None else [factors.verify(verified.account.account_id, shown)]
    if verified.upstream is not None:
        privacy = services.ledger.privacy
        using_up.append(upstreams.prove(verified.account.account_id, verified.upstream, privacy=privacy))
    if again and before is not None and before.account.account_id == verified.account.account_id:
        stepped_up = people.step_up(before.session_id, verified.password, amr)
        executed = await services.ledger.execute(*using_up, stepped_up, origin=before.origin(scope))
        return executed.refusal or _signed_in(services, realm, before.secret)
    secret = services.format.mint(Kind.BROWSER_SESSION)
    session_id, account_id = new_id(), verified.account.account_id
    started = people.start_session(
        session_id,
        account_id=account_id,
        realm=realm,
        verified=verified.password,
        sha256=secret.hex,
        lifetime=services.settings.session_absolute_lifetime,
        amr=amr,
    )
    replaced = [] if before is None else [people.end_session(before.session_id, "replaced")]
    by = origin(scope, _actor(account_id, session_id))
    executed = await services.ledger.execute(*using_up, started, *replaced, origin=by)
    return executed.refusal or _signed_in(services, realm, secret)


def _methods(verified: Verified, shown: ShownFactor | None) -> tuple[str, ...]:
    beside = () if shown is None else shown.amr
    if verified.upstream is not None:
        return (*UPSTREAM_AMR, *(each for each in beside if each not in session.PASSWORD_ALONE))
    return beside or session.PASSWORD_ALONE


def _signed_in(services: Services, realm: str, secret: Secret) -> BegunSession:
    return BegunSession(secret, (_cookie(services, realm, secret, services.ledger.clock.now()),))


async def end_session(services: Services, scope: Scope, ended: BrowserSession) -> Cookie:
    """Signs the person out, of the console in the same browser too; gives the cookie that takes the session's back."""
    await services.ledger.execute(people.end_session(ended.session_id, "signed_out"), origin=ended.origin(scope))
    await _leave_console(services, scope, ended)
    return clear_cookie(NAME + ended.realm, services.settings.issuer)


async def _leave_console(services: Services, scope: Scope, ended: BrowserSession) -> None:
    ledger, raw = services.ledger, read_cookie(scope, console_sessions.COOKIE, services.settings.issuer)
    kept = await console_sessions.find_session(ledger, digest(raw)) if raw else None
    if raw is None or kept is None:
        return
    if (known := await ledger.validation.find(digest(kept.session.access_token))) is not None:
        await ledger.execute(grants.end(known.grant_id, "logout"), origin=ended.origin(scope))
    await console_sessions.forget_session(ledger, digest(raw))


async def login_name(services: Services, person: account.State) -> str:
    """The name under which people recognise their own account."""
    return (
        await services.ledger.unseal(person.username)
        or await services.ledger.unseal(person.email)
        or await services.ledger.unseal(person.name)
        or person.account_id
    )


def _cookie(services: Services, realm: str, secret: Secret, now: Moment) -> Cookie:
    used_at = str(now // SECOND)
    value = f"{secret.reveal()}.{used_at}.{_seal(services, secret, used_at)}"
    return set_cookie(NAME + realm, value, services.settings.issuer)


def _opened(services: Services, value: str) -> tuple[str, int]:
    """The raw secret and the second of its last use; an empty text where the seal is not ours."""
    parts = value.split(".")
    if len(parts) != 3 or not value.isascii():
        return "", 0
    raw, used_at, seal = parts
    return (raw, int(used_at)) if same(seal, _seal(services, Secret(raw), used_at)) else ("", 0)


def _seal(services: Services, secret: Secret, used_at: str) -> str:
    key = services.keyring.derive("browser-session last use")
    mac = hmac.digest(key, secret.sha256 + used_at.encode(), "sha256")
    return base64url.encode(mac[:16])


# That a person signed in for a request which wants it anew, told by this browser when it comes back to the request.

PROVED = NAME + "proved"
PROVED_LASTS = 600
"""Seconds between such a sign-in and the answer, consent included."""


def proved(services: Services, secret: Secret, request: str) -> Cookie:
    """The cookie by which a sign-in for this very request is known."""
    return set_cookie(PROVED, form_token(secret.reveal(), "proved", request), services.settings.issuer)


def is_proved(services: Services, scope: Scope, used: BrowserSession, request: str) -> bool:
    """Whether the person has just signed in for this very request."""
    if services.ledger.clock.now() - used.proved_at > PROVED_LASTS * SECOND:
        return False
    token = read_cookie(scope, PROVED, services.settings.issuer)
    return token is not None and is_genuine(token, used.form_secret, "proved", request)


def forget_proof(services: Services, scope: Scope) -> tuple[Cookie, ...]:
    """With the answer: anyone who sends the request once more wants a sign-in once more."""
    issuer = services.settings.issuer
    return () if read_cookie(scope, PROVED, issuer) is None else (clear_cookie(PROVED, issuer),)


# No other site posts our forms: each holds a token made from a secret that only its own browser has. Before the sign-in
# that is a cookie made for the purpose, after it the session's own, so a sign-in changes every token. Where the browser
# says from where a form was posted, that counts as well.

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
    return base64url.encode(mac)


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


def provide_form_secret(services: Services, scope: Scope) -> tuple[str, list[Cookie]]:
    """The browser's secret for the tokens of forms, made with its cookie where it has none yet."""
    secret = form_secret(services, scope)
    if secret is not None:
        return secret, []
    made, cookie = new_form_secret(services)
    return made, [cookie]


def forget_form_secret(services: Services) -> Cookie:
    """After a sign-in: what was served to this browser before must not be postable any more."""
    return clear_cookie(COOKIE, services.settings.issuer)


ELSEWHERE = Words("This form was sent from another site, so nothing was done. Open the page itself and try again.")
AT_ADDRESS = Words(
    "This form was sent from another site, so nothing was done. Open the page at %(address)s and try again."
)


def require_own_page(services: Services, scope: Scope) -> None:
    """Raises 403 when the browser says that the form was posted from elsewhere. `Sec-Fetch-Site` (Fetch Metadata §2.3)
    is the browser's own verdict; without it, `Origin` must be ours."""
    verdicts = header_values(scope, b"sec-fetch-site")
    if verdicts:
        # `none` is what the person did themselves, such as loading a page again.
        own = all(verdict in ("same-origin", "none") for verdict in verdicts)
    else:
        own = all(given == of_issuer(services.settings.issuer) for given in header_values(scope, b"origin"))
    if not own:
        given = header_values(scope, b"origin")
        named = by_issuers_name(given[0], services.settings.issuer) if given else None
        if named is None:
            raise AccessDenied(ELSEWHERE)
        raise AccessDenied(Words(AT_ADDRESS, address=named))
