"""The demo application signs people in with OpenID Connect, and believes no id_token but one for its own request."""

import re
import time
from typing import Any
from urllib.parse import parse_qsl, urljoin

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from demo.authorization import Authorization
from demo.third_party import ThirdParty
from tests.demo.test_third_party import ACCESS, CONFIG, ISSUER, AuthorizationServer, Browser

KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
FOREIGN = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
PAUL = {"sub": "paul-1", "name": "Paul Baker", "preferred_username": "paul"}


class OpenIDProvider(AuthorizationServer):
    """Plays a server that knows who people are; `changes` are those of the id_token's claims, `key` signs it."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: dict[str, Any] = {}
        self.key: RSAKey | ECKey = KEY
        self.algorithm = "RS256"
        self.nonce = ""
        self.metadata |= {
            "scopes_supported": ["openid", "profile"],
            "jwks_uri": f"{ISSUER}/jwks",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
        }
        self.answers["/jwks"] = httpx.Response(200, json=KeySet([KEY]).as_dict(private=False))
        self.answers["/userinfo"] = httpx.Response(200, json=PAUL)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = super().__call__(request)
        if request.url.path != "/oauth/token":
            return answer
        return httpx.Response(200, json=answer.json() | {"id_token": self.id_token()})

    def id_token(self) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": CONFIG.client_id, "sub": "paul-1", "iat": now, "exp": now + 300}
        given = {name: value for name, value in (claims | {"nonce": self.nonce} | self.changes).items() if value}
        return jwt.encode(
            {"alg": self.algorithm, "kid": "one"}, given, self.key, algorithms=["RS256", "ES256", "HS256"]
        )


@pytest.fixture
def provider() -> OpenIDProvider:
    return OpenIDProvider()


@pytest.fixture
def visitor(provider: OpenIDProvider) -> Browser:
    http = httpx.Client(transport=httpx.MockTransport(provider))
    return Browser(ThirdParty(CONFIG, Authorization(CONFIG, http)))


def signed_in(visitor: Browser, provider: OpenIDProvider) -> str:
    request = visitor.go("/sign-in")
    provider.nonce = request["nonce"]
    return visitor.call_back(code="c", state=request["state"], iss=ISSUER)


def test_the_page_says_who_came(visitor: Browser, provider: OpenIDProvider) -> None:
    request = visitor.go("/sign-in")
    assert (request["scope"], request["code_challenge_method"]) == ("openid profile", "S256")
    provider.nonce = request["nonce"]
    page = visitor.call_back(code="c", state=request["state"], iss=ISSUER)
    assert '<p class="said good" role="status" id="done">Signed in.</p>' in page
    assert "<h1>Hello, Paul Baker</h1>" in page
    assert '<dd id="person-sub">paul-1</dd>' in page
    assert ("/userinfo", {}, f"Bearer {ACCESS}") in provider.seen
    assert 'id="sign-in">Sign in again' in page


def test_each_request_has_a_nonce_of_its_own(visitor: Browser) -> None:
    first, second = visitor.go("/sign-in"), visitor.go("/sign-in")
    assert len({first["nonce"], second["nonce"], first["state"], second["state"]}) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "client-2"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
    ],
)
def test_an_id_token_for_something_else_proves_nothing(
    visitor: Browser, provider: OpenIDProvider, changes: dict[str, Any]
) -> None:
    provider.changes = changes
    page = signed_in(visitor, provider)
    assert "does not prove it" in page
    assert "Hello" not in page
    assert "/userinfo" not in [path for path, _, _ in provider.seen]


def test_a_signature_that_is_not_the_servers_proves_nothing(visitor: Browser, provider: OpenIDProvider) -> None:
    provider.key = FOREIGN
    assert "does not prove it" in signed_in(visitor, provider)
    provider.key, provider.algorithm = ECKey.generate_key("P-256", {"kid": "one"}), "ES256"
    assert "does not prove it" in signed_in(visitor, provider)


def test_userinfo_of_somebody_else_is_not_believed(visitor: Browser, provider: OpenIDProvider) -> None:
    provider.answers["/userinfo"] = httpx.Response(200, json=PAUL | {"sub": "eva-1"})
    assert "somebody else" in signed_in(visitor, provider)
    provider.answers["/userinfo"] = httpx.Response(500)
    assert "did not answer as it should" in signed_in(visitor, provider)
    provider.answers["/jwks"] = httpx.Response(200, json={"keys": "none"})
    assert "does not prove it" in signed_in(visitor, provider)


def test_a_server_without_openid_says_so(visitor: Browser, provider: OpenIDProvider) -> None:
    provider.metadata["scopes_supported"] = ["profile"]
    visitor("GET", "/sign-in")
    assert "does not support OpenID Connect" in visitor("GET", "/")


def test_who_only_connects_is_not_asked_who_they_are(visitor: Browser, provider: OpenIDProvider) -> None:
    request = visitor.connect()
    assert "nonce" not in request
    page = visitor.call_back(code="c", state=request["state"], iss=ISSUER)
    assert "You are connected" in page
    assert 'id="person"' not in page


def test_a_sign_out_leads_to_the_server_and_back(visitor: Browser, provider: OpenIDProvider) -> None:
    provider.metadata["end_session_endpoint"] = f"{ISSUER}/oauth/logout"
    signed_in(visitor, provider)
    (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', visitor("GET", "/")))
    visitor("POST", "/sign-out", {"csrf": csrf})
    address, _, query = visitor.headers["Location"].partition("?")
    assert (visitor.status, address) == (303, f"{ISSUER}/oauth/logout")
    given = dict(parse_qsl(query))
    assert given.keys() == {"id_token_hint", "post_logout_redirect_uri"}
    assert jwt.decode(given["id_token_hint"], KEY, algorithms=["RS256"]).claims["sub"] == "paul-1"
    assert given["post_logout_redirect_uri"] == urljoin(CONFIG.redirect_uri, "/")
    page = visitor("GET", "/")
    assert "Signed out." in page
    assert "Hello" not in page


def test_a_server_without_sign_out_is_trouble(visitor: Browser, provider: OpenIDProvider) -> None:
    signed_in(visitor, provider)
    page = visitor.press("sign-out")
    assert "no way to sign out" in page
    assert "Hello" in page
