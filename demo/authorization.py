"""What the demo application says to the authorization server: metadata, the code flow, signing in with OpenID Connect,
refreshing, revoking, asking.

It is written for any server of RFC 8414 and knows no address but the issuer's. What goes wrong is a `Trouble`."""

import hmac
from time import time
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urljoin

import httpx
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc8414 import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the server told this application when it was registered, and where this application listens. `host` and
    `port` default to those of the redirect URI."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str
    scope: str
    name: str = "Paperboat"
    host: str | None = None
    port: int | None = None

    def __repr__(self) -> str:
        return f"Config(client_id={self.client_id!r})"


SIGN_IN_SCOPE = "openid profile"
"""What is asked for where nothing but who somebody is matters (OpenID Connect Core §3.1.2.1, §5.4)."""

SIGNED_BY = ["RS256"]
"""What a client that named no algorithm is given (OpenID Connect Dynamic Client Registration §2); never what a token
says of itself."""

LEEWAY = 60
"""Seconds that the two machines' clocks may differ."""


class Trouble(Exception):
    """Why something did not work, in words for the page. `error` is the server's own code where it gave one (RFC 6749
    §4.1.2.1, §5.2)."""

    def __init__(self, words: str, error: str | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.error = error


class Pending(NamedTuple):
    """An authorization request under way: what its answer must match (RFC 6749 §10.12, RFC 7636 §4.1). With a `nonce`
    it is an authentication request (OpenID Connect Core §3.1.2.1)."""

    url: str
    state: str
    verifier: str
    nonce: str | None = None


Token = dict[str, Any]
Person = dict[str, Any]


class Authorization:
    """This client at one authorization server. Safe for threads; the metadata is read at its first use."""

    def __init__(self, config: Config, http: httpx.Client | None = None) -> None:
        self.config = config
        # Proxies of the surroundings have no business between two programs of one machine.
        self.http = http or httpx.Client(timeout=10, trust_env=False)
        self.metadata: dict[str, Any] | None = None

    def discover(self) -> dict[str, Any]:
        """The server's metadata, which must name the very issuer that was asked (RFC 8414 §3.3)."""
        if self.metadata is not None:
            return self.metadata
        url = get_well_known_url(self.config.issuer, external=True)
        try:
            answer = self.http.get(url, headers={"Accept": "application/json"})
            answer.raise_for_status()
            metadata = answer.json()
        except (httpx.HTTPError, ValueError):
            words = f"{self.config.issuer} does not answer with its metadata. Is the server running?"
            raise Trouble(words) from None
        if not isinstance(metadata, dict) or metadata.get("issuer") != self.config.issuer:
            raise Trouble("The server calls itself by another name than the one this application trusts.")
        if "S256" not in metadata.get("code_challenge_methods_supported", ()):
            raise Trouble("The server does not support PKCE with S256, which this application insists on.")
        self.metadata = metadata
        return metadata

    def begin(self) -> Pending:
        """The address to send the person to (RFC 6749 §4.1.1) with a fresh state and PKCE challenge."""
        endpoint, verifier = self.discover()["authorization_endpoint"], generate_token(64)
        url, state = self.client().create_authorization_url(endpoint, code_verifier=verifier)
        return Pending(url, state, verifier)

    def begin_sign_in(self) -> Pending:
        """The same to learn who it is (OpenID Connect Core §3.1.2.1), with a fresh nonce besides."""
        metadata, verifier, nonce = self.discover(), generate_token(64), generate_token(32)
        if "openid" not in metadata.get("scopes_supported", ()):
            raise Trouble("The server does not support OpenID Connect, by which this application signs people in.")
        client = self.client(SIGN_IN_SCOPE)
        endpoint = metadata["authorization_endpoint"]
        url, state = client.create_authorization_url(endpoint, code_verifier=verifier, nonce=nonce)
        return Pending(url, state, verifier, nonce)

    def sign_out(self, id_token: str) -> str:
        """The address to send a person to who signs out of the server as well (OpenID Connect RP-Initiated Logout §2);
        it leads back to the page of this application that the redirect URI is beside."""
        metadata = self.discover()
        if "end_session_endpoint" not in metadata:
            raise Trouble("The server has no way to sign out of it.")
        parameters = {"id_token_hint": id_token, "post_logout_redirect_uri": urljoin(self.config.redirect_uri, "/")}
        return f"{metadata['end_session_endpoint']}?{urlencode(parameters)}"

    def finish(self, pending: Pending | None, query: str) -> Token:
        """The tokens for an authorization response. Nothing in the response is believed before its `state` and, since
        the server may be an impostor's, its `iss` are the expected ones (RFC 9207 §2.4): an error is no exception."""
        metadata = self.discover()
        parameters = parse_qs(query, keep_blank_values=True)
        if any(len(values) > 1 for values in parameters.values()):
            raise Trouble("The answer says the same thing twice, so this application does not believe it.")
        response = {name: values[0] for name, values in parameters.items()}
        if pending is None or not hmac.compare_digest(response.get("state", "").encode(), pending.state.encode()):
            raise Trouble("This answer belongs to no request of this browser. Please connect again.")
        if not self.is_issuer(metadata, response.get("iss")):
            raise Trouble("The answer comes from another server than the one that was asked.")
        if "error" in response:
            if response["error"] == "access_denied":
                raise Trouble("You did not allow it, so nothing was connected.", "access_denied")
            raise Trouble(response.get("error_description") or "The server refused.", response["error"])
        if not response.get("code"):
            raise Trouble("The answer holds no code.")
        return self.token_request(code=response["code"], code_verifier=pending.verifier)

    def who(self, token: Token, nonce: str) -> Person:
        """Whom the tokens of a sign-in are about: what the id_token proves (OpenID Connect Core §3.1.3.7), and what
        userinfo tells of the same person (§5.3.2)."""
        proved = self.verify(token.get("id_token"), nonce)
        told = self.get("userinfo_endpoint", {"Authorization": f"Bearer {token['access_token']}"})
        if told.get("sub") != proved["sub"]:
            raise Trouble("The server tells of somebody else than who signed in.")
        return told

    def verify(self, id_token: Any, nonce: str) -> dict[str, Any]:
        """The claims of an id_token that this server made for this very request of this application."""
        if not isinstance(id_token, str):
            raise Trouble("The answer does not say who signed in.")
        expected = jwt.JWTClaimsRegistry(
            now=int(time()),
            leeway=LEEWAY,
            iss={"essential": True, "value": self.config.issuer},
            aud={"essential": True, "value": self.config.client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            # The keys may have been changed since they were read last: they are asked for each time.
            keys = KeySet.import_key_set(self.get("jwks_uri"))  # type: ignore[arg-type]
            claims: dict[str, Any] = jwt.decode(id_token, keys, algorithms=SIGNED_BY).claims
            expected.validate(claims)
        except (JoseError, ValueError):
            raise Trouble("What the server says of who signed in does not prove it.") from None
        return claims

    def get(self, endpoint: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at an address of the metadata."""
        metadata = self.discover()
        if endpoint not in metadata:
            raise Trouble(f"The server's metadata names no {endpoint}.")
        try:
            answer = self.http.get(metadata[endpoint], headers=headers)
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise Trouble("The server did not answer as it should.")
        return found

    def is_issuer(self, metadata: dict[str, Any], iss: str | None) -> bool:
        if iss is None:
            return not metadata.get("authorization_response_iss_parameter_supported", False)
        return iss == self.config.issuer

    def refresh(self, refresh_token: str) -> Token:
        """Fresh tokens (RFC 6749 §6). A server that rotates refresh tokens answers with the next one."""
        return self.token_request(refresh_token=refresh_token)

    def token_request(self, **parameters: str) -> Token:
        client, endpoint = self.client(), self.discover()["token_endpoint"]
        try:
            if "refresh_token" in parameters:
                token = dict(client.refresh_token(endpoint, parameters["refresh_token"], auth=self.credentials()))
            else:
                token = dict(client.fetch_token(endpoint, auth=self.credentials(), **parameters))
        except AuthlibBaseError as error:
            raise Trouble(error.description or "The server refused.", error.error) from None
        except (httpx.HTTPError, ValueError):
            raise Trouble("The server did not answer as a token endpoint does.") from None
        # Authlib reckons this member; the page shows what the server said.
        token.pop("expires_at", None)
        return token

    def revoke(self, token: str) -> None:
        """Ends a token (RFC 7009 §2.1); the server answers 200 for one that it does not know as well."""
        self.ask("revocation_endpoint", "revoke_token", token)

    def introspect(self, token: str) -> dict[str, Any]:
        """What the server says about a token now (RFC 7662 §2.2)."""
        answer = self.ask("introspection_endpoint", "introspect_token", token)
        if not isinstance(answer, dict):
            raise Trouble("The server did not answer as it should.")
        return answer

    def ask(self, endpoint: str, request: str, token: str) -> Any:
        metadata = self.discover()
        if endpoint not in metadata:
            raise Trouble(f"The server's metadata names no {endpoint}.")
        try:
            answer = getattr(self.client(), request)(metadata[endpoint], token=token, auth=self.credentials())
            body = answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError):
            raise Trouble("The server did not answer as it should.") from None
        if answer.is_success:
            return body
        body = body if isinstance(body, dict) else {}
        raise Trouble(body.get("error_description") or "The server refused.", body.get("error"))

    def credentials(self) -> httpx.Auth:
        """HTTP Basic client authentication (RFC 6749 §2.3.1)."""
        return httpx.BasicAuth(self.config.client_id, self.config.client_secret)

    def client(self, scope: str | None = None) -> Any:
        """A client of its own for each request, since Authlib's keeps the token it last saw."""
        client = OAuth2Client(
            self.http,
            client_id=self.config.client_id,
            redirect_uri=self.config.redirect_uri,
            scope=scope or self.config.scope,
            code_challenge_method="S256",
        )
        # Authlib's default error refuses descriptions with characters that RFC 6749 forbids; a page may show them.
        client.oauth_error_class = AuthlibBaseError
        return client
