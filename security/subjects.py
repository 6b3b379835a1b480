"""The names by which people are known to one sector of clients and to no other (OpenID Connect Core §8.1)."""

import os
from hmac import digest

from security import base64url

KEY_BYTES = 32


def make_subject_key() -> bytes:
    """A new key. With another one everybody would be somebody else to every client."""
    return os.urandom(KEY_BYTES)


def pairwise_subject(key: bytes, sector: str, account_id: str) -> str:
    """The name, 43 characters: HMAC-SHA-256 (RFC 2104), as nobody can compute or undo it without the key."""
    mac = digest(key, f"{sector}\0{account_id}".encode(), "sha256")
    return base64url.encode(mac)
