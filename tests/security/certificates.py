"""Certificates that tests make: of authorities, of clients they vouch for, and of such that vouch for themselves."""

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from joserfc.jwk import ECKey

AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""When the tests' clocks begin."""

DAY = datetime.timedelta(days=1)


def name(common: str) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
        x509.NameAttribute(NameOID.COMMON_NAME, common),
    ]
    return x509.Name(attributes)


def jwk(key: ec.EllipticCurvePrivateKey) -> ECKey:
    """The public half, as a client registers it."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return ECKey.import_key(pem)


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(AT - DAY)
        .not_valid_after(AT + 300 * DAY)
    )


def signed_by_itself(subject: str, curve: ec.EllipticCurve) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate that nobody vouches for, with a key on this curve."""
    key = ec.generate_private_key(curve)
    return _builder(subject, subject, key).sign(key, hashes.SHA256()), key


def self_signed(subject: str) -> tuple[x509.Certificate, ECKey]:
    """A certificate that nobody vouches for, and its key."""
    certificate, key = signed_by_itself(subject, ec.SECP256R1())
    return certificate, jwk(key)


class Authority:
    """Whoever vouches for clients."""

    def __init__(self, common: str) -> None:
        self._name = common
        self._key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = (
            _builder(common, common, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        subject: str,
        *,
        names: Any = (),
        usage: Any = ExtendedKeyUsageOID.CLIENT_AUTH,
        raw_names: bytes = b"",
        raw_usage: bytes = b"",
    ) -> tuple[x509.Certificate, ECKey]:
        """A client's certificate, with these alternative names and this usage, read or as octets, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if raw_names:
            octets = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, raw_names)
            builder = builder.add_extension(octets, critical=False)
        if raw_usage:
            octets = x509.UnrecognizedExtension(ExtensionOID.EXTENDED_KEY_USAGE, raw_usage)
            return builder.add_extension(octets, critical=False).sign(self._key, hashes.SHA256()), jwk(key)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self._key, hashes.SHA256()), jwk(key)
