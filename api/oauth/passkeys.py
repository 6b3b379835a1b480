"""Passkeys of people (Web Authentication Level 3): the challenges of this server, and what was signed for one.

A challenge is kept nowhere before it is answered: it is sealed by itself for a place and a browser, for five minutes.
Once a passkey has signed it, it is remembered for that time, so that it counts once for all workers and nodes.
"""

import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import structlog

from api.config.settings import Settings
from api.http.bodies import read_json_object
from api.http.errors import HTTPError
from api.services import Services
from commands.factors import passkeys_elsewhere
from domain import account
from domain.event import SECOND
from domain.factors.second_factor import Passkey, PasskeyEnrolled, ShownFactor
from domain.rules.origin import of_issuer
from eventstore import used_ids
from security import passkeys
from security.passkeys import NotVerified
from security.tokens import new_id

LASTS = 300
KEPT_AT_MOST = 50
"""Challenges of one person that are remembered at a time."""

LONGEST = 16_384
"""Of what a browser sends for a passkey, in characters."""

_NONCE, _MAC = 16, 16
log = structlog.get_logger("api")


def rp_id(settings: Settings) -> str | None:
    """The relying party (§5.1.3) of this server; None where browsers allow no passkeys."""
    return _relying_party(settings.webauthn_rp_id, settings.issuer)


# Asked with every sign-in, and of a few issuers only.
@lru_cache(maxsize=256)
def _relying_party(configured: str, issuer: str) -> str | None:
    parts = urlsplit(issuer)
    return passkeys.relying_party(configured, parts.hostname or "", parts.scheme)


def own_origins(services: Services) -> tuple[str, ...]:
    """Where the server's own pages stand."""
    return (of_issuer(services.settings.issuer),)


def usable(services: Services, person: account.State) -> tuple[Passkey, ...]:
    """Those of a person's passkeys that are good at this server as it is named now."""
    here = rp_id(services.settings)
    return tuple(each for each in person.factors.passkeys if each.rp_id == here)


def named(settings: Settings) -> dict[str, str]:
    """The settings that the relying party follows from."""
    return {"issuer": settings.issuer, "webauthn_rp_id": settings.webauthn_rp_id}


async def tell_of_dead(services: Services) -> int:
    """Warns of passkeys that are of no use here, as those who changed the name have to know; how many there are."""
    dead = await services.ledger.look(passkeys_elsewhere, rp_id(services.settings))
    if dead:
        log.warning("passkeys are of no use under this name", passkeys=dead, relying_party=rp_id(services.settings))
    return dead


# Challenges (§13.4.3).


def challenge(services: Services, *purpose: str) -> bytes:
    """A new one, which is good for this purpose."""
    until = services.ledger.clock.now() // SECOND + LASTS
    told = secrets.token_bytes(_NONCE) + until.to_bytes(8, "big")
    return told + _seal(services, told, purpose)


def _seal(services: Services, told: bytes, purpose: Sequence[str]) -> bytes:
    key = services.keyring.derive("passkey challenge")
    return hmac.digest(key, told + "\0".join(purpose).encode(), "sha256")[:_MAC]


def _answered(services: Services, credential: Any, purpose: Sequence[str]) -> bytes:
    """The challenge that an answer is to. Raises `NotVerified` for one that is not ours, not for this, or too old."""
    found = passkeys.answered_challenge(credential)
    told, seal = found[:-_MAC], found[-_MAC:]
    if len(told) != _NONCE + 8 or not hmac.compare_digest(seal, _seal(services, told, purpose)):
        raise NotVerified
    if int.from_bytes(told[_NONCE:], "big") <= services.ledger.clock.now() // SECOND:
        raise NotVerified
    return found


async def _take(services: Services, account_id: str, found: bytes) -> None:
    """Has a challenge count once. Raises `NotVerified`."""
    now = services.ledger.clock.now()
    until = int.from_bytes(found[_NONCE : _NONCE + 8], "big") * SECOND
    identifier = used_ids.named("challenge", found.hex())
    holder = account.stream(account_id)
    taken = await services.ledger.maintain(used_ids.take, holder, identifier, until, now=now, most=KEPT_AT_MOST)
    if taken != "fresh":
        raise NotVerified


# What is asked of browsers, and what they answer.


def read(text: str) -> Any:
    """What a form holds of a passkey. Raises `NotVerified` for what is no JSON."""
    if not 0 < len(text) <= LONGEST:
        raise NotVerified
    try:
        return read_json_object(text.encode())
    except (HTTPError, UnicodeError) as problem:
        raise NotVerified from problem


async def _ids(services: Services, person: account.State) -> list[str]:
    opened = [await services.ledger.unseal(each.credential_id) for each in usable(services, person)]
    return [each for each in opened if each is not None]


async def new_options(services: Services, person: account.State, name: str, *purpose: str) -> dict[str, Any] | None:
    """The options for a new passkey of a person; None where there can be none."""
    here = rp_id(services.settings)
    if here is None:
        return None
    asked, existing = challenge(services, *purpose), await _ids(services, person)
    return passkeys.registration_options(here, handle=person.account_id, name=name, challenge=asked, existing=existing)


def options(services: Services, *purpose: str) -> dict[str, Any] | None:
    """The options for showing any passkey that the browser has for this server; None where there can be none."""
    here = rp_id(services.settings)
    if here is None:
        return None
    return passkeys.authentication_options(here, challenge=challenge(services, *purpose), allowed=[], alone=True)


async def options_beside(services: Services, person: account.State, *purpose: str) -> dict[str, Any] | None:
    """Those for a passkey of the person whose password was right; None where they have none."""
    here, allowed = rp_id(services.settings), await _ids(services, person)
    if here is None or not allowed:
        return None
    asked = challenge(services, *purpose)
    return passkeys.authentication_options(here, challenge=asked, allowed=allowed, alone=False)


async def made(
    services: Services, person: account.State, credential: Any, name: str, *purpose: str
) -> tuple[PasskeyEnrolled, bool]:
    """The passkey that a browser made for a person, and whether it is synced. Raises `NotVerified`."""
    here, asked = rp_id(services.settings), _answered(services, credential, purpose)
    if here is None:
        raise NotVerified
    found = passkeys.verify_registration(credential, challenge=asked, rp_id=here, origins=own_origins(services))
    await _take(services, person.account_id, asked)
    enrolled = PasskeyEnrolled(
        factor_id=new_id(),
        credential=digest(found.credential_id),
        rp_id=here,
        sign_count=found.sign_count,
        name=name,
        credential_id=found.credential_id,
        public_key=found.public_key,
    )
    return enrolled, found.synced


async def shown(
    services: Services,
    person: account.State,
    credential: Any,
    *purpose: str,
    auth_session: str,
    origins: Sequence[str],
    alone: bool = False,
) -> ShownFactor:
    """What a browser sent for a passkey of the person, as the decision takes it: without the passkey's id where it is
    not right. A passkey that is `alone` has made sure of the person."""
    try:
        factor_id, assertion = await _verified(services, person, credential, purpose, origins, alone=alone)
    except NotVerified:
        return ShownFactor(factor="webauthn", auth_session=auth_session, alone=alone)
    return ShownFactor(
        factor="webauthn",
        auth_session=auth_session,
        factor_id=factor_id,
        sign_count=assertion.sign_count,
        alone=alone,
        synced=assertion.synced,
    )


async def _verified(
    services: Services,
    person: account.State,
    credential: Any,
    purpose: Sequence[str],
    origins: Sequence[str],
    *,
    alone: bool,
) -> tuple[str, passkeys.Assertion]:
    asked = _answered(services, credential, purpose)
    credential_id, handle = passkeys.named(credential)
    wanted = digest(credential_id)
    found = next((each for each in usable(services, person) if each.credential == wanted), None)
    if found is None or handle not in (None, person.account_id):
        raise NotVerified
    public_key = await services.ledger.unseal(found.public_key)
    if public_key is None:
        raise NotVerified
    assertion = passkeys.verify_assertion(
        credential, challenge=asked, rp_id=found.rp_id, origins=origins, public_key=public_key
    )
    if alone and not assertion.verified:
        raise NotVerified
    await _take(services, person.account_id, asked)
    return found.factor_id, assertion


async def whose(services: Services, credential: Any) -> account.State:
    """The person of whom a passkey says that it is theirs, which nobody has verified yet. Raises `NotVerified`."""
    _, handle = passkeys.named(credential)
    if handle is None or not handle.isalnum() or len(handle) > 64:
        raise NotVerified
    found: account.State = await services.ledger.state(account.stream(handle))
    if not account.alive(found):
        raise NotVerified
    return found


def digest(credential_id: str) -> str:
    """By which a passkey is known in the log."""
    return sha256(credential_id.encode()).hexdigest()


def auth_session() -> str:
    """Names a sign-in by a passkey alone."""
    return sha256(new_id().encode()).hexdigest()
