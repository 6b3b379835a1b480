"""User codes (RFC 8628 §6.1): what a person types to say which device they mean.

They are short, so that their plain digest could be tried out: at rest there is a keyed one.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode

from security.keyring import Keyring

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""Consonants that are not taken for one another, and make no words."""

LENGTH = 8
"""Letters: 34 bits, which nobody guesses in ten minutes at ten guesses a minute."""


def draw() -> str:
    """A new one, without its hyphen."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown(code: str) -> str:
    """As people read and type it."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def typed(text: str) -> str | None:
    """What somebody meant who typed this, in whatever case and with whatever between; None for what is no code."""
    code = "".join(letter for letter in text.upper() if letter.isascii() and letter.isalnum())
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else None


def keyed_digest(keyring: Keyring, code: str) -> bytes:
    """Under which a code is found."""
    return hmac.digest(keyring.derive("device user code"), code.encode("ascii"), "sha256")


def proof(keyring: Keyring, code: str) -> str:
    """That a code was found when somebody typed it, for the pages that follow: none of them is a guess."""
    mac = hmac.digest(keyring.derive("device user code typed"), code.encode("ascii"), "sha256")
    return urlsafe_b64encode(mac[:18]).decode()
