"""Security profiles (FAPI 2.0 Security Profile): what a client is held to that is registered with one, in one place."""

from domain.decision import Outcome, malformed
from domain.rules.client_metadata import SECRET_METHODS, ClientMetadata, SigningAlgorithm

ALGORITHMS: tuple[SigningAlgorithm, ...] = ("PS256", "ES256", "EdDSA")
"""With which anything may be signed by such a client and for it (§5.4.1)."""

CODE_LIFETIME = 60
"""Seconds at most (§5.3.2.1)."""


def held(client: ClientMetadata) -> bool:
    """Whether the client is held to FAPI 2.0."""
    return client.profile == "fapi2"


def pushes(client: ClientMetadata) -> bool:
    """Whether it must push its authorization requests (§5.3.2.2)."""
    return client.require_pushed_authorization_requests or held(client)


def needs_pkce(client: ClientMetadata) -> bool:
    """Whether a request must bring a challenge: only a confidential client can be let off (RFC 9700 §2.1.1)."""
    return client.require_pkce or client.type != "confidential" or held(client)


def missing_proof(client: ClientMetadata, jkt: str | None, x5t: str | None) -> str | None:
    """What a token request lacks to which its tokens are bound in any case (§5.3.2.1, RFC 9449 §5.2, RFC 8705 §3.4)."""
    if client.dpop_bound_access_tokens and jkt is None:
        return "This client's tokens are bound to a key: send a DPoP proof."
    if client.tls_client_certificate_bound_access_tokens and x5t is None:
        return "This client's tokens are bound to its certificate, and there is none."
    if held(client) and jkt is None and x5t is None:
        return "This client's tokens are bound to a key or a certificate: send a DPoP proof."
    return None


def keeps_refresh_token(client: ClientMetadata) -> bool:
    """Whether its refresh token stays good (§5.3.2.1): what such a client presents it with cannot be stolen with it."""
    return held(client) or (client.type == "confidential" and client.token_endpoint_auth_method not in SECRET_METHODS)


def takes(client: ClientMetadata, algorithm: str) -> bool:
    """Whether the client may sign with it."""
    return not held(client) or algorithm in ALGORITHMS


def response_algorithm(client: ClientMetadata) -> SigningAlgorithm:
    """By which its authorization responses are signed, where it wants that (JARM §3)."""
    return client.authorization_signed_response_alg or (ALGORITHMS[0] if held(client) else "RS256")


def access_token_algorithm(client: ClientMetadata) -> SigningAlgorithm:
    """By which its access tokens are signed that are JWTs (RFC 9068 §2.1): as its id_tokens are."""
    named = client.id_token_signed_response_alg
    return named if takes(client, named) else ALGORITHMS[0]


def introspection_algorithm(client: ClientMetadata) -> SigningAlgorithm:
    """By which it is answered about tokens, where it wants that signed (RFC 9701 §6)."""
    return ALGORITHMS[0] if held(client) else "RS256"


_NAMED = (
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "token_endpoint_auth_signing_alg",
    "request_object_signing_alg",
    "authorization_signed_response_alg",
)


def registered(client: ClientMetadata) -> Outcome | None:
    """Refuses what does not go with the profile."""
    if not held(client):
        return None
    if client.type != "confidential" or client.token_endpoint_auth_method in SECRET_METHODS:
        return malformed("token_endpoint_auth_method", "must be private_key_jwt with the profile fapi2")
    if not client.require_pkce:
        return malformed("require_pkce", "must be true with the profile fapi2")
    for field in _NAMED:
        unused = field == "id_token_signed_response_alg" and "openid" not in client.scope
        if not unused and getattr(client, field) not in (None, *ALGORITHMS):
            return malformed(field, "must be of " + ", ".join(ALGORITHMS) + " with the profile fapi2")
    return None
