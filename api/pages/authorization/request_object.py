"""Request objects (RFC 9101): a client signs what it asks for, and nothing that stands beside it counts."""

import hmac
import re
from typing import Any
from urllib.parse import urlencode

import msgspec

from api.http import errors
from api.http.errors import HTTPError
from api.http.request_context import Scope
from api.languages import Words
from api.oauth.client_key_sets import signer
from api.services import Services
from domain import client
from domain.decision import InvalidClient
from domain.event import SECOND, Moment
from domain.rules import public_key, request_object, security_profile
from domain.rules.client_assertion import SKEW, seconds
from eventstore import used_ids
from security import base64url
from security.foreign_tokens import read
from security.jose import BadToken
from security.tokens import same

SECONDS = re.compile(r"[0-9]{1,12}")
FULL_FOR = 60
"""Seconds after which a client may try again that has too many."""


GOES_ON_FOR = 600
"""Seconds that a person has to sign in and to answer who came with a request object while it counted."""


def proof(services: Services, text: str) -> str:
    """What tells that a request object came at this very second: it is judged by that on the pages which follow."""
    return _proof(services, text, services.ledger.clock.now() // SECOND)


def _proof(services: Services, text: str, at: int) -> str:
    mac = hmac.digest(services.keyring.derive("request object opened"), f"{at}\0{text}".encode(), "sha256")
    return f"{at}.{base64url.encode(mac[:18])}"


def opened_at(services: Services, text: str, given: str) -> Moment:
    """When a request object came that goes on with this proof; the present where it is none, or too old."""
    now, second = services.ledger.clock.now(), given.partition(".")[0]
    if not SECONDS.fullmatch(second) or not same(given, _proof(services, text, int(second))):
        return now
    at = int(second) * SECOND
    return at if now - at <= GOES_ON_FOR * SECOND else now


async def opened(services: Services, scope: Scope, asking: client.State, text: str, at: Moment) -> bytes | HTTPError:
    """The parameters of a request object, form-encoded, or what is wrong with it (RFC 9101 §6) that came then."""
    if not public_key.verifies(asking):
        return errors.RequestNotSupported("Request objects are for clients that have registered keys.")
    try:
        token = read(text)
    except BadToken:
        return errors.InvalidRequestObject("The request object is not signed, or asks for what is not done.")
    wanted = asking.request_object_signing_alg
    if wanted not in (None, token.algorithm) or not security_profile.takes(asking, token.algorithm):
        return errors.InvalidRequestObject("The request object is signed with another algorithm than it may be.")
    if isinstance(await signer(services, scope, asking, token), InvalidClient):
        return errors.InvalidRequestObject("The request object is not signed by a key of this client.")
    fault = request_object.judge(
        token.header.get("typ"),
        token.claims,
        client=asking,
        client_id=asking.known_as,
        issuer=services.settings.issuer,
        now=at,
    )
    if fault is not None:
        return errors.InvalidRequestObject(Words("The request object does not count: see its %(fault)s.", fault=fault))
    return _encoded(token.claims, asking.known_as)


async def use_up(services: Services, asking: client.State, text: str) -> None:
    """Takes the `jti` of an object that was found good, if it has one: it is pushed once. Raises
    `invalid_request_object` for a second time, and 429 for a client of which no more can be remembered."""
    claims, now = read(text).claims, services.ledger.clock.now()
    jti, ends = claims.get("jti"), seconds(claims.get("exp"))
    if not isinstance(jti, str):
        return
    longest = now // SECOND + request_object.LIFETIME_MAXIMUM
    until = (min(longest, longest if ends is None else ends) + SKEW + 1) * SECOND
    identifier, most = used_ids.named("request_object", jti), services.settings.client_ids_kept
    taken = await services.ledger.maintain(used_ids.take, asking.client_id, identifier, until, now=now, most=most)
    if taken == "full":
        raise errors.Throttled(FULL_FOR, "Too many request objects of this client are still good.")
    if taken == "used":
        raise errors.InvalidRequestObject("The request object was used before.")


def _encoded(claims: dict[str, Any], client_id: str) -> bytes | HTTPError:
    """Texts as they are, several where there may be several, anything else as JSON (OpenID Connect Core §6.1)."""
    pairs: list[tuple[str, str]] = []
    try:
        for name, value in ({"client_id": client_id} | claims).items():
            if name in request_object.OWN:
                continue
            several = value if name == "resource" and isinstance(value, list) else [value]
            pairs += [(name, each if isinstance(each, str) else msgspec.json.encode(each).decode()) for each in several]
        return urlencode(pairs).encode()
    except UnicodeEncodeError:
        return errors.InvalidRequestObject("The request object holds half a surrogate pair.")
