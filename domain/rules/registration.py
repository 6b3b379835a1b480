"""What a client may register (RFC 7591 §2): names, redirect URIs, grants, scopes, lifetimes, and what fits together.

Every limit here is also what keeps an event below 65,535 bytes: a change states old and new values, each list twice.
"""

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from domain.decision import Forbidden, Outcome, malformed, refuse
from domain.rules import (
    administrative_scope,
    audience,
    authorization_details,
    built_in_scope,
    exchange_policy,
    logout,
    origin,
    pairwise,
    people,
    public_key,
    redirect_uri,
    security_profile,
)
from domain.rules.client_metadata import ClientMetadata
from domain.rules.pairwise import SectorDocument

REALMS = ("administration", "platform")
CLIENT_NAME_MAXIMUM = 200
REDIRECT_URIS_MAXIMUM = 50
REDIRECT_URIS_TOGETHER = 16_384
SCOPES_MAXIMUM = 100
SCOPES_TOGETHER = 4_096
ORIGINS_MAXIMUM = 20
SLUG_MAXIMUM = 64
ACCESS_TOKEN_LIFETIME_MAXIMUM = 30 * 86_400
TOKENS_PER_MINUTE_MAXIMUM = 1_000_000
REFRESH_TOKEN_LIFETIME_MAXIMUM = 365 * 86_400

DASHBOARD_GRANT_TYPES = ("password", "refresh_token")

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
_RESERVED_SLUG = re.compile(r"form|console|session-.*")
"""A dashboard's cookie is named after it, and these names are those of the server's own pages."""

_SLUG = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{SLUG_MAXIMUM - 2}}}[a-z0-9])?")


class Registrable(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant type is to those who register it.

    `response_types` lead to it by the authorization endpoint, which needs redirect URIs. It may be for `confidential`
    clients only, or for `first_party` dashboards, and then nobody registers it.
    """

    response_types: tuple[str, ...] = ()
    confidential: bool = False
    first_party: bool = False


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is judged by beside its own attributes, as things stand under the lock.

    `caller_scope` is what the caller's token holds, `known_scopes` are those of the asked that are defined,
    `grant_types` is the registry, and `realms` are all that there are. `sector` is the document at its
    `sector_identifier_uri`, None where it was not fetched. `console` says that the one who runs the server commands the
    server's own console. `leaked_keys` are those of its keys that leaked and were ended, no matter who had them.
    """

    caller_scope: frozenset[str]
    known_scopes: frozenset[str]
    grant_types: Mapping[str, Registrable]
    issuer: str
    realms: tuple[str, ...] = REALMS
    slug_taken: bool = False
    sector: SectorDocument | None = None
    console: bool = False
    leaked_keys: frozenset[str] = frozenset()


def realm(name: str, realms: Collection[str]) -> Outcome | None:
    """Refuses a realm that is none of those that there are."""
    return None if name in realms else malformed("realm", "must be one of " + ", ".join(realms))


def scope_names(scopes: Sequence[str], *, known: frozenset[str], field: str) -> Outcome | None:
    """A list of scopes: scope-tokens of RFC 6749 §3.3, each once, each defined."""
    if len(scopes) > SCOPES_MAXIMUM or sum(map(len, scopes)) > SCOPES_TOGETHER:
        return malformed(field, f"must name at most {SCOPES_MAXIMUM} scopes, {SCOPES_TOGETHER} characters together")
    if len(set(scopes)) != len(scopes):
        return malformed(field, "must not name a scope twice")
    if not all(_SCOPE_TOKEN.fullmatch(scope) for scope in scopes):
        return malformed(field, "must hold scope names alone (RFC 6749 §3.3)")
    # The position and not the name: what was typed is never repeated.
    unknown = [str(place) for place, scope in enumerate(scopes, 1) if scope not in known]
    if unknown:
        return malformed(field, "names scopes that do not exist, in place " + ", ".join(unknown[:10]))
    return None


def refusal(client: ClientMetadata, *, before: ClientMetadata, circumstances: Circumstances) -> Outcome | None:
    """Refuses the client as it would stand after the command; None when it may stand like that."""
    if client.type == "dashboard":
        special = _dashboard(client, before, circumstances.issuer)
    else:
        special = _grants(client, circumstances.grant_types) or _redirect_uris(client, circumstances.grant_types)
    special = (
        _plain(client, circumstances.realms)
        or _first_party(client)
        or special
        or public_key.registered(client)
        or public_key.leaked(client.keys, circumstances.leaked_keys)
        or security_profile.registered(client)
        or audience.registered(client, circumstances.issuer)
        or exchange_policy.registered(client)
        or authorization_details.registered(client)
        or logout.registered(client, beside=sum(map(len, client.redirect_uris)), together=REDIRECT_URIS_TOGETHER)
        or pairwise.registered(client, before=before, sector=circumstances.sector)
    )
    if special := special or scope_names(client.scope, known=circumstances.known_scopes, field="scope"):
        return special
    given = [scope for scope in client.scope if scope not in before.scope]
    return (
        administrative_scope.holding(
            client.scope,
            type=client.type,
            realm=client.realm,
            grant_types=client.grant_types,
            field="scope",
            console=circumstances.console,
        )
        or _account(given, client)
        or administrative_scope.handing_out(given, caller_scope=circumstances.caller_scope, field="scope")
    )


def _account(given: Sequence[str], client: ClientMetadata) -> Outcome | None:
    # Anyone who has it from before it was built in gets nothing for it.
    if client.type == "dashboard" or built_in_scope.ACCOUNT not in given:
        return None
    return refuse(Forbidden.THIRD_PARTY, detail="the scope account is for dashboards alone", field="scope")


def _plain(client: ClientMetadata, realms: Collection[str]) -> Outcome | None:
    problem = people.text_problem(client.client_name, CLIENT_NAME_MAXIMUM)
    if problem:
        return malformed("client_name", problem)
    return realm(client.realm, realms) or _lifetimes(client) or _origins(client.allowed_origins)


def _first_party(client: ClientMetadata) -> Outcome | None:
    """Requires a code of who asks people for their password (OAuth for First-Party Applications §5)."""
    if client.first_party and (client.type == "dashboard" or "authorization_code" not in client.grant_types):
        return malformed("first_party", "is for clients with the grant authorization_code")
    return None


def _lifetimes(client: ClientMetadata) -> Outcome | None:
    for field, seconds, maximum in (
        ("access_token_lifetime", client.access_token_lifetime, ACCESS_TOKEN_LIFETIME_MAXIMUM),
        ("refresh_token_lifetime", client.refresh_token_lifetime, REFRESH_TOKEN_LIFETIME_MAXIMUM),
    ):
        if seconds is not None and not 1 <= seconds <= maximum:
            return malformed(field, f"must be between 1 and {maximum} seconds")
    if client.tokens_per_minute is not None and not 1 <= client.tokens_per_minute <= TOKENS_PER_MINUTE_MAXIMUM:
        return malformed("tokens_per_minute", f"must be between 1 and {TOKENS_PER_MINUTE_MAXIMUM}")
    return None


def _origins(origins: Sequence[str]) -> Outcome | None:
    if len(origins) > ORIGINS_MAXIMUM or len(set(origins)) != len(origins):
        return malformed("allowed_origins", f"must be at most {ORIGINS_MAXIMUM} origins, each once")
    for place, value in enumerate(origins, 1):
        problem = origin.problem(value)
        if problem:
            return malformed("allowed_origins", f"origin {place} {problem}")
    return None


def _dashboard(client: ClientMetadata, before: ClientMetadata, issuer: str) -> Outcome | None:
    if not client.slug or not _SLUG.fullmatch(client.slug):
        return malformed("slug", f"must have 1 to {SLUG_MAXIMUM} lower-case letters, digits and inner hyphens")
    if not before.exists and _RESERVED_SLUG.fullmatch(client.slug):
        return malformed("slug", "must not be form, console or session-…: the server's own cookies have these names")
    if client.redirect_uris:
        return malformed("redirect_uris", "a dashboard has none")
    if client.grant_types != DASHBOARD_GRANT_TYPES:
        return malformed("grant_types", "a dashboard has password and refresh_token, and nothing else")
    if client.token_endpoint_auth_method not in ("client_secret_basic", "client_secret_post"):
        return malformed("token_endpoint_auth_method", "a dashboard is a confidential client")
    for place, value in enumerate(client.allowed_origins, 1):
        if not origin.same_site(value, issuer):
            named = origin.by_issuers_name(value, issuer)
            return malformed(
                "allowed_origins",
                f"origin {place} is not same-site with the issuer: browsers would hold the SameSite=Strict cookie back"
                + ("" if named is None else f"; name this machine as the issuer does, {named}"),
            )
    return None


def _grants(client: ClientMetadata, grant_types: Mapping[str, Registrable]) -> Outcome | None:
    registrable = {name for name, grant in grant_types.items() if not grant.first_party}
    if not client.grant_types or len(set(client.grant_types)) != len(client.grant_types):
        return malformed("grant_types", "must name at least one grant, each once")
    if not registrable.issuperset(client.grant_types):
        return malformed("grant_types", "must be of " + ", ".join(sorted(registrable)))
    if client.type == "public":
        for name in client.grant_types:
            if grant_types[name].confidential:
                return malformed("grant_types", f"{name} is for confidential clients")
    if client.type == "public" and not client.require_pkce:
        return malformed("require_pkce", "only a confidential client may do without PKCE (RFC 9700 §2.1.1)")
    return None


def _redirect_uris(client: ClientMetadata, grant_types: Mapping[str, Registrable]) -> Outcome | None:
    uris = client.redirect_uris
    redirected = next((name for name in client.grant_types if grant_types[name].response_types), None)
    # Anyone who asks people in an application of their own may never send them anywhere (OAuth for First-Party
    # Applications §5).
    if redirected is not None and not uris and not client.first_party:
        return malformed("redirect_uris", f"{redirected} needs at least one")
    if len(uris) > REDIRECT_URIS_MAXIMUM or sum(map(len, uris)) > REDIRECT_URIS_TOGETHER:
        return malformed(
            "redirect_uris", f"must be at most {REDIRECT_URIS_MAXIMUM}, {REDIRECT_URIS_TOGETHER} characters together"
        )
    if len(set(uris)) != len(uris):
        return malformed("redirect_uris", "must not name a URI twice")
    for place, uri in enumerate(uris, 1):
        problem = redirect_uri.problem(uri)
        if problem:
            return malformed("redirect_uris", f"URI {place} {problem}")
    return None
