"""OAuth errors: the codes of the RFCs, the characters that they allow, and no cause that helps whoever guesses."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import oauth_errors
from api.oauth_errors import OAuthError, from_refusal
from domain import refusal as reasons
from domain.decision import Refusal

ALLOWED = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*")


def kinds(parent: type[OAuthError] = OAuthError) -> list[type[OAuthError]]:
    return [kind for child in parent.__subclasses__() for kind in [child, *kinds(child)]]


def test_the_codes_are_those_of_the_rfcs():
    assert {kind.code for kind in kinds()} == {
        "access_denied",
        "insufficient_scope",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_target",
        "invalid_token",
        "request_not_supported",
        "request_uri_not_supported",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_response_type",
        "unsupported_token_type",
    }


@given(st.text())
def test_a_description_has_only_the_characters_that_rfc_6749_allows(text):
    body = json.loads(oauth_errors.InvalidRequest(text).answer().body)
    assert ALLOWED.fullmatch(body.get("error_description", ""))


def test_an_error_is_json_that_nobody_stores():
    given_ = oauth_errors.InvalidScope("Unknown.").answer()
    headers = dict(given_.headers)
    assert (given_.status, json.loads(given_.body)) == (
        400,
        {"error": "invalid_scope", "error_description": "Unknown."},
    )
    assert (headers[b"cache-control"], headers[b"pragma"]) == (b"no-store", b"no-cache")
    assert headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("error", "status", "header", "value"),
    [
        (oauth_errors.InvalidClient(), 401, b"www-authenticate", b'Basic realm="grantlog", charset="UTF-8"'),
        (oauth_errors.InvalidToken(), 401, b"www-authenticate", b'Bearer error="invalid_token"'),
        (
            oauth_errors.InsufficientScope("introspect"),
            403,
            b"www-authenticate",
            b'Bearer error="insufficient_scope", scope="introspect"',
        ),
        (oauth_errors.WrongMethod("POST", "OPTIONS"), 405, b"allow", b"OPTIONS, POST"),
        (oauth_errors.Throttled(retry_after=4), 429, b"retry-after", b"4"),
        (oauth_errors.TemporarilyUnavailable(), 503, b"retry-after", b"1"),
    ],
)
def test_statuses_and_their_headers(error, status, header, value):
    assert (error.answer().status, dict(error.answer().headers)[header]) == (status, value)


def test_a_redirect_carries_state_as_it_came_and_iss():
    error = oauth_errors.AccessDenied("No.")
    assert error.parameters(state='a&"ä', iss="https://i") == [
        ("error", "access_denied"),
        ("error_description", "No."),
        ("state", 'a&"ä'),
        ("iss", "https://i"),
    ]
    assert error.parameters() == [("error", "access_denied"), ("error_description", "No.")]


def test_every_list_of_reasons_has_its_error_and_causes_are_not_told():
    for kind in oauth_errors.BY_REASON:
        answers = {from_refusal(Refusal(reason, f"because {reason}")).answer() for reason in kind}
        if kind in (reasons.InvalidClient, reasons.InvalidGrant):
            assert len(answers) == 1
            assert b"because" not in answers.pop().body
