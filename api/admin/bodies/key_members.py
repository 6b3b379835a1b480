"""What bodies say of the keys and certificates of clients: members with their limits, how they are read and shown."""

from typing import Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.http.errors import InvalidRequest
from domain.keys.client_keys import KeyChanges
from domain.rules import client_metadata, public_key
from security import client_certificates

AuthSigningAlgorithm = Annotated[
    client_metadata.SigningAlgorithm,
    Meta(description="The one algorithm that its assertions may be signed with; null for any (RFC 7591 §2)."),
]


CERTIFICATE_MEMBERS: tuple[client_metadata.CertificateMember, ...] = get_args(client_metadata.CertificateMember)
"""How a body names what a certificate names a client by."""

JwksUri = Annotated[
    str,
    Meta(max_length=public_key.URI_MAXIMUM, description="Where its keys are, instead of `jwks` (RFC 7591 §2)."),
]
InCertificate = Annotated[
    str,
    Meta(
        max_length=client_certificates.VALUE_MAXIMUM,
        description="For `tls_client_auth`: the name in its certificate, by one of the five members (RFC 8705 §2.1.2).",
    ),
]


class KeySet(msgspec.Struct, frozen=True):
    """Public keys of a client (RFC 7517 §5). Those that sign nothing here are left out."""

    keys: Annotated[
        list[dict[str, Any]],
        Meta(max_length=public_key.KEYS_MAXIMUM, description="JWKs: RSA from 2,048 bits, P-256 and Ed25519."),
    ]


def keys_of(body: Any) -> KeyChanges:
    """What a body names of a client's keys, and of the name in its certificate. Raises 400."""
    jwks: KeySet | None | UnsetType = body.jwks
    given: tuple[client_metadata.PublicKey, ...] | UnsetType = () if jwks is None else UNSET
    if isinstance(jwks, KeySet):
        try:
            given = public_key.read(jwks.keys)
        except public_key.NotTaken as problem:
            raise InvalidRequest.field("jwks", str(problem)) from None
    return KeyChanges(jwks=given, jwks_uri=body.jwks_uri, certificate=_certificate_of(body))


def _certificate_of(body: Any) -> client_metadata.CertificateName | None | UnsetType:
    members = {member: getattr(body, member) for member in CERTIFICATE_MEMBERS}
    named = {member: value for member, value in members.items() if value not in (None, UNSET)}
    if len(named) > 1:
        raise InvalidRequest.field(min(named), "must stand alone: a certificate is the client's by one name (RFC 8705)")
    for member, value in named.items():
        if problem := client_certificates.name_problem(member, value):
            raise InvalidRequest.field(member, problem)
        return client_metadata.CertificateName(member, value)
    return None if None in members.values() else UNSET


def shown_keys(keys: client_metadata.ClientKeys) -> dict[str, Any]:
    """The members as a client is answered."""
    found: dict[str, Any] = dict.fromkeys(("jwks", *CERTIFICATE_MEMBERS))
    if keys.jwks:
        found["jwks"] = KeySet([{**msgspec.to_builtins(key), "use": "sig"} for key in keys.jwks])
    if keys.certificate is not None:
        found[keys.certificate.member] = keys.certificate.value
    return found | {"jwks_uri": keys.jwks_uri}
