"""base64url without padding (RFC 4648 §5), in C alone: around that the standard library has three functions more."""

import binascii

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/...")
"""What belongs to base64 alone becomes what belongs to neither."""


def encode(octets: bytes) -> str:
    """The octets as text."""
    return binascii.b2a_base64(octets, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """What the text stands for. Raises ValueError for what is no base64url."""
    octets = text.encode("ascii").translate(_FROM_URL)
    return binascii.a2b_base64(octets + b"=" * (-len(octets) % 4), strict_mode=True)
