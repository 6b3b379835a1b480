"""Codes of second factors: those that a generator shows by the clock (TOTP, RFC 6238), and recovery codes.

A generator counts SHA-1, six digits and thirty seconds, which is what every program for it can do.
"""

import hmac
import secrets
from base64 import b32decode, b32encode
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from security.clock import SECOND, Moment
from security.keyring import Keyring

SECRET_BYTES = 20
"""As long as the digest (RFC 4226 §4, requirement 6)."""

DIGITS = 6
STEP_SECONDS = 30
DRIFT = 1
"""Steps before and after the present one whose codes are good too (RFC 6238 §5.2)."""

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _LETTERS = 4, 4
RECOVERY_LENGTH = _GROUPS * _LETTERS
"""Letters: 79 bits, which nobody guesses."""


def new_totp_secret() -> str:
    """The secret of a new generator in base32, as people type it."""
    return b32encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def otpauth_uri(secret: str, account: str, issuer: str) -> str:
    """The address by which programs take a generator over (Key URI Format)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    query = urlencode({"secret": secret, "issuer": issuer, "digits": DIGITS, "period": STEP_SECONDS}, quote_via=quote)
    return f"otpauth://totp/{label}?{query}"


def step_at(now: Moment) -> int:
    """The time step of a moment (RFC 6238 §4.2)."""
    return now // (STEP_SECONDS * SECOND)


def totp_code(secret: str, step: int) -> str:
    """What a generator shows in a time step."""
    return _generator(secret).generate(step).decode("ascii")


def _generator(secret: str) -> HOTP:
    # A TOTP is the HOTP of the step (RFC 6238 §4.2). The library refuses nothing that `new_totp_secret` makes.
    return HOTP(b32decode(secret), DIGITS, SHA1())  # noqa: S303 - HMAC-SHA-1 is what generators have


def matching_step(secret: str, typed: str, now: Moment) -> int | None:
    """The newest time step about now in which the generator shows what was typed; None for none. Every step is compared
    in constant time."""
    code = "".join(typed.split())
    if len(code) != DIGITS or not code.isascii() or not code.isdigit():
        return None
    present, generator, octets = step_at(now), _generator(secret), code.encode("ascii")
    # Who shows a right code knows of which step it is, so nothing is told by leaving out the older ones.
    newest_first = range(present + DRIFT, present - DRIFT - 1, -1)
    return next((step for step in newest_first if hmac.compare_digest(generator.generate(step), octets)), None)


def draw_recovery_code() -> str:
    """A new one, as it is shown."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS)) for _ in range(_GROUPS))


def recovery_digest(keyring: Keyring, account_id: str, typed: str) -> str:
    """The keyed digest, in hex, of what somebody typed for a recovery code, in whatever case and spacing."""
    code = "".join(letter for letter in typed.lower()[:64] if letter.isascii() and letter.isalnum())
    key = keyring.derive("recovery code")
    return hmac.digest(key, f"{account_id}\0{code}".encode(), "sha256").hex()
