"""The userinfo endpoint (OpenID Connect Core §5.3): what the person of an access token lets its client know of them."""

from functools import lru_cache
from typing import Any

import msgspec

from api.http.bodies import FORM, encoding, read_body, read_form
from api.http.errors import HTTPError, InsufficientScope, InvalidRequest, TemporarilyUnavailable, WrongMediaType
from api.http.load_shedding import away
from api.http.request_context import Receive, Scope, fields
from api.http.responses import JSON, Fields, RawResponse, fields_of, raw_response
from api.oauth.bearer import judge_header, judge_token, note_use
from api.oauth.client_authentication import endpoint
from api.services import Services
from domain import account
from domain.event import SECOND, Sealed
from domain.keys import signing_key
from domain.rules import standard_claims
from domain.rules.built_in_scope import OPENID
from domain.rules.client_metadata import SigningAlgorithm
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.validation import TokenTerms

PATH = "/oauth/userinfo"
METHODS = ("GET", "POST")
JWT = "application/jwt"
NO_STORE = {"cache-control": "no-store"}

_encode = msgspec.json.Encoder().encode


async def _answer(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    in_form = await _presented(services, scope, receive)
    known = await (judge_header(services, scope) if in_form is None else judge_token(services, scope, in_form))
    note_use(services, scope, known)
    terms = known.terms
    if terms.account_id is None:
        # A client that acts for itself has nobody to tell of: more than its token allows (RFC 6750 §3.1).
        raise InsufficientScope(OPENID)
    body = terms.told or await _told(services, terms, terms.account_id)
    if terms.signed is None:
        return RawResponse(200, _fields(len(body)), body)
    return raw_response(200, await _signed(services, scope, terms, body, terms.signed), JWT, NO_STORE)


async def _presented(services: Services, scope: Scope, receive: Receive) -> str | None:
    """The token of the form (RFC 6750 §2.2), None where that has none; one in the query was refused before."""
    if scope["method"] == "GET":
        return None
    body = await read_body(scope, receive, services.settings.body_limit)
    in_form = _in_form(scope, body) if body else None
    if in_form is not None and b"authorization" in fields(scope):
        raise _bad("The access token stands in two places.")
    return in_form


def _in_form(scope: Scope, body: bytes) -> str | None:
    try:
        encoding(scope, FORM)
    except WrongMediaType:
        # Whatever else was sent along says nothing here.
        return None
    try:
        return read_form(body, omit_empty=True).get("access_token")
    except InvalidRequest as error:
        raise _bad(error.detail) from None


def _bad(detail: str | None) -> HTTPError:
    error = InvalidRequest(detail)
    error.headers["www-authenticate"] = 'Bearer error="invalid_request"'
    return error


@lru_cache(maxsize=1_024)
def _fields(length: int) -> Fields:
    """The header fields of every answer whose body is as long."""
    return fields_of(length, JSON, NO_STORE)


async def _signed(
    services: Services, scope: Scope, terms: TokenTerms, body: bytes, algorithm: SigningAlgorithm
) -> bytes:
    """The same as a signed token for the client (§5.3.2). It is signed each time: a key may be revoked meanwhile."""
    keys: signing_key.State = await services.ledger.state(signing_key.STREAM)
    key_id = keys.active.get(algorithm)
    if key_id is None:
        raise TemporarilyUnavailable("There is no key to sign with at present.")
    key = await services.private_keys.ready(key_id)
    claims = {"iss": services.settings.issuer, "aud": terms.known_as, **msgspec.json.decode(body)}
    with away(scope):
        return (await key.sign(claims)).encode()


async def _told(services: Services, terms: TokenTerms, account_id: str) -> bytes:
    """The answer for tokens of these terms, kept with them until the person's names or claims change."""
    ledger = services.ledger
    person: account.State = await ledger.state(account.stream(account_id))
    wanted = {"sub", *standard_claims.opened(terms.scope), *terms.claims}
    opened = await ledger.read(_open, ledger, {**_names(person), **person.claims})
    body = _encode(_claims(services.subjects.of(account_id, terms.sector), person, opened, wanted))
    if person.told_position == terms.told_position:
        terms.told = body
    return body


def _names(person: account.State) -> dict[str, Sealed]:
    names = {"username": person.username, "email": person.email, "name": person.name}
    return {field: sealed for field, sealed in names.items() if sealed is not None}


def _open(connection: Connection, ledger: Ledger, sealed: dict[str, Sealed]) -> dict[str, str]:
    opened = {field: ledger.privacy.open(connection, value) for field, value in sealed.items()}
    return {field: text for field, text in opened.items() if text is not None}


def _claims(sub: str, person: account.State, opened: dict[str, str], wanted: set[str]) -> dict[str, Any]:
    """Those of the wanted claims that are known (§5.3.2). Who has no handle of their own is called by the username."""
    found: dict[str, Any] = {"sub": sub, "updated_at": person.updated_at // SECOND}
    if (username := opened.pop("username", None)) is not None:
        found["preferred_username"] = username
    # What nobody has verified is not (§5.1).
    found |= {f"{field}_verified": False for field in ("email", "phone_number") if field in opened}
    found |= {name: standard_claims.value_of(name, text) for name, text in opened.items()}
    return {name: found[name] for name in standard_claims.CLAIMS if name in wanted and name in found}


userinfo = endpoint(PATH, _answer, METHODS)
