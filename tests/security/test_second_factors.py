"""Codes of generators (RFC 6238, appendix B) and recovery codes."""

from base64 import b32encode

import pytest

from security.clock import SECOND
from security.keyring import Keyring
from security.second_factors import (
    draw_recovery_code,
    matching_step,
    new_totp_secret,
    otpauth_uri,
    recovery_digest,
    step_at,
    totp_code,
)

SECRET = b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_codes_are_those_of_the_specification(seconds, code) -> None:
    assert totp_code(SECRET, step_at(seconds * SECOND)) == code
    assert matching_step(SECRET, f" {code[:3]} {code[3:]}", seconds * SECOND) == seconds // 30


def test_a_step_before_and_after_will_do_and_no_other() -> None:
    now = 1234567890 * SECOND
    code, step = totp_code(SECRET, step_at(now)), step_at(now)
    found = [matching_step(SECRET, code, now + away * 30 * SECOND) for away in (-2, -1, 0, 1, 2)]
    assert found == [None, step, step, step, None]


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "１２３４５６", "\ud800", "0" * 10_000])
def test_what_is_no_code_matches_nothing(typed) -> None:
    assert matching_step(SECRET, typed, 59 * SECOND) is None


def test_secrets_and_recovery_codes_are_drawn() -> None:
    assert len({new_totp_secret() for _ in range(50)}) == 50
    assert len(new_totp_secret()) == 32
    assert len({draw_recovery_code() for _ in range(50)}) == 50


def test_recovery_codes_are_found_however_typed() -> None:
    keyring = Keyring({"k": bytes(range(32))})
    code = draw_recovery_code()
    digest = recovery_digest(keyring, "a1", code)
    assert recovery_digest(keyring, "a1", f"  {code.upper().replace('-', ' ')} ") == digest
    assert recovery_digest(keyring, "a2", code) != digest
    assert recovery_digest(keyring, "a1", "\ud800é") != digest


def test_the_address_of_a_generator_is_escaped() -> None:
    uri = otpauth_uri(SECRET, "paul@example.test", "https://id.example.test")
    assert uri.startswith("otpauth://totp/https%3A%2F%2Fid.example.test:paul%40example.test?secret=")
    assert "issuer=https%3A%2F%2Fid.example.test" in uri
