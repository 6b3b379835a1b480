"""PKCE: the RFC's own example, and everything that is not S256."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import InvalidRequest
from domain.rules import pkce

# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_rfcs_example():
    assert pkce.transform(VERIFIER) == CHALLENGE
    assert pkce.proven(CHALLENGE, pkce.transform(VERIFIER))


@pytest.mark.parametrize(
    ("challenge", "method", "required", "expected"),
    [
        (CHALLENGE, "S256", True, None),
        (CHALLENGE, "S256", False, None),
        (None, None, False, None),
        (None, None, True, InvalidRequest.PKCE_REQUIRED),
        (None, "S256", False, InvalidRequest.MALFORMED),
        (CHALLENGE, None, False, InvalidRequest.PKCE_METHOD),
        (CHALLENGE, "plain", False, InvalidRequest.PKCE_METHOD),
        (CHALLENGE, "s256", True, InvalidRequest.PKCE_METHOD),
        (CHALLENGE + "=", "S256", True, InvalidRequest.MALFORMED),
        (CHALLENGE[:-1], "S256", True, InvalidRequest.MALFORMED),
        (CHALLENGE[:-1] + "\n", "S256", True, InvalidRequest.MALFORMED),
        ("", "S256", False, InvalidRequest.MALFORMED),
    ],
)
def test_requested(challenge, method, required, expected):
    refusal = pkce.requested(challenge, method, required=required)
    assert (None if refusal is None else refusal.reason) is expected


@pytest.mark.parametrize("verifier", ["", "v" * 42, "v" * 129, "v" * 42 + "ö", "v" * 42 + "\n", "v" * 43 + " "])
def test_a_malformed_verifier_proves_nothing(verifier):
    assert not pkce.proven(pkce.transform(verifier), pkce.transform(VERIFIER))
    assert not pkce.proven(CHALLENGE, pkce.transform(verifier))
    assert not pkce.proven(None, pkce.transform(verifier))


def test_challenge_and_verifier_come_together():
    assert pkce.proven(None, None)
    assert not pkce.proven(None, CHALLENGE)
    assert not pkce.proven(CHALLENGE, None)


@given(*[st.text(alphabet="abcXYZ019-._~", min_size=43, max_size=128)] * 2)
def test_only_the_verifier_itself_fits(first, second):
    assert pkce.proven(pkce.transform(first), pkce.transform(second)) == (first == second)
