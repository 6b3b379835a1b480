"""HKDF with SHA-256 (RFC 5869): one strong key makes many, none of which tells anything about the others."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def hkdf_sha256(key: bytes, *, salt: bytes | None, info: bytes, length: int = 32) -> bytes:
    """Extract and expand. `info` keeps purposes apart (RFC 5869 §3.2); no salt means a salt of zeros (§2.2)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)
