"""A client's keys: the fact that they were registered, and whether one may still prove the client by them.

Their facts stand in the client's stream. Unlike a secret they are no secret of the server's, so a change states all of
them anew.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from domain.event import Event, Recorded, sealed
from domain.rules import public_key
from domain.rules.client_metadata import (
    SECRET_METHODS,
    CertificateMember,
    CertificateName,
    ClientKeys,
    ClientMetadata,
    PublicKey,
)


class KeysRegistered(Event, frozen=True, kw_only=True):
    """The client has these public keys, or those at this address (RFC 7591 §2), or this name in a certificate (RFC 8705
    §2.1), and no others. Tokens that it got by former ones stay good.

    `certificate_member` says which name of the certificate it is, `certificate_name` the name: it may be somebody's. A
    `kid` names a key, and stands in clear in each assertion that the client signs and at the address of its keys.
    """

    type = "client.keys_registered"
    personal = ("certificate_name",)

    jwks: tuple[PublicKey, ...] = ()
    jwks_uri: str | None = None
    certificate: CertificateName | None = None
    certificate_member: CertificateMember | None = None
    certificate_name: str | None = None


class KeyRevoked(Event, frozen=True, kw_only=True):
    """The client can never again prove itself by this key or certificate, wherever it is published: it leaked. It is
    named by its `thumbprint` (RFC 7638, RFC 8705 §3.1)."""

    type = "client.key_revoked"
    in_doubt = True

    thumbprint: str


EVENTS: tuple[type[Event], ...] = (KeysRegistered, KeyRevoked)


class KeyChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change about a client's keys; what is not named stays. Of `jwks` and `jwks_uri` one takes the
    other's place."""

    jwks: tuple[PublicKey, ...] | UnsetType = UNSET
    jwks_uri: str | None | UnsetType = UNSET
    certificate: CertificateName | None | UnsetType = UNSET


def changed(keys: ClientKeys, changes: KeyChanges) -> ClientKeys:
    """The keys after the changes."""
    named = {field: value for field in changes.__struct_fields__ if (value := getattr(changes, field)) is not UNSET}
    if named.get("jwks") and "jwks_uri" not in named:
        named["jwks_uri"] = None
    if named.get("jwks_uri") and "jwks" not in named:
        named["jwks"] = ()
    changed_keys: ClientKeys = msgspec.structs.replace(keys, **named)
    return changed_keys


def has_secret(client: ClientMetadata) -> bool:
    """Whether the client authenticates by a secret."""
    return client.token_endpoint_auth_method in SECRET_METHODS


def still_proves(client: ClientMetadata, key_id: str) -> bool:
    """Whether what has this thumbprint proves the client; checks under the lock what was checked before it.

    What is at an address, or in a certificate, is as it was a moment ago as long as the client still refers to it.
    """
    match client.token_endpoint_auth_method:
        case "private_key_jwt" | "self_signed_tls_client_auth":
            return client.keys.jwks_uri is not None or public_key.of_thumbprint(client.keys, key_id) is not None
        case "tls_client_auth":
            return client.keys.certificate is not None
    return False


def registered(keys: ClientKeys) -> KeysRegistered:
    """The fact that a client has these keys."""
    named = keys.certificate
    if named is None:
        return KeysRegistered(jwks=keys.jwks, jwks_uri=keys.jwks_uri)
    if not isinstance(named.value, str):
        raise ValueError("what is sealed is opened before it is told anew")
    return KeysRegistered(
        jwks=keys.jwks, jwks_uri=keys.jwks_uri, certificate_member=named.member, certificate_name=named.value
    )


def fold(revoked: frozenset[str], recorded: Recorded) -> dict[str, Any]:
    """What of a client's state is another one after a fact about its keys; `revoked` are those that leaked before."""
    event = recorded.event
    match event:
        case KeysRegistered():
            return {"keys": keys_of(recorded)}
        case KeyRevoked():
            return {"revoked_keys": revoked | {event.thumbprint}}
        case _:
            raise AssertionError(f"{event.type} is no event of a client")


def keys_of(recorded: Recorded) -> ClientKeys:
    """The keys as the fact tells. Of a certificate the name is sealed, but in facts of former times."""
    event = recorded.event
    name, member = sealed(recorded, "certificate_name"), event.certificate_member
    named = event.certificate if name is None or member is None else CertificateName(member, name)
    return ClientKeys(event.jwks, event.jwks_uri, named)
