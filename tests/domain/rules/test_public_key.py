"""A key has one thumbprint, whoever wrote its numbers."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from domain.rules.public_key import NotTaken, read, thumbprint

RSA: Any = RSAKey.generate_key(2_048)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def with_a_zero_octet(number: str) -> str:
    octets = b"\0" + urlsafe_b64decode(number + "=" * (-len(number) % 4))
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def with_stray_bits(number: str) -> str:
    return number[:-1] + LETTERS[LETTERS.index(number[-1]) + 1]


@pytest.mark.parametrize(
    ("key", "member", "otherwise"),
    [
        (RSA, "n", with_a_zero_octet),
        (RSA, "e", with_a_zero_octet),
        (ECKey.generate_key("P-256"), "x", with_stray_bits),
        (ECKey.generate_key("P-256"), "y", with_stray_bits),
        (OKPKey.generate_key("Ed25519"), "x", with_stray_bits),
    ],
)
def test_key_is_the_same_however_it_is_written(key: Any, member: str, otherwise: Any) -> None:
    plain = {name: str(value) for name, value in key.as_dict(private=False).items()}
    (found,) = read([plain | {member: otherwise(plain[member])}])
    assert (found, thumbprint(found)) == (read([plain])[0], key.thumbprint())


@pytest.mark.parametrize("numbers", [{"e": "AAAA"}, {"e": "AQABA"}, {"n": "A" * 400}])
def test_what_is_no_number_of_a_key_is_not_taken(numbers: dict[str, str]) -> None:
    with pytest.raises(NotTaken):
        read([{name: str(value) for name, value in RSA.as_dict(private=False).items()} | numbers])
