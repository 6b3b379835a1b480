"""Client authentication by certificate: `tls_client_auth` and `self_signed_tls_client_auth` (RFC 8705 §2).

For `tls_client_auth` the chain is checked here, and not taken on the proxy's word.
"""

from typing import Any

from api.config.settings import Settings
from api.http.credential_cache import Caller, caller
from api.oauth.client_key_sets import KeysAway, keys_of
from api.services import Services
from domain import client
from domain.decision import InvalidClient
from domain.rules import public_key
from domain.rules.client_metadata import AuthMethod
from eventstore import present
from security import client_certificates
from security.client_certificates import ClientCertificate

METHODS: tuple[AuthMethod, ...] = ("tls_client_auth", "self_signed_tls_client_auth")


def served(settings: Settings) -> list[AuthMethod]:
    """The methods that can be used here."""
    if not settings.client_certificate_header:
        return []
    return list(METHODS) if settings.client_ca_file is not None else ["self_signed_tls_client_auth"]


async def authenticated(services: Services, scope: Any, state: client.State) -> Caller | InvalidClient:
    """The client by the certificate that its connection came with, or why it is not authenticated."""
    if refused := client.barred(state):
        return refused
    found = services.certificates.of(scope)
    if found is None:
        return InvalidClient.CERTIFICATE_MISSING
    names = [each for each in (found.thumbprint, found.key_thumbprint) if each is not None]
    if await services.ledger.look(present.leaked_keys, names):
        return InvalidClient.CERTIFICATE_UNTRUSTED
    if state.token_endpoint_auth_method == "tls_client_auth":  # noqa: S105 - a method by its name
        return await _by_authority(services, state, found)
    try:
        keys = await keys_of(services, scope, state)
        if not _has(keys, found) and state.keys.jwks_uri is not None:
            keys = await keys_of(services, scope, state, anew=True)
    except KeysAway:
        return InvalidClient.KEYS_UNAVAILABLE
    good = found.thumbprint not in state.revoked_keys and _has(keys, found)
    return caller(state, None, found.key_thumbprint) if good else InvalidClient.CERTIFICATE_UNTRUSTED


async def _by_authority(services: Services, state: client.State, found: ClientCertificate) -> Caller | InvalidClient:
    if not state.revoked_keys.isdisjoint((found.thumbprint, found.key_thumbprint)):
        return InvalidClient.CERTIFICATE_UNTRUSTED
    trusted = services.certificates.authorities()
    if not client_certificates.is_trusted(found, trusted, services.ledger.clock.now()):
        return InvalidClient.CERTIFICATE_UNTRUSTED
    ledger = services.ledger
    name = (await ledger.read(ledger.privacy.open_keys, state.keys)).certificate
    if name is None or not client_certificates.is_named(found, name.member, str(name.value)):
        return InvalidClient.CERTIFICATE_NAME
    return caller(state, None, found.thumbprint)


def _has(keys: Any, found: ClientCertificate) -> bool:
    return found.key_thumbprint is not None and any(public_key.thumbprint(key) == found.key_thumbprint for key in keys)
