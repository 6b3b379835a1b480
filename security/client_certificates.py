"""Certificates by which clients authenticate (RFC 8705), as proxies hand them on: read, held against authorities, and
looked at for the one name that a client registered. That the client has the private key was the proxy's to see.
"""

import ipaddress
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from security.clock import SECOND, Moment

LONGEST = 16_384
"""Characters of a header's value that are looked at."""

VALUE_MAXIMUM = 512
"""Characters of a name."""

_KINDS = ("EC", "RSA", "OKP")


class ClientCertificate(NamedTuple):
    """A certificate, with its thumbprint (RFC 8705 §3.1) and that of its key (RFC 7638), None for a key of a kind that
    no client registers."""

    certificate: x509.Certificate
    thumbprint: str
    key_thumbprint: str | None

    def __repr__(self) -> str:
        return f"ClientCertificate({self.thumbprint})"


@lru_cache(maxsize=1_024)
def read(value: str) -> ClientCertificate | None:
    """The certificate in a header's value: URL-encoded PEM, or an RFC 9440 byte sequence; None for anything else."""
    if len(value) > LONGEST:
        return None
    try:
        if value.startswith(":"):
            if not value.endswith(":") or len(value) < 3:
                return None
            found = x509.load_der_x509_certificate(b64decode(value[1:-1], validate=True))
        else:
            found = x509.load_pem_x509_certificate(unquote(value).encode("ascii"))
        octets = found.fingerprint(hashes.SHA256())
        return ClientCertificate(found, urlsafe_b64encode(octets).rstrip(b"=").decode(), _key_thumbprint(found))
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None


def _key_thumbprint(certificate: x509.Certificate) -> str | None:
    try:
        pem = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for kind in _KINDS:
            try:
                return str(import_key(pem, kind).thumbprint())  # type: ignore[call-overload]
            except (JoseError, ValueError, TypeError, KeyError):
                # A curve that has no name in a JWK is a KeyError.
                continue
    except (ValueError, UnsupportedAlgorithm):
        pass
    return None


def authorities(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a file. Raises ValueError."""
    return tuple(x509.load_pem_x509_certificates(pem))


def is_trusted(found: ClientCertificate, trusted: Sequence[x509.Certificate], now: Moment) -> bool:
    """Whether a chain leads from the certificate to one of these authorities, all of it in time (RFC 5280 §6)."""
    if not trusted:
        return False
    at = datetime.fromtimestamp(now // SECOND, UTC).replace(tzinfo=None)
    anything = ExtensionPolicy.permit_all()
    builder = PolicyBuilder().store(Store(list(trusted))).time(at)
    builder = builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=anything)
    try:
        builder.build_client_verifier().verify(found.certificate, [])
    except (VerificationError, ValueError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType):
        return False
    return _may_authenticate(found.certificate)


def _may_authenticate(certificate: x509.Certificate) -> bool:
    """Whether the certificate is for clients, or does not say for what (RFC 5280 §4.2.1.12), and is no authority's. One
    that says something which cannot be read may say anything."""
    if not _readable(certificate):
        return False
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is not None and basic.ca:
        return False
    allowed = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usage is None or any(each in allowed for each in usage)


def _readable(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions is not None
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return False


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return None


def name_problem(member: str, value: str) -> str | None:
    """Why this can be no name in a certificate, as `member` of RFC 8705 §2.1.2: a phrase that follows it, or None."""
    if not 0 < len(value) <= VALUE_MAXIMUM or not value.isprintable():
        return f"must have 1 to {VALUE_MAXIMUM} characters"
    if member.endswith("subject_dn") and _distinguished(value) is None:
        return "must be a distinguished name (RFC 4514)"
    if member.endswith("san_ip") and _address(value) is None:
        return "must be an IP address"
    return None


def is_named(found: ClientCertificate, member: str, value: str) -> bool:
    """Whether the certificate has exactly this name (RFC 8705 §2.1.2)."""
    if member.endswith("subject_dn"):
        wanted = _distinguished(value)
        return wanted is not None and found.certificate.subject == wanted
    names = _extension(found.certificate, x509.SubjectAlternativeName)
    if names is None:
        return False
    return any(_same(member, each, value) for each in _names(names, member))


def _names(names: Any, member: str) -> Iterable[Any]:
    kinds: dict[str, Any] = {
        "dns": x509.DNSName,
        "uri": x509.UniformResourceIdentifier,
        "ip": x509.IPAddress,
        "email": x509.RFC822Name,
    }
    found: list[Any] = names.get_values_for_type(kinds[member.rpartition("_")[2]])
    return found


def _same(member: str, name: Any, value: str) -> bool:
    if member.endswith("san_ip"):
        return bool(name == _address(value))
    if member.endswith("san_dns"):
        return bool(str(name).lower() == value.lower())
    return bool(name == value)


@lru_cache(maxsize=1_024)
def _distinguished(text: str) -> x509.Name | None:
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError:
        return None


def _address(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
