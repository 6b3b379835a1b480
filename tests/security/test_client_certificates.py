"""Certificates of clients: read from a header, held against authorities, looked at for one name."""

import datetime
import ipaddress
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from security import client_certificates
from security.clock import SECOND
from tests.security.certificates import AT, Authority, self_signed, signed_by_itself

NOW = int(AT.timestamp()) * SECOND


def found(certificate: x509.Certificate) -> client_certificates.ClientCertificate:
    given = client_certificates.read(quote(certificate.public_bytes(Encoding.PEM).decode()))
    assert given is not None
    return given


def test_both_forms_are_one_certificate() -> None:
    certificate, key = self_signed("it")
    der = certificate.public_bytes(Encoding.DER)
    binary = client_certificates.read(f":{b64encode(der).decode()}:")
    assert binary is not None
    assert binary.thumbprint == found(certificate).thumbprint
    assert binary.key_thumbprint == key.thumbprint()
    assert "CERTIFICATE" not in repr(binary)


@pytest.mark.parametrize(
    "value", ["", ":", "::", ":AAAA:", ":%:", "x", "-----BEGIN CERTIFICATE-----", "é", "A" * 20_000]
)
def test_what_is_none(value: str) -> None:
    assert client_certificates.read(value) is None


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_a_key_on_a_curve_without_a_name_is_nobodys(curve: ec.EllipticCurve) -> None:
    given = found(signed_by_itself("it", curve)[0])
    assert given.key_thumbprint is None
    assert not client_certificates.is_trusted(given, [Authority("One").certificate], NOW)


@pytest.mark.parametrize("raw_names", ["3004a3023000", "3004a5023000"], ids=["x400Address", "ediPartyName"])
def test_names_of_a_kind_that_nobody_reads(raw_names: str) -> None:
    authority = Authority("One")
    mine = found(authority.issue("it", raw_names=bytes.fromhex(raw_names))[0])
    assert not client_certificates.is_trusted(mine, [authority.certificate], NOW)
    assert not client_certificates.is_named(mine, "tls_client_auth_san_dns", "it.example")


def test_a_version_that_there_is_not() -> None:
    der = (
        self_signed("it")[0]
        .public_bytes(Encoding.DER)
        .replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"))
    )
    assert client_certificates.read(f":{b64encode(der).decode()}:") is None


def test_a_chain_leads_to_an_authority() -> None:
    authority, other = Authority("One"), Authority("Other")
    mine = found(authority.issue("it")[0])
    assert client_certificates.is_trusted(mine, [authority.certificate], NOW)
    assert client_certificates.is_trusted(mine, [other.certificate, authority.certificate], NOW)
    assert not client_certificates.is_trusted(mine, [other.certificate], NOW)
    assert not client_certificates.is_trusted(mine, [], NOW)
    # Of the same name, and another key.
    assert not client_certificates.is_trusted(mine, [Authority("One").certificate], NOW)


def test_only_in_its_time() -> None:
    authority = Authority("One")
    mine = found(authority.issue("it")[0])
    year = 366 * 86_400 * SECOND
    assert not client_certificates.is_trusted(mine, [authority.certificate], NOW - year)
    assert not client_certificates.is_trusted(mine, [authority.certificate], NOW + 3 * year)


def test_only_a_client() -> None:
    authority = Authority("One")
    server = found(authority.issue("it", usage=x509.oid.ExtendedKeyUsageOID.SERVER_AUTH)[0])
    assert not client_certificates.is_trusted(server, [authority.certificate], NOW)
    unspoken = found(authority.issue("it", usage=None)[0])
    assert client_certificates.is_trusted(unspoken, [authority.certificate], NOW)
    assert not client_certificates.is_trusted(found(self_signed("it")[0]), [authority.certificate], NOW)


@pytest.mark.parametrize("raw_usage", ["04", "3003060100", "0500"])
def test_what_cannot_be_read_is_not_trusted(raw_usage: str) -> None:
    authority = Authority("One")
    mine = found(authority.issue("it", raw_usage=bytes.fromhex(raw_usage))[0])
    assert not client_certificates.is_trusted(mine, [authority.certificate], NOW)


NAMES: dict[str, tuple[Any, str, str]] = {
    "tls_client_auth_san_dns": (x509.DNSName("it.example"), "IT.example", "other.example"),
    "tls_client_auth_san_uri": (x509.UniformResourceIdentifier("urn:it"), "urn:it", "urn:IT"),
    "tls_client_auth_san_ip": (x509.IPAddress(ipaddress.ip_address("2001:db8::1")), "2001:DB8:0::1", "2001:db8::2"),
    "tls_client_auth_san_email": (x509.RFC822Name("it@example.test"), "it@example.test", "at@example.test"),
}


@pytest.mark.parametrize("member", NAMES)
def test_it_is_known_by_one_name(member: str) -> None:
    name, right, wrong = NAMES[member]
    mine = found(Authority("One").issue("it", names=[name])[0])
    assert client_certificates.is_named(mine, member, right)
    assert not client_certificates.is_named(mine, member, wrong)
    for other in NAMES:
        if other != member:
            assert not client_certificates.is_named(mine, other, right)
    assert not client_certificates.is_named(found(Authority("One").issue("it")[0]), member, right)


def test_its_subject_is_compared_by_its_parts() -> None:
    mine = found(Authority("One").issue("it")[0])
    member = "tls_client_auth_subject_dn"
    assert client_certificates.is_named(mine, member, "CN=it,O=Example")
    for wrong in ("CN=it", "O=Example,CN=it", "CN=it,O=Example,C=DE", "CN=other,O=Example", "nonsense"):
        assert not client_certificates.is_named(mine, member, wrong)


def test_names_that_can_be_none() -> None:
    assert client_certificates.name_problem("tls_client_auth_subject_dn", "CN=it,O=Example") is None
    assert client_certificates.name_problem("tls_client_auth_san_ip", "192.0.2.1") is None
    for member, value in (
        ("tls_client_auth_subject_dn", "nonsense"),
        ("tls_client_auth_san_ip", "1.2.3"),
        ("tls_client_auth_san_dns", ""),
        ("tls_client_auth_san_dns", "x" * 513),
        ("tls_client_auth_san_dns", "a\nb"),
    ):
        assert client_certificates.name_problem(member, value) is not None


def test_authorities_of_a_file() -> None:
    one, two = Authority("One"), Authority("Two")
    pem = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in (one, two))
    assert client_certificates.authorities(pem) == (one.certificate, two.certificate)
    with pytest.raises(ValueError, match="PEM"):
        client_certificates.authorities(b"nothing")


def test_the_moment_is_the_one_of_the_certificates() -> None:
    assert datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) == AT
