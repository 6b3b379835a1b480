"""DPoP (RFC 9449): the proof that the one who asks holds the key to which tokens are bound, at each place that takes
it.

Nonces are the server's own time under a MAC: every worker and node knows them by the master key, and keeps none.
"""

import hmac
from base64 import urlsafe_b64encode
from typing import NamedTuple

import msgspec

from api.http.errors import InvalidDpopProof, Throttled, UseDpopNonce
from api.http.request_context import Scope, header_values, request_context
from api.services import Services
from api.throttling.limits import group
from domain import client
from domain.event import SECOND
from domain.rules import dpop_proof, public_key, security_profile
from eventstore import used_ids
from security.foreign_tokens import ReadToken, read, signed_by
from security.jose import BadToken
from security.tokens import same

HEADER = b"dpop"

NONCE_LASTS = 300
"""Seconds for which a nonce is good (§8)."""

NONCE_EARLY = 30
"""Seconds by which the clock of the node that made it may be ahead."""

REMEMBERED = "Too many proofs of this client are still good."
FULL_FOR = 60
"""Seconds after which a client may try again that has too many proofs."""

SHARES, OF_A_SHARE = 64, 8
"""In how many shares strangers' proofs are kept of each client, and which part of a client's room each of them has."""


class VerifiedProof(NamedTuple):
    """A proof that is genuine, and not used up yet: `jkt` is the thumbprint of its key (RFC 7638)."""

    jkt: str
    jti: str
    until: int
    algorithm: str


class _Place(NamedTuple):
    """Where a proof comes: with an access token it is a resource, whose refusals are 401 (§7.1)."""

    token: str | None
    wants_nonce: bool

    def refused(self, words: str) -> InvalidDpopProof:
        return InvalidDpopProof(words, at_resource=self.token is not None)


def proof_of(services: Services, scope: Scope, *, token: str | None = None) -> VerifiedProof | None:
    """The request's proof; None where it has none. Raises `invalid_dpop_proof` and `use_dpop_nonce` (§5, §8).

    With `token`, an access token, the proof must be for it.
    """
    values = header_values(scope, HEADER)
    if not values:
        return None
    nonces = services.settings.dpop_nonces
    place = _Place(token, nonces == "everywhere" or (nonces == "resources" and token is not None))
    if len(values) > 1:
        raise place.refused("More than one DPoP header.")
    try:
        proof = read(values[0].strip(), own_key=True)
    except BadToken:
        raise place.refused("The DPoP proof is no signed token with its key, or asks for what is not done.") from None
    key = dpop_proof.key_of(proof.header)
    if key is None or not public_key.candidates((key,), proof.algorithm, None):
        raise place.refused("The DPoP proof has no public key of its own that fits its algorithm.")
    if not signed_by(proof, msgspec.to_builtins(key)):
        raise place.refused("The DPoP proof is not signed by its key.")
    until = _until(services, scope, proof, place)
    _check_nonce(services, proof, place)
    return VerifiedProof(public_key.thumbprint(key), proof.claims["jti"], until, proof.algorithm)


def _until(services: Services, scope: Scope, proof: ReadToken, place: _Place) -> int:
    method = "HEAD" if request_context(scope).head else scope["method"]
    path = scope.get("raw_path") or scope["path"].encode()
    settings = services.settings
    places = (settings.issuer, settings.mtls_url) if settings.mtls_url else (settings.issuer,)
    until = dpop_proof.judge(
        proof.header,
        proof.claims,
        method=method,
        targets=[each + path.partition(b"?")[0].decode("latin-1") for each in places],
        token=place.token,
        now=services.ledger.clock.now(),
    )
    if isinstance(until, str):
        raise place.refused(f"The DPoP proof is not for this request: see its {until}.")
    return until


async def use_up(
    services: Services,
    proof: VerifiedProof,
    client_id: str,
    *,
    at_resource: bool = False,
    stranger: Scope | None = None,
) -> None:
    """Takes the proof's `jti`, which counts once on all workers and nodes; raises `invalid_dpop_proof` for a second
    time, and 429 for a client of which no more can be remembered. `stranger` is a request that has shown nothing of the
    client but its name: what it fills is a share by its address, and never the room of who has shown a code or token.
    """
    stream = client.stream(client_id)
    holder: client.State = services.ledger.known(stream) or await services.ledger.state(stream)
    if not security_profile.takes(holder, proof.algorithm):
        raise InvalidDpopProof("This client may not sign with that algorithm.", at_resource=at_resource)
    most, name = services.settings.client_ids_kept, client_id
    if stranger is not None:
        most, name = max(1, most // OF_A_SHARE), f"{client_id} {_share(services, stranger)}"
    identifier = used_ids.named("proof", f"{proof.jkt} {proof.jti}")
    taken = await services.ledger.maintain(
        used_ids.take,
        name,
        identifier,
        proof.until,
        now=services.ledger.clock.now(),
        most=most,
    )
    if taken == "full":
        raise Throttled(FULL_FOR, REMEMBERED)
    if taken == "used":
        raise InvalidDpopProof("The DPoP proof was used before.", at_resource=at_resource)


def _share(services: Services, scope: Scope) -> int:
    address = group(request_context(scope).address)
    return hmac.digest(services.keyring.derive("dpop share"), address.encode(), "sha256")[0] % SHARES


# Nonces (§8, §9).


def new_nonce(services: Services) -> str:
    """A nonce that is good from now on."""
    return _nonce(services, services.ledger.clock.now() // SECOND)


def _nonce(services: Services, made: int) -> str:
    mac = hmac.digest(services.keyring.derive("dpop nonce"), str(made).encode(), "sha256")
    return f"{made}.{urlsafe_b64encode(mac[:18]).decode()}"


def _check_nonce(services: Services, proof: ReadToken, place: _Place) -> None:
    given = proof.claims.get("nonce")
    if given is None and not place.wants_nonce:
        return
    told = given if isinstance(given, str) else ""
    made = told.partition(".")[0]
    if made.isascii() and made.isdigit() and len(made) <= 12:
        age = services.ledger.clock.now() // SECOND - int(made)
        if -NONCE_EARLY <= age < NONCE_LASTS and same(told, _nonce(services, int(made))):
            return
    raise UseDpopNonce(new_nonce(services), at_resource=place.token is not None)
