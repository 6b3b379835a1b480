"""What a DPoP proof must say (RFC 9449 §4.3), each limit at its very value."""

from typing import Any

import pytest
from joserfc.jwk import ECKey

from domain.event import SECOND
from domain.rules.dpop_proof import JTI_MAXIMUM, TYP, WINDOW, ath, judge, key_of
from domain.rules.public_key import thumbprint
from tests.domain.history import NOW

AT = NOW // SECOND
TARGET = "https://id.example.test/oauth/token"
SAID: dict[str, Any] = {"htm": "POST", "htu": TARGET, "jti": "one", "iat": AT}


def judged(header: Any = None, token: str | None = None, targets: tuple[str, ...] = (TARGET,), **claims: Any) -> Any:
    said = {name: value for name, value in (SAID | claims).items() if value is not None}
    return judge(header or {"typ": TYP}, said, method="POST", targets=targets, token=token, now=NOW)


def test_it_counts_until_it_could_come_no_more() -> None:
    assert judged() == (AT + WINDOW + 1) * SECOND
    assert judged(token="t", ath=ath("t")) == judged()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"header": {"typ": "jwt"}}, "typ"),
        ({"header": {"alg": "ES256"}}, "typ"),
        ({"htm": "GET"}, "htm"),
        ({"htm": "post"}, "htm"),
        ({"htm": None}, "htm"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "x" * (JTI_MAXIMUM + 1)}, "jti"),
        ({"iat": None}, "iat"),
        ({"iat": True}, "iat"),
        ({"iat": "1"}, "iat"),
        ({"iat": AT - WINDOW - 1}, "iat"),
        ({"iat": AT + WINDOW + 1}, "iat"),
        ({"token": "t"}, "ath"),
        ({"token": "t", "ath": ath("u")}, "ath"),
    ],
)
def test_each_member_that_is_at_fault_is_named(changes: Any, fault: str) -> None:
    assert judged(**changes) == fault


@pytest.mark.parametrize(
    "changes", [{"jti": "x"}, {"jti": "x" * JTI_MAXIMUM}, {"iat": AT - WINDOW}, {"iat": AT + WINDOW}]
)
def test_each_limit_is_within(changes: Any) -> None:
    assert isinstance(judged(**changes), int)


@pytest.mark.parametrize(
    ("htu", "good"),
    [
        ("HTTPS://ID.example.test/oauth/token", True),
        ("https://id.example.test:443/oauth/token", True),
        (f"{TARGET}?a=b#c", True),
        ("https://id.example.test:444/oauth/token", False),
        ("http://id.example.test/oauth/token", False),
        ("https://id.example.test/oauth/Token", False),
        ("https://id.example.test/oauth/%74oken", True),
        ("https://id.example.test/%6Fauth/%74%6f%6be%6E", True),
        ("https://id.example.test/oauth/./x/../token", True),
        ("https://id.example.test/../oauth/%2e/token", True),
        ("https://id.example.test/oauth/token/.", False),
        ("https://id.example.test/oauth%2Ftoken", False),
        ("https://id.example.test/oauth//token", False),
        ("https://id.example.test/oauth/%2574oken", False),
        ("https://id.example.test/oauth/%7", False),
        ("https://id.example.test/oauth/token/", False),
        ("https://somebody@id.example.test/oauth/token", False),
        ("https://@id.example.test/oauth/token", False),
        ("https://id.example.test.else.test/oauth/token", False),
        ("https://id.example.test:x/oauth/token", False),
        ("ftp://id.example.test/oauth/token", False),
        ("/oauth/token", False),
        ("", False),
        (7, False),
        (None, False),
    ],
)
def test_its_address_is_compared_as_addresses_are(htu: Any, good: bool) -> None:
    assert (judged(htu=htu) == "htu") is not good


@pytest.mark.parametrize(
    ("htu", "target"),
    [
        ("/people/caf%c3%a9%7Ex", "/people/caf%C3%A9~x"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/b/..", "/a/"),
        ("/a/b/../..", "/"),
        ("/..", "/"),
        ("/.", ""),
        ("/a/.b/..c/d.", "/a/.b/..c/d."),
    ],
)
def test_a_path_is_compared_in_its_normal_form(htu: str, target: str) -> None:
    issuer = "https://id.example.test"
    assert isinstance(judged(htu=issuer + htu, targets=(issuer + target,)), int)
    assert isinstance(judged(htu=issuer + target, targets=(issuer + htu,)), int)
    assert judged(htu=issuer + htu, targets=(f"{issuer}{target}x",)) == "htu"


def test_an_address_may_be_any_of_those_that_lead_here() -> None:
    both = (TARGET, "https://mtls.example.test/oauth/token")
    assert isinstance(judged(htu=both[1], targets=both), int)
    assert judged(htu=both[1]) == "htu"
    assert isinstance(judged(htu="https://id.example.test", targets=("https://id.example.test/",)), int)
    # A target that is none itself lets nothing through that is none.
    assert judged(htu="nowhere", targets=("nowhere",)) == "htu"


def test_its_own_key_is_the_one_that_it_brings() -> None:
    made: Any = ECKey.generate_key("P-256")
    jwk = {name: value for name, value in made.as_dict(private=False).items() if name != "kid"}
    found = key_of({"jwk": jwk})
    assert found is not None
    assert thumbprint(found) == made.thumbprint()
    assert key_of({"jwk": made.as_dict(private=True)}) is None


@pytest.mark.parametrize("jwk", [None, "text", [], {}, {"kty": "EC"}, {"kty": "oct", "k": "AAAA"}])
def test_what_is_no_public_key_is_none(jwk: Any) -> None:
    assert key_of({} if jwk is None else {"jwk": jwk}) is None
