"""What an assertion must say by which a client authenticates, or which is a grant (RFC 7523 §3)."""

from typing import Any

import pytest

from domain.decision import InvalidClient
from domain.event import SECOND
from domain.rules import bearer_assertion
from domain.rules.client_assertion import JTI_MAXIMUM, LIFETIME_MAXIMUM, SKEW, judge
from tests.domain.history import NOW

AT = NOW // SECOND
ISSUER, ENDPOINT = "https://id.example.test", "https://id.example.test/oauth/token"
SAID: dict[str, Any] = {"iss": "c1", "sub": "c1", "jti": "one", "aud": ISSUER, "exp": AT + 60}
WRONG, AUDIENCE = InvalidClient.ASSERTION_CLAIMS, InvalidClient.ASSERTION_AUDIENCE
EARLY, EXPIRED = InvalidClient.ASSERTION_TOO_EARLY, InvalidClient.ASSERTION_EXPIRED


def said(**claims: Any) -> dict[str, Any]:
    return {name: value for name, value in (SAID | claims).items() if value is not None}


def judged(single: bool = False, **claims: Any) -> Any:
    return judge(said(**claims), client_id="c1", audiences=(ISSUER, ENDPOINT), now=NOW, single=single)


def granted(**claims: Any) -> Any:
    return bearer_assertion.judge(said(**claims), audiences=(ISSUER, ENDPOINT), now=NOW)


TIMES = [
    ({"exp": None}, WRONG),
    ({"exp": "soon"}, WRONG),
    ({"exp": True}, WRONG),
    ({"exp": float("nan")}, WRONG),
    ({"exp": -1}, WRONG),
    ({"exp": 253_402_300_800}, WRONG),
    ({"iat": "now"}, WRONG),
    ({"nbf": []}, WRONG),
    ({"exp": AT - SKEW}, EXPIRED),
    ({"exp": AT + LIFETIME_MAXIMUM + SKEW + 1}, WRONG),
    ({"nbf": AT + SKEW + 1}, EARLY),
    ({"iat": AT + SKEW + 1}, EARLY),
]
IN_TIME = [
    {"exp": AT - SKEW + 1},
    {"exp": AT + LIFETIME_MAXIMUM + SKEW},
    {"exp": AT + 60.5},
    {"nbf": AT + SKEW},
    {"iat": AT + SKEW},
    {"iat": 0},
]


def test_it_is_remembered_for_as_long_as_it_counts() -> None:
    assert judged() == granted() == (AT + 60 + SKEW + 1) * SECOND


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "c2"}, WRONG),
        ({"sub": "c2"}, WRONG),
        ({"iss": None}, WRONG),
        ({"sub": None}, WRONG),
        ({"jti": None}, WRONG),
        ({"jti": ""}, WRONG),
        ({"jti": 7}, WRONG),
        ({"jti": "x" * (JTI_MAXIMUM + 1)}, WRONG),
        ({"aud": None}, AUDIENCE),
        ({"aud": "https://else.example.test"}, AUDIENCE),
        ({"aud": []}, AUDIENCE),
        ({"aud": [ISSUER, "https://else.example.test"]}, AUDIENCE),
        ({"aud": [ISSUER, ENDPOINT]}, AUDIENCE),
        ({"aud": {ISSUER: 1}}, AUDIENCE),
        ({"aud": [ISSUER], "single": True}, AUDIENCE),
        *TIMES,
    ],
)
def test_what_proves_no_client(changes: Any, reason: InvalidClient) -> None:
    assert judged(**changes) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ENDPOINT},
        {"aud": [ENDPOINT]},
        {"aud": ENDPOINT, "single": True},
        {"jti": "x"},
        {"jti": "x" * JTI_MAXIMUM},
        *IN_TIME,
    ],
)
def test_what_proves_one(changes: Any) -> None:
    assert isinstance(judged(**changes), int)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": "nu\0ll"},
        {"sub": 7},
        {"sub": "x" * (bearer_assertion.SUBJECT_MAXIMUM + 1)},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * (JTI_MAXIMUM + 1)},
        {"aud": "https://else.example.test"},
        {"aud": [ISSUER, ENDPOINT]},
        *(changes for changes, _ in TIMES),
    ],
)
def test_what_is_no_grant(changes: Any) -> None:
    assert granted(**changes) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "x"},
        {"sub": "x" * bearer_assertion.SUBJECT_MAXIMUM},
        {"jti": "x"},
        {"jti": "x" * JTI_MAXIMUM},
        {"aud": [ENDPOINT]},
        *IN_TIME,
    ],
)
def test_what_is_one(changes: Any) -> None:
    assert isinstance(granted(**changes), int)
