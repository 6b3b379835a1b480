"""What a client is held to that is registered with FAPI 2.0, and what others have of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.rules import security_profile
from tests.domain.story import DASHBOARD, PUBLIC, THIRD_PARTY

KEYED = replace(THIRD_PARTY, token_endpoint_auth_method="private_key_jwt")
HELD = replace(KEYED, profile="fapi2")


@pytest.mark.parametrize(
    ("client", "pushes", "pkce", "keeps"),
    [
        (THIRD_PARTY, False, True, False),
        (replace(THIRD_PARTY, require_pkce=False), False, False, False),
        (replace(THIRD_PARTY, require_pushed_authorization_requests=True), True, True, False),
        (replace(PUBLIC, require_pkce=False), False, True, False),
        (PUBLIC, False, True, False),
        (replace(DASHBOARD, token_endpoint_auth_method="private_key_jwt"), False, True, False),
        (KEYED, False, True, True),
        (HELD, True, True, True),
        (replace(HELD, require_pkce=False), True, True, True),
    ],
)
def test_what_it_has_to_do(client: Any, pushes: bool, pkce: bool, keeps: bool) -> None:
    assert security_profile.pushes(client) is pushes
    assert security_profile.needs_pkce(client) is pkce
    assert security_profile.keeps_refresh_token(client) is keeps


@pytest.mark.parametrize(
    ("client", "jkt", "x5t", "missing"),
    [
        (THIRD_PARTY, None, None, False),
        (replace(THIRD_PARTY, dpop_bound_access_tokens=True), None, "x", True),
        (replace(THIRD_PARTY, dpop_bound_access_tokens=True), "j", None, False),
        (replace(THIRD_PARTY, tls_client_certificate_bound_access_tokens=True), "j", None, True),
        (replace(THIRD_PARTY, tls_client_certificate_bound_access_tokens=True), None, "x", False),
        (HELD, None, None, True),
        (HELD, "j", None, False),
        (HELD, None, "x", False),
    ],
)
def test_which_proof_it_lacks(client: Any, jkt: str | None, x5t: str | None, missing: bool) -> None:
    assert (security_profile.missing_proof(client, jkt, x5t) is not None) is missing


def test_with_what_is_signed() -> None:
    assert [security_profile.takes(HELD, each) for each in ("PS256", "ES256", "EdDSA", "RS256")] == [True] * 3 + [False]
    assert security_profile.takes(KEYED, "RS256")
    algorithms = (
        security_profile.response_algorithm,
        security_profile.access_token_algorithm,
        security_profile.introspection_algorithm,
    )
    assert [algorithm(KEYED) for algorithm in algorithms] == ["RS256"] * 3
    assert [algorithm(HELD) for algorithm in algorithms] == ["PS256"] * 3
    named = {"authorization_signed_response_alg": "ES256", "id_token_signed_response_alg": "EdDSA"}
    assert [algorithm(replace(HELD, **named)) for algorithm in algorithms[:2]] == ["ES256", "EdDSA"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, None),
        ({"profile": None, "require_pkce": False}, None),
        ({"type": "public"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"require_pkce": False}, "require_pkce"),
        ({"scope": ("openid",)}, "id_token_signed_response_alg"),
        ({"scope": ("openid",), "id_token_signed_response_alg": "ES256"}, None),
        ({"request_object_signing_alg": "RS256"}, "request_object_signing_alg"),
        ({"request_object_signing_alg": "PS256"}, None),
        ({"userinfo_signed_response_alg": "RS256"}, "userinfo_signed_response_alg"),
        ({"token_endpoint_auth_signing_alg": "RS256"}, "token_endpoint_auth_signing_alg"),
        ({"authorization_signed_response_alg": "RS256"}, "authorization_signed_response_alg"),
    ],
)
def test_what_goes_with_the_profile(changes: Any, field: str | None) -> None:
    outcome = security_profile.registered(replace(HELD, **changes))
    assert (outcome and outcome.refusal and outcome.refusal.field) == field
