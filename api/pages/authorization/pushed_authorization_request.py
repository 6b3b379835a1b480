"""The pushed authorization request endpoint (RFC 9126): a client says what it will ask for, and gets a reference."""

from collections.abc import Iterator

import msgspec

from api.http.bodies import FORM, RESOURCE, Parameters, encoding, form_pairs, read_body, read_form
from api.http.credential_cache import Caller
from api.http.errors import InvalidDpopProof, InvalidRequest, TemporarilyUnavailable, Throttled, oauth_error
from api.http.request_context import Receive, Scope
from api.http.responses import JSON, RawResponse, raw_response
from api.oauth import client_names, dpop
from api.oauth.client_authentication import CLIENT_ID, authenticate, endpoint
from api.pages.authorization import request_object
from api.pages.authorization.authorization_request import (
    QUERY_MAXIMUM,
    REFERENCE,
    AuthorizationRequest,
    Unanswerable,
    examine,
    read_query,
)
from api.pages.authorization.client_documents import DescribedClient, DocumentFault, described
from api.services import Services, origin
from api.throttling.admission import admit
from api.throttling.limits import Limit, PerMinute
from commands import pushed_requests as commands
from domain.event import SECOND
from eventstore.database import Connection
from eventstore.pending import pushed_requests
from eventstore.pending.pushed_requests import PushedRequest
from security.tokens import characters, digest, new_id

PATH = "/oauth/par"

AUTHENTICATING = frozenset(("client_secret", "client_assertion", "client_assertion_type"))
"""Parameters that say who asks, and not what."""

RANDOM = 36
"""Base62 characters of a reference: 214 bits (RFC 9126 §2.2)."""

FULL = "Too many requests are waiting to be opened. Try again."
TOO_MANY = "Too many requests within a minute. Wait before the next one."

_encode = msgspec.json.Encoder().encode


async def _post(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    body = await read_body(scope, receive, services.settings.body_limit)
    given = Parameters()
    if body:
        encoding(scope, FORM)
        given = Parameters(read_form(body, repeatable=(RESOURCE,), omit_empty=True))
    document = await _described(services, scope, given)
    caller = await authenticate(services, scope, given, "token", None if document is None else document.state)
    if document is None:
        _admit(services, scope, caller)
    if "request_uri" in given:
        raise InvalidRequest("What is pushed names no request_uri (RFC 9126 section 2.1).")
    proof = dpop.proof_of(services, scope)
    asked = await _examined(services, scope, caller, b"&".join(_asked(body)))
    # Of a signed request what was signed: it need not be verified once more.
    octets = asked.query.text.encode()
    if proof is not None:
        octets = _bound(octets, asked.dpop_jkt, proof.jkt)
    if len(octets) > QUERY_MAXIMUM:
        # As it is kept, it could not be opened.
        raise InvalidRequest(f"The request is longer than {QUERY_MAXIMUM} bytes.")
    if "request" in given:
        await request_object.use_up(services, caller.client, given["request"])
    if proof is not None:
        stranger = scope if caller.client.type == "public" else None
        await dpop.use_up(services, proof, caller.client.client_id, stranger=stranger)
    reference = REFERENCE + characters(RANDOM)
    now = services.ledger.clock.now()
    kept = PushedRequest(new_id(), caller.client.client_id, now + commands.LIFETIME * SECOND, octets)
    await _keep(services, scope, caller, asked, digest(reference), kept, described=document is not None)
    said = _encode({"request_uri": reference, "expires_in": commands.LIFETIME})
    return raw_response(201, said, JSON, {"cache-control": "no-store"})


def _bound(octets: bytes, named: str | None, jkt: str) -> bytes:
    """The request with the key that was proved, which is the one that it may name (RFC 9449 §10.1)."""
    if named not in (None, jkt):
        raise InvalidDpopProof("The DPoP proof is not made with the key of dpop_jkt.")
    if named is not None:
        return octets
    # A parameter without a value counts as not sent (RFC 6749 §3.1), and would stand there twice.
    others = (part for part in octets.split(b"&") if dict(form_pairs(part)) != {"dpop_jkt": ""})
    return b"&".join(others) + f"&dpop_jkt={jkt}".encode()


async def _described(services: Services, scope: Scope, given: Parameters) -> DescribedClient | None:
    """The client whose metadata document is at its id; None for any other. Raises 429 and 400."""
    client_id = given.get("client_id", "")
    kept_under = client_names.kept_under(services.settings, client_id)
    if kept_under in (client_id, client_names.NOBODY) or not CLIENT_ID.fullmatch(client_id):
        return None
    admit(services.throttle, scope, "par")
    try:
        return await described(services, scope, client_id)
    except DocumentFault as fault:
        raise InvalidRequest(fault.words) from fault


def _admit(services: Services, scope: Scope, caller: Caller) -> None:
    """Raises 429: for who proved nothing by address, for a client by its own number of tokens."""
    client = caller.client
    if client.type == "public":
        admit(services.throttle, scope, "par")
        return
    most = services.settings.client_tokens_per_minute if client.tokens_per_minute is None else client.tokens_per_minute
    admission = services.throttle.begin(Limit("tokens", f"par {client.client_id}", PerMinute(most)))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after, TOO_MANY)


def _asked(body: bytes) -> Iterator[bytes]:
    """The parameters that are asked for, octet by octet as they came."""
    for part in body.split(b"&"):
        name, _, _ = part.partition(b"=")
        if part and not any(decoded in AUTHENTICATING for decoded, _ in form_pairs(name)):
            yield part


async def _examined(services: Services, scope: Scope, caller: Caller, octets: bytes) -> AuthorizationRequest:
    """The request, held to what it would be held to at the authorization endpoint; raises its first fault."""
    try:
        # A signed request is longer than what it holds.
        longest = QUERY_MAXIMUM if b"request=" not in octets else services.settings.body_limit
        asked = await examine(services, scope, caller.client, read_query(octets, longest), pushed=True)
    except Unanswerable as error:
        raise InvalidRequest(error.detail) from None
    if asked.error is not None:
        raise asked.error
    return asked


async def _keep(
    services: Services,
    scope: Scope,
    caller: Caller,
    asked: AuthorizationRequest,
    request_uri: bytes,
    kept: PushedRequest,
    *,
    described: bool,
) -> None:
    """Keeps the request: a fact at once where a registered client proved who it is, else a row out of a bounded
    number."""
    ledger, now, anonymous = services.ledger, services.ledger.clock.now(), described or caller.client.type == "public"

    def keep(connection: Connection) -> bool:
        return pushed_requests.keep(connection, ledger.vault, request_uri, kept, now=now, anonymous=anonymous)

    if anonymous:
        if not await ledger.maintain(keep):
            raise TemporarilyUnavailable(FULL, retry_after=commands.LIFETIME)
        return
    received = commands.receive(
        kept.request_id,
        client_id=kept.client_id,
        secret_id=caller.secret_id,
        key_id=caller.key_id,
        request_uri=request_uri.hex(),
        redirect_uri=asked.redirect_uri,
        asked=None if asked.asked is None else " ".join(asked.asked),
    )
    by = origin(scope, caller.actor, on_device=caller.client.on_device)
    executed = await ledger.execute(received, origin=by, then=lambda view, _: keep(view.connection))
    if executed.refusal is not None:
        raise oauth_error(executed.refusal)


par = endpoint(PATH, _post)
