"""A client's keys: the fact that they were registered, and whether one may still prove the client by them.

Their facts stand in the client's stream. Unlike a secret they are no secret of the server's, so a change states all of
them anew.
"""

from domain.event import Event
from domain.rules import public_key
from domain.rules.client_metadata import SECRET_METHODS, ClientKeys, ClientMetadata, PublicKey


class KeysRegistered(Event, frozen=True, kw_only=True):
    """The client has these public keys (RFC 7591 §2), and no others. Tokens that it got by former ones stay good."""

    type = "client.keys_registered"

    jwks: tuple[PublicKey, ...] = ()


EVENTS: tuple[type[Event], ...] = (KeysRegistered,)


def has_secret(client: ClientMetadata) -> bool:
    """Whether the client authenticates by a secret."""
    return client.token_endpoint_auth_method in SECRET_METHODS


def still_proves(client: ClientMetadata, key_id: str) -> bool:
    """Whether the key of this thumbprint proves the client; checks under the lock what was checked before it."""
    if client.token_endpoint_auth_method != "private_key_jwt":  # noqa: S105 - a method by its RFC 7591 name
        return False
    return public_key.of_thumbprint(client.keys, key_id) is not None


def registered(keys: ClientKeys) -> KeysRegistered:
    """The fact that a client has these keys."""
    return KeysRegistered(jwks=keys.jwks)


def keys_of(event: KeysRegistered) -> ClientKeys:
    """The keys as the fact tells."""
    return ClientKeys(jwks=event.jwks)
