"""What a request object must say (RFC 9101), and what one of a client that is held to FAPI 2.0."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.event import SECOND
from domain.rules.client_assertion import SKEW
from domain.rules.request_object import LIFETIME_MAXIMUM, judge
from tests.domain.history import NOW
from tests.domain.story import THIRD_PARTY

AT = NOW // SECOND
ISSUER = "https://id.example.test"
SAID: dict[str, Any] = {"iss": "third", "aud": ISSUER}
TIMES = {"nbf": AT, "exp": AT + 60}
HELD = replace(THIRD_PARTY, profile="fapi2")


def judged(typ: Any = None, client: Any = THIRD_PARTY, **claims: Any) -> Any:
    said = {name: value for name, value in (SAID | claims).items() if value is not None}
    return judge(typ, said, client=client, client_id="third", issuer=ISSUER, now=NOW)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"typ": "at+jwt"}, "typ"),
        ({"typ": 7}, "typ"),
        ({"iss": None}, "iss"),
        ({"iss": "else"}, "iss"),
        ({"client_id": "else"}, "client_id"),
        ({"aud": None}, "aud"),
        ({"aud": "https://else.example.test"}, "aud"),
        ({"aud": ["https://else.example.test"]}, "aud"),
        ({"sub": "third"}, "sub"),
        ({"request": "x"}, "request"),
        ({"request_uri": "x"}, "request_uri"),
        ({"exp": AT - SKEW}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"nbf": AT + SKEW + 1}, "nbf"),
        ({"nbf": True}, "nbf"),
        ({"iat": AT + SKEW + 1}, "iat"),
    ],
)
def test_each_member_that_is_at_fault_is_named(changes: Any, fault: str) -> None:
    assert judged(**changes) == fault


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"typ": "JWT"},
        {"typ": "application/oauth-authz-req+jwt"},
        {"client_id": "third"},
        {"aud": [ISSUER, "https://else.example.test"]},
        {"sub": "paul"},
        {"exp": AT - SKEW + 1},
        {"nbf": AT + SKEW, "iat": AT + SKEW},
        {"exp": AT + 10 * LIFETIME_MAXIMUM},
        {"client": HELD, **TIMES},
        {"client": HELD, "nbf": AT - LIFETIME_MAXIMUM, "exp": AT},
        {"client": HELD, "nbf": AT, "exp": AT + LIFETIME_MAXIMUM},
    ],
)
def test_what_is_good(changes: Any) -> None:
    assert judged(**changes) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, "nbf"),
        ({"nbf": AT}, "exp"),
        ({"exp": AT + 60}, "nbf"),
        ({"nbf": AT - LIFETIME_MAXIMUM - 1, "exp": AT + 60}, "nbf"),
        ({"nbf": AT, "exp": AT + LIFETIME_MAXIMUM + 1}, "exp"),
    ],
)
def test_one_of_a_client_with_a_profile_is_short(changes: Any, fault: str) -> None:
    assert judged(client=HELD, **changes) == fault
    assert judged(**changes) is None
