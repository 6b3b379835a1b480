"""What passkeys sign (Web Authentication Level 3): the options for a browser, and what came back verified.

Challenges and who may use which passkey are others' matter.
"""

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_client_data_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

TIMEOUT = 300_000
"""Milliseconds that a browser gives a person."""


class NotVerified(Exception):
    """What came from a browser is no answer of a passkey to the challenge, whatever it is."""


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that was just made; id and public key (COSE) in base64url."""

    credential_id: str
    public_key: str
    sign_count: int
    synced: bool


@dataclass(frozen=True, slots=True)
class Assertion:
    """That a passkey signed. `verified` says that its authenticator made sure of the person, and not of presence
    alone."""

    sign_count: int
    verified: bool
    synced: bool


@lru_cache(maxsize=64)
def relying_party(configured: str, host: str, scheme: str) -> str | None:
    """The RP ID (§5.1.3, §5.1.4.1): what is configured or the host, None where browsers allow no passkeys: on an IP
    address, and without TLS but for localhost."""
    if _is_address(host) or (scheme != "https" and host != "localhost" and not host.endswith(".localhost")):
        return None
    return configured or host


def covers(rp_id: str, host: str) -> bool:
    """Whether a host may use passkeys of the relying party by itself (HTML §7.3.2, registrable domain suffix)."""
    return host == rp_id or host.endswith(f".{rp_id}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def registration_options(
    rp_id: str, *, handle: str, name: str, challenge: bytes, existing: Sequence[str]
) -> dict[str, Any]:
    """What `navigator.credentials.create` is asked for (§5.4): a passkey that is found without a name."""
    options = webauthn.generate_registration_options(
        rp_id=rp_id,
        rp_name="Grantlog",
        user_id=handle.encode(),
        user_name=name,
        challenge=challenge,
        timeout=TIMEOUT,
        exclude_credentials=[_descriptor(each) for each in existing],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            require_resident_key=True,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
    )
    told: dict[str, Any] = json.loads(webauthn.options_to_json(options))
    return told


def authentication_options(rp_id: str, *, challenge: bytes, allowed: Sequence[str], alone: bool) -> dict[str, Any]:
    """What `navigator.credentials.get` is asked for (§5.5). `alone` where no password came before."""
    wanted = UserVerificationRequirement.REQUIRED if alone else UserVerificationRequirement.PREFERRED
    options = webauthn.generate_authentication_options(
        rp_id=rp_id,
        challenge=challenge,
        timeout=TIMEOUT,
        allow_credentials=[_descriptor(each) for each in allowed],
        user_verification=wanted,
    )
    told: dict[str, Any] = json.loads(webauthn.options_to_json(options))
    return told


def _descriptor(credential_id: str) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(id=base64url_to_bytes(credential_id))


def answered_challenge(credential: Any) -> bytes:
    """The challenge that an answer says it is to, which nobody has verified yet. Raises `NotVerified`."""
    try:
        octets = base64url_to_bytes(credential["response"]["clientDataJSON"])
        challenge = parse_client_data_json(octets).challenge
    except Exception as problem:
        raise NotVerified from problem
    return challenge


def named(credential: Any) -> tuple[str, str | None]:
    """The id of the passkey that an answer is of, and whose it says it is. Raises `NotVerified`."""
    try:
        credential_id = bytes_to_base64url(base64url_to_bytes(credential["id"]))
        handle = credential["response"].get("userHandle")
        return credential_id, None if not handle else base64url_to_bytes(handle).decode("ascii")
    except Exception as problem:
        raise NotVerified from problem


def verify_registration(credential: Any, *, challenge: bytes, rp_id: str, origins: Sequence[str]) -> NewPasskey:
    """The passkey that a browser made (§7.1). Raises `NotVerified`."""
    try:
        found = webauthn.verify_registration_response(
            credential=_object(credential),
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=list(origins),
        )
    except Exception as problem:
        # The library has a class for each of its own findings, and Python's for what it did not expect.
        raise NotVerified from problem
    return NewPasskey(
        bytes_to_base64url(found.credential_id),
        bytes_to_base64url(found.credential_public_key),
        found.sign_count,
        _is_synced(found.credential_device_type),
    )


def verify_assertion(
    credential: Any, *, challenge: bytes, rp_id: str, origins: Sequence[str], public_key: str
) -> Assertion:
    """That a passkey with this public key signed the challenge (§7.2). Whether it counts as it should is for others to
    decide. Raises `NotVerified`."""
    try:
        found = webauthn.verify_authentication_response(
            credential=_object(credential),
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=list(origins),
            credential_public_key=base64url_to_bytes(public_key),
            credential_current_sign_count=0,
        )
    except Exception as problem:
        raise NotVerified from problem
    return Assertion(found.new_sign_count, found.user_verified, _is_synced(found.credential_device_type))


def _is_synced(device: CredentialDeviceType) -> bool:
    """Whether its maker may back the key up and have it on other devices (§6.1.3)."""
    return device is CredentialDeviceType.MULTI_DEVICE


def _object(credential: Any) -> dict[str, Any]:
    if not isinstance(credential, dict):
        raise NotVerified
    return credential
