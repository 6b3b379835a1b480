"""What this server says and asks as a client of another OpenID provider (OpenID Connect Core §3.1, RFC 7636, RFC 9207).

Everything is fetched in the one guarded way. Of what is answered, who somebody is and their verified address are kept;
tokens are used where they came in and forgotten.
"""

from base64 import b64encode
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from api.http.outgoing_requests import FetchedResponse, NoAnswer, NotAllowed
from api.services import Services
from commands.upstreams import vault_name
from domain.event import Moment
from domain.people.upstream import UpstreamTerms
from domain.people.upstream_link import UpstreamProof
from domain.rules import public_key, upstream_id_token
from domain.rules.logout import web_problem
from domain.rules.pkce import transform
from security.foreign_tokens import ReadToken, read, signed_by
from security.jose import BadToken

DISCOVERY = "/.well-known/openid-configuration"
CALLBACK = "/account/upstream"

LARGEST = 65_536
"""Bytes of any answer of a provider."""

URL_MAXIMUM = 2_048
TOKEN_MAXIMUM = 8_192


class ProviderAway(Exception):
    """The provider cannot be asked, or answers what it must not; the message says what, and repeats nothing of it."""


class ProviderMetadata(msgspec.Struct, frozen=True):
    """What is used of a provider's metadata (OpenID Connect Discovery §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False


class UpstreamTokens(msgspec.Struct, frozen=True):
    """What is used of a token answer (OpenID Connect Core §3.1.3.3)."""

    id_token: str
    access_token: str | None = None

    def __repr__(self) -> str:
        return "UpstreamTokens()"


class _KeySet(msgspec.Struct):
    keys: list[Any]


class Upstream(NamedTuple):
    """A provider of a realm."""

    realm: str
    name: str
    terms: UpstreamTerms


class AskedOnce(NamedTuple):
    """What one sign-in is known by: `nonce` in what the provider signs, `verifier` where the code is redeemed. Who is
    to sign in anew is to have done so `since` then."""

    nonce: str
    verifier: str
    since: Moment | None = None


def redirect_uri(issuer: str, realm: str, name: str) -> str:
    """Where a provider sends people back to: one address for each, so that none is taken for another (RFC 9700
    §4.4.2)."""
    return f"{issuer}{CALLBACK}/{realm}/{name}"


async def metadata_of(services: Services, terms: UpstreamTerms) -> ProviderMetadata:
    """A provider's metadata. Raises ProviderAway."""
    url = terms.issuer.removesuffix("/") + DISCOVERY
    found: ProviderMetadata = await _document(services, url, ProviderMetadata)
    if found.issuer != terms.issuer:
        raise ProviderAway("its metadata is another issuer's")
    endpoints = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint)
    if any(web_problem(each, URL_MAXIMUM) for each in endpoints if each is not None):
        raise ProviderAway("an endpoint is none that one may call")
    return found


async def _document(services: Services, url: str, type: type[Any], *, anew: bool = False) -> Any:
    try:
        body = await services.documents.get(url, accept="application/json", largest=LARGEST, anew=anew)
        return msgspec.json.decode(body, type=type)
    except (NotAllowed, NoAnswer, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProviderAway("a document cannot be had") from error


def authorization_url(
    services: Services, upstream: Upstream, metadata: ProviderMetadata, asked: AskedOnce, state: str
) -> str:
    """Where the person's browser is sent. Anyone who is to sign in anew is not to come back by a session that they have
    there (OpenID Connect Core §3.1.2.1)."""
    request = {
        "response_type": "code",
        "client_id": upstream.terms.client_id,
        "redirect_uri": redirect_uri(services.settings.issuer, upstream.realm, upstream.name),
        "scope": " ".join(upstream.terms.scope),
        "state": state,
        "nonce": asked.nonce,
        "code_challenge": transform(asked.verifier),
        "code_challenge_method": "S256",
    }
    if asked.since is not None:
        request |= {"prompt": "login", "max_age": "0"}
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{joint}{urlencode(request)}"


async def redeem(services: Services, upstream: Upstream, asked: AskedOnce, code: str) -> UpstreamProof:
    """Who has signed in there. Raises ProviderAway, also where what it answered is not good."""
    metadata = await metadata_of(services, upstream.terms)
    answer = await _token(services, upstream, metadata, asked.verifier, code)
    claims = await _verified(services, upstream.terms, metadata, answer.id_token, asked)
    sub = upstream_id_token.subject(claims) or ""
    email = upstream_id_token.verified_address(claims)
    if email is None and "email" not in claims:
        told = await _userinfo(services, metadata, answer.access_token)
        # What is said of somebody else counts for nothing (OpenID Connect Core §5.3.2).
        email = upstream_id_token.verified_address(told) if told.get("sub") == sub else None
    return UpstreamProof(upstream.realm, upstream.name, upstream.terms.issuer, sub, email)


async def _token(
    services: Services, upstream: Upstream, metadata: ProviderMetadata, verifier: str, code: str
) -> UpstreamTokens:
    terms, method = upstream.terms, upstream.terms.token_endpoint_auth_method
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri(services.settings.issuer, upstream.realm, upstream.name),
        "code_verifier": verifier,
    }
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    secret = await _secret(services, upstream)
    if method == "client_secret_basic":
        # Both are form-encoded before (RFC 6749 §2.3.1).
        pair = f"{quote(terms.client_id, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    else:
        form["client_id"] = terms.client_id
    if method == "client_secret_post":
        form["client_secret"] = secret
    answer = await _send(services, "POST", metadata.token_endpoint, headers, urlencode(form).encode())
    if answer.status != 200:
        raise ProviderAway("it does not redeem the code")
    try:
        return msgspec.json.decode(answer.body, type=UpstreamTokens)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProviderAway("its token answer is none") from error


async def _secret(services: Services, upstream: Upstream) -> str:
    method = upstream.terms.token_endpoint_auth_method
    if method == "none":
        return ""
    vault = services.ledger.vault
    kept = await services.ledger.read(vault.get_secret, vault_name(upstream.realm, upstream.name))
    if kept is None:
        raise ProviderAway("its secret is not there")
    return kept.value.decode()


async def _send(
    services: Services, method: str, url: str, headers: dict[str, str], content: bytes = b""
) -> FetchedResponse:
    try:
        return await services.outgoing.send(method, url, headers=headers, content=content, largest=LARGEST)
    except (NotAllowed, NoAnswer) as error:
        raise ProviderAway("an endpoint does not answer") from error


async def _verified(
    services: Services, terms: UpstreamTerms, metadata: ProviderMetadata, raw: str, asked: AskedOnce
) -> dict[str, Any]:
    try:
        token = read(raw)
    except BadToken:
        raise ProviderAway("its id_token is none that is served here") from None
    signed = await _is_signed(services, metadata, token, anew=False)
    # Its keys may have changed since.
    if not signed and not await _is_signed(services, metadata, token, anew=True):
        raise ProviderAway("its id_token is signed by nobody known")
    now = services.ledger.clock.now()
    judged = upstream_id_token.judge(
        token.claims, issuer=terms.issuer, client_id=terms.client_id, nonce=asked.nonce, now=now, since=asked.since
    )
    if judged is None:
        raise ProviderAway("its id_token is not for this sign-in")
    return token.claims


async def _is_signed(services: Services, metadata: ProviderMetadata, token: ReadToken, *, anew: bool) -> bool:
    keys = public_key.usable((await _document(services, metadata.jwks_uri, _KeySet, anew=anew)).keys)
    candidates = public_key.candidates(keys, token.algorithm, token.header.get("kid"))
    return any(signed_by(token, msgspec.to_builtins(key)) for key in candidates)


async def _userinfo(services: Services, metadata: ProviderMetadata, access_token: str | None) -> dict[str, Any]:
    """What it tells of the person there (§5.3), nothing where it tells nothing."""
    if metadata.userinfo_endpoint is None or not access_token or len(access_token) > TOKEN_MAXIMUM:
        return {}
    if not access_token.isascii() or not access_token.isprintable():
        return {}
    headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token}"}
    try:
        answer = await _send(services, "GET", metadata.userinfo_endpoint, headers)
    except ProviderAway:
        # Who it is stands in the id_token. The address matters to those alone who are not linked yet.
        return {}
    try:
        found = msgspec.json.decode(answer.body) if answer.status == 200 else {}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
