"""What an ID token of another provider must say."""

from typing import Any

import pytest

from domain.event import SECOND
from domain.rules.client_assertion import SKEW
from domain.rules.upstream_id_token import judge

AT = 1_700_000_000
TOKEN = {"iss": "https://corp.example", "aud": "grantlog", "sub": "8c1f", "nonce": "n", "iat": AT, "exp": AT + 60}


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({}, True),
        ({"auth_time": AT - SKEW}, True),
        ({"auth_time": AT - SKEW - 1}, False),
        ({"auth_time": "now"}, False),
    ],
)
def test_who_is_to_sign_in_anew_has_not_done_so_before(changes: dict[str, object], anew: bool) -> None:
    told: dict[str, Any] = {"issuer": "https://corp.example", "client_id": "grantlog", "nonce": "n"}
    assert judge(TOKEN | changes, **told, now=AT * SECOND) == "8c1f"
    assert (judge(TOKEN | changes, **told, now=AT * SECOND, since=AT * SECOND) == "8c1f") is anew
