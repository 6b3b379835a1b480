"""The introspection endpoint (RFC 7662)."""

import re
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from api.http.bodies import read_parameters
from api.http.errors import InvalidClient, InvalidRequest, TemporarilyUnavailable
from api.http.load_shedding import away
from api.http.request_context import Receive, Scope, fields, request_context
from api.http.responses import JSON, Fields, RawResponse, fields_of, raw_response
from api.oauth.bearer import actor_of, judge
from api.oauth.client_authentication import TWO_WAYS, authenticate, authorization, endpoint
from api.oauth.jwt_access_tokens import actors, confirmation
from api.services import Services, origin
from domain import client
from domain.event import SECOND, Actor
from domain.keys import signing_key
from domain.rules import security_profile
from eventstore.validation import Known, TokenTerms
from security import jose
from security.masking import masking
from security.tokens import digest, has_checksum

INTROSPECT = "introspect"
"""The administrative scope that shows every access token; without it a client sees its own tokens, and access tokens
for what it serves.
"""

TYP = "token-introspection+jwt"
MEDIA_TYPE = f"application/{TYP}"
"""What an answer is called that is signed (RFC 9701 §4, §5)."""

NO_STORE = {"cache-control": "no-store"}
_WEIGHT = re.compile(r"[01](?:\.[0-9]{0,3})?")

INACTIVE = raw_response(200, b'{"active":false}', JSON, NO_STORE)
LONGEST_TOKEN = jose.LONGEST_TOKEN

_encode = msgspec.json.Encoder().encode


async def _post(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    parameters = await read_parameters(scope, receive, services.settings.body_limit)
    asking = await _caller(services, scope, parameters)
    answer = await _answer(services, scope, parameters, asking)
    accepted = fields(scope).get(b"accept")
    # Most ask for nothing, or for anything.
    if accepted is None or MEDIA_TYPE.encode() not in accepted.lower() or not _prefers_signed(accepted):
        return answer
    return await _signed(services, scope, asking.client_id, answer.body)


def _prefers_signed(accepted: bytes) -> bool:
    """Whether a signed answer is asked for, and none that is plain is liked better (RFC 9110 §12.5.1)."""
    weights: dict[str, float] = {}
    for each in accepted.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        told = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weights[name] = float(told) if _WEIGHT.fullmatch(told) else 1.0
    plain = next((weights[name] for name in ("application/json", "application/*", "*/*") if name in weights), 0.0)
    return weights.get(MEDIA_TYPE, 0.0) > 0 and weights[MEDIA_TYPE] >= plain


async def _answer(services: Services, scope: Scope, parameters: dict[str, str], asking: "_Asking") -> RawResponse:
    client_id = asking.client_id
    raw = parameters.get("token")
    if not raw:
        raise InvalidRequest("token is missing.")
    if len(raw) > LONGEST_TOKEN:
        return INACTIVE
    sha256 = digest(raw)
    # To authenticate the caller the log was asked for its head, after this request had come.
    known = services.ledger.validation.remembered(sha256)
    if known is None:
        if not has_checksum(raw) and not jose.may_be_signed(raw):
            return INACTIVE
        known = await services.ledger.validation.look_up(sha256)
    reason = "unknown" if known is None else known.reason(services.ledger.clock.now())
    seen = asking.sees_all if known is None else _visible(known, asking)
    # Anyone who may not see the token is no resource server of it: what they say about others would hide themselves.
    told, address = parameters.get("client_ip") if seen else None, request_context(scope).address
    if not services.token_uses.again(sha256, client_id, told or address, ended=reason != "active") and (
        known is not None or services.format.parse(raw) is not None
    ):
        agent = parameters.get("client_user_agent") if seen else None
        services.token_uses.note(
            sha256,
            known,
            None if reason == "active" else reason,
            via="introspection",
            address=address,
            origin=partial(origin, scope, asking.actor),
            seen_by=client_id,
            told_ip=told,
            told_user_agent=None if agent is None else masking(*services.format.prefixes).text(agent),
        )
    if known is None or reason != "active" or not seen:
        return INACTIVE
    terms = known.terms
    if terms.sector is not None and client_id == terms.client_id:
        said = _said(terms, services, terms.sector)
    else:
        said = terms.said = terms.said or _said(terms, services, None)
    body = said + _own(known, raw)
    return RawResponse(200, _fields(len(body)), body)


async def _signed(services: Services, scope: Scope, client_id: str, body: bytes) -> RawResponse:
    """The same answer as a token for anyone who asked (RFC 9701 §5)."""
    asking: client.State = await services.ledger.state(client.stream(client_id))
    keys: signing_key.State = await services.ledger.state(signing_key.STREAM)
    key_id = keys.active.get(security_profile.introspection_algorithm(asking))
    if key_id is None:
        raise TemporarilyUnavailable("There is no key to sign with at present.")
    key = await services.private_keys.signing(key_id)
    claims = {
        "iss": services.settings.issuer,
        "aud": asking.known_as,
        "iat": services.ledger.clock.now() // SECOND,
        "token_introspection": msgspec.json.decode(body),
    }
    with away(scope):
        token = await key.sign(claims, TYP)
    return raw_response(200, token.encode(), MEDIA_TYPE, NO_STORE)


class _Asking(NamedTuple):
    """The client that asks. It sees every access token (RFC 7662 §2.1), or those for what it serves (RFC 8707)."""

    client_id: str
    sees_all: bool
    serves: tuple[str, ...]
    actor: Actor


async def _caller(services: Services, scope: Scope, parameters: dict[str, str]) -> _Asking:
    if fields(scope).get(b"authorization", b"").partition(b" ")[0].lower() in (b"bearer", b"dpop"):
        # There may be another one, which is refused.
        authorization(scope)
        if "client_secret" in parameters or "client_assertion" in parameters:
            raise InvalidRequest(TWO_WAYS)
        known = await judge(services, scope, (INTROSPECT,))
        return _Asking(known.terms.client_id, True, (), actor_of(known))
    caller = await authenticate(services, scope, parameters, "introspection")
    client, secret_id = caller.client, caller.secret_id
    if client.type == "public":
        # To name a public client is no authorization (RFC 7662 §2.1).
        raise InvalidClient()
    if secret_id is not None and not services.uses.again(secret_id, "introspection", request_context(scope).address):
        services.uses.note(client.client_id, secret_id, "introspection", origin(scope, caller.actor))
    return _Asking(client.client_id, INTROSPECT in client.scope, client.serves, caller.actor)


def _visible(known: Known, asking: _Asking) -> bool:
    terms = known.terms
    if terms.kind == "code":
        return False
    if terms.client_id == asking.client_id:
        return True
    # Nothing but an access token has an audience here.
    served = (*asking.serves, asking.client_id)
    return terms.kind == "access" if asking.sees_all else any(uri in served for uri in terms.audience)


@lru_cache(maxsize=1_024)
def _fields(length: int) -> Fields:
    """The header fields of every answer whose body is as long."""
    return fields_of(length, JSON, NO_STORE)


def _said(terms: TokenTerms, services: Services, sector: str | None) -> bytes:
    """What the answer begins with. A client that knows people by names of its `sector` sees no other (OpenID Connect
    Core §8.1); it is told so about its own tokens, and resource servers learn whose account it is.
    """
    found = _common(terms, services.settings.issuer)
    if sector is not None and terms.account_id is not None:
        found["sub"] = services.subjects.of(terms.account_id, sector)
        found.pop("username", None)
    return _encode(found)[:-1] + b","


def _common(terms: TokenTerms, issuer: str) -> dict[str, Any]:
    """What it says of every active token of these terms (RFC 7662 §2.2, RFC 9470 §6.2)."""
    found: dict[str, Any] = {
        "active": True,
        "scope": " ".join(terms.scope),
        "client_id": terms.known_as,
        "sub": terms.account_id or terms.known_as,
        "iss": issuer,
        "aud": _audience(terms, issuer),
    }
    if terms.username is not None:
        found["username"] = terms.username
    if terms.acr is not None:
        found["acr"] = terms.acr
    if terms.details is not None:
        found["authorization_details"] = msgspec.Raw(terms.details.encode())
    if terms.act:
        found["act"] = actors(terms.act)
    if terms.kind == "refresh":
        found["token_use"] = "refresh"  # noqa: S105 - the word of the contract
    else:
        found["token_type"] = "Bearer" if terms.jkt is None else "DPoP"
    if bound := confirmation(terms.jkt, terms.x5t):
        found["cnf"] = bound
    return found


def _audience(terms: TokenTerms, issuer: str) -> str | tuple[str, ...]:
    """`aud` (RFC 7662 §2.2): one as text, several as a list."""
    if not terms.audience:
        return issuer
    return terms.audience[0] if len(terms.audience) == 1 else terms.audience


def _own(known: Known, raw: str) -> bytes:
    """What it says of one token. `jti` is a JWT's own, else the first half of the token's digest: unique and no secret.

    Ids need no escape in JSON. To make it each time takes a microsecond; keeping it took a sixth of a token's memory.
    """
    expires, issued = known.expires_at // SECOND, known.issued_at // SECOND
    jti = jose.read_claims(raw)["jti"] if known.terms.signing_key else known.digest[:16].hex()
    at = known.authenticated_at
    sign_in = "" if at is None else f'"auth_time":{at // SECOND},'
    return f'{sign_in}"exp":{expires},"iat":{issued},"jti":"{jti}","grant_id":"{known.grant_id}"}}'.encode()


introspect = endpoint("/oauth/introspect", _post)
