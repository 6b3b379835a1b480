"""Proof Key for Code Exchange (RFC 7636): only S256, and a challenge and its verifier always come together."""

import base64
import hashlib
import hmac
import re

from domain.decision import InvalidRequest, Refusal

METHODS = ("S256",)

CHALLENGE_LENGTH = 43
VERIFIER_MAXIMUM = 128

_CHALLENGE = re.compile(rf"[A-Za-z0-9_-]{{{CHALLENGE_LENGTH}}}")
_VERIFIER = re.compile(rf"[A-Za-z0-9._~-]{{43,{VERIFIER_MAXIMUM}}}")

MATCHES_NOTHING = ""
"""What a malformed verifier transforms to: no challenge is empty."""


def requested(challenge: str | None, method: str | None, *, required: bool) -> Refusal | None:
    """Judges the two parameters of an authorization request (RFC 7636 §4.3, §4.4.1); None when nothing is wrong."""
    if challenge is None:
        if method is not None:
            detail = "code_challenge_method is given without code_challenge"
            return Refusal(InvalidRequest.MALFORMED, detail, "code_challenge")
        if required:
            return Refusal(InvalidRequest.PKCE_REQUIRED, "code_challenge is required", "code_challenge")
        return None
    # Without a method the RFC assumes `plain`, which protects nobody and is refused like every method but S256.
    if method not in METHODS:
        return Refusal(InvalidRequest.PKCE_METHOD, "code_challenge_method must be S256", "code_challenge_method")
    if _CHALLENGE.fullmatch(challenge) is None:
        detail = "code_challenge must be 43 characters of base64url"
        return Refusal(InvalidRequest.MALFORMED, detail, "code_challenge")
    return None


def transform(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2); of a malformed one (§4.1), a text that matches nothing."""
    if _VERIFIER.fullmatch(verifier) is None:
        return MATCHES_NOTHING
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def proven(challenge: str | None, transformed: str | None) -> bool:
    """Whether the presented verifier, already transformed, fits the code's challenge (RFC 7636 §4.6).

    A verifier for a code without a challenge fails too: someone stripped the challenge on the way (RFC 9700 §4.8.2).
    """
    if challenge is None or transformed is None:
        return challenge is None and transformed is None
    return hmac.compare_digest(challenge, transformed)
