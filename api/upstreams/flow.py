"""A sign-in at another provider, from the button to the way back: what it began with is in a sealed cookie of the very
browser, and nowhere else. It opens for ten minutes, and only where the form secret of that browser is the same.
"""

import secrets
import zlib
from hashlib import sha256

import msgspec
from litestar.datastructures import Cookie

from api.http.request_context import Scope
from api.http.responses import clear_cookie, read_cookie, set_cookie
from api.services import Services
from api.upstreams.provider import AskedOnce, Upstream, authorization_url, metadata_of
from domain import account
from domain.event import SECOND, Moment
from domain.people import upstream
from domain.people.upstream_link import UpstreamProof
from security import base64url
from security.keyring import MasterKeyError, WrapBroken
from security.tokens import same

LASTS = 600
"""Seconds between the button and the way back."""

COOKIE = "grantlog-upstream"
LONGEST = 3_800
"""Characters of the cookie: browsers keep 4,096 octets with its name (RFC 6265bis §5.6)."""

CLEAR_MAXIMUM = 65_536


class RequestTooLong(Exception):
    """The request that waits for the sign-in does not fit into a cookie."""


class SignInPlace(msgspec.Struct, frozen=True, array_like=True):
    """Where a sign-in began, as `FormTarget` has it, and where it leads: `onward`, and for which request they are to
    sign in `again`."""

    action: str
    realm: str
    application: str | None
    form_action: tuple[str, ...]
    onward: str
    again: str | None

    @property
    def anew(self) -> bool:
        """Whether a session that they have will not do. What comes back to a dashboard does not ask for it."""
        return self.again is not None and self.again != self.onward


class UpstreamFlow(msgspec.Struct, frozen=True, array_like=True):
    """A sign-in under way. Once the provider has answered there is a `proof`, and the person is asked whether the
    account `account_id` is theirs."""

    name: str
    state: str
    nonce: str
    verifier: str
    until: Moment
    place: SignInPlace
    proof: UpstreamProof | None = None
    account_id: str | None = None

    @property
    def asked(self) -> AskedOnce:
        since = self.until - LASTS * SECOND if self.place.anew else None
        return AskedOnce(self.nonce, self.verifier, since)

    def __repr__(self) -> str:
        return f"UpstreamFlow({self.name})"


class UpstreamButton(msgspec.Struct, frozen=True):
    """A provider on a sign-in page."""

    name: str
    title: str


async def upstream_buttons(services: Services, realm: str) -> tuple[UpstreamButton, ...]:
    """The providers of a realm, by name."""
    state: upstream.State = await services.ledger.state(upstream.STREAM)
    return tuple(UpstreamButton(name, terms.title) for name, terms in sorted(state.of(realm).items()))


async def titles(services: Services, person: account.State) -> tuple[str, ...]:
    """What the providers are called at which a person can sign in by now."""
    state: upstream.State = await services.ledger.state(upstream.STREAM)
    found = (state.find(person.realm, each.upstream, each.issuer) for each in person.upstreams)
    return tuple(terms.title for terms in found if terms is not None)


async def find(services: Services, realm: str, name: str) -> Upstream | None:
    """A provider of a realm."""
    state: upstream.State = await services.ledger.state(upstream.STREAM)
    terms = state.find(realm, name)
    return None if terms is None else Upstream(realm, name, terms)


async def begin(services: Services, found: Upstream, place: SignInPlace, browser: str) -> tuple[str, Cookie]:
    """Where the browser goes, and the cookie for when it comes back. Raises ProviderAway, and RequestTooLong."""
    metadata = await metadata_of(services, found.terms)
    until = services.ledger.clock.now() + LASTS * SECOND
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    under_way = UpstreamFlow(found.name, state, nonce, verifier, until, place)
    url = authorization_url(services, found, metadata, under_way.asked, state)
    return url, keep(services, under_way, browser)


def keep(services: Services, under_way: UpstreamFlow, browser: str) -> Cookie:
    """The cookie that holds it. Raises RequestTooLong."""
    clear = msgspec.msgpack.encode(under_way)
    # What is alike again and again takes no room in the cookie, and all the more when it comes back.
    if len(clear) > CLEAR_MAXIMUM:
        raise RequestTooLong
    clear = zlib.compress(clear)
    value = base64url.encode(services.keyring.wrap(_purpose(browser), clear))
    if len(value) > LONGEST:
        raise RequestTooLong
    return set_cookie(COOKIE, value, services.settings.issuer)


def resume(services: Services, scope: Scope, browser: str | None) -> UpstreamFlow | None:
    """The sign-in that is under way in this browser; None for none, or one that began too long ago."""
    value = read_cookie(scope, COOKIE, services.settings.issuer)
    if browser is None or not value or len(value) > LONGEST or not value.isascii():
        return None
    try:
        clear = services.keyring.unwrap(_purpose(browser), base64url.decode(value))
    except (ValueError, WrapBroken, MasterKeyError):
        return None
    found = msgspec.msgpack.decode(zlib.decompressobj().decompress(clear, CLEAR_MAXIMUM), type=UpstreamFlow)
    return found if services.ledger.clock.now() < found.until else None


def forget(services: Services) -> Cookie:
    """Takes the cookie back: each is good for one way back."""
    return clear_cookie(COOKIE, services.settings.issuer)


def is_answer_to(under_way: UpstreamFlow, realm: str, name: str, state: str) -> bool:
    """Whether a browser that comes back from a provider comes from this sign-in."""
    return (under_way.place.realm, under_way.name) == (realm, name) and same(state, under_way.state)


def _purpose(browser: str) -> str:
    return f"upstream sign-in\0{sha256(browser.encode()).hexdigest()}"
