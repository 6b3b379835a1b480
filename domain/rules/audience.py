"""Audience: for which resource an access token is, as its client asks (RFC 8707 §2).

The server itself is a resource that every client may ask for, by the name of the issuer. An access token is for one of
them; only a dashboard's is for the server and for all that the dashboard was registered with.
"""

import re
from collections.abc import Sequence

from domain.decision import InvalidTarget, Outcome, Refusal, malformed
from domain.rules.client_metadata import ClientMetadata

MAXIMUM = 512
"""Characters of one URI."""

URIS_MAXIMUM = 20
URIS_TOGETHER = 1_200
"""Characters of all that a client may ask for, and of all that it serves: a change states old and new ones."""

# An absolute URI without a fragment (RFC 3986 §4.3), of the characters that a URI can hold.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-\[\]_a-z~]+")


def registered(client: ClientMetadata, issuer: str) -> Outcome | None:
    """Refuses lists of resources that cannot stand in a registration."""
    for field, uris in (("resources", client.resources), ("serves", client.serves)):
        if problem := _problem(uris):
            return malformed(field, problem)
    if client.serves and client.type != "confidential":
        return malformed("serves", "is for confidential clients: nobody else may introspect tokens (RFC 7662 §2.1)")
    ours = _compared(issuer)
    if any(_compared(uri) == ours for uri in client.serves):
        return malformed("serves", "must not name this server, which serves itself")
    return None


def requested(asked: Sequence[str], *, client: ClientMetadata, issuer: str) -> Refusal | None:
    """Refuses an authorization request that names a resource which the client may not ask for (RFC 8707 §2.1)."""
    if all(_may_ask(uri, client, issuer) for uri in asked):
        return None
    return Refusal(InvalidTarget.OUTSIDE_CLIENT, "This client may not ask for that resource.", "resource")


def chosen(
    asked: Sequence[str],
    *,
    client: ClientMetadata,
    issuer: str,
    approved: Sequence[str] = (),
    before: Sequence[str] | None = None,
) -> tuple[str, ...] | Refusal:
    """What an access token is for (RFC 8707 §2.2); empty where that is this server alone.

    `approved` is what the authorization request named, if any. `before` is the audience of the grant's first access
    token, None where there was none yet: a refresh that names nothing keeps to it.
    """
    if not (asked or approved or before or client.resources):
        return ()
    named = tuple(dict.fromkeys(asked))
    if len(named) > 1:
        return Refusal(InvalidTarget.SEVERAL, "An access token is for one resource; name one at a time.", "resource")
    if not named and client.type == "dashboard" and client.resources:
        return tuple(dict.fromkeys((issuer, *client.resources)))
    uri = named[0] if named else _usual(client, issuer, approved, before)
    if uri is None:
        return Refusal(InvalidTarget.MISSING, "Several resources were approved: name one of them.", "resource")
    if refused := requested((uri,), client=client, issuer=issuer):
        return refused
    if approved and uri not in approved:
        return Refusal(InvalidTarget.NOT_APPROVED, "The authorization request did not name that resource.", "resource")
    return () if uri == issuer else (uri,)


def _usual(client: ClientMetadata, issuer: str, approved: Sequence[str], before: Sequence[str] | None) -> str | None:
    """What a request that names no resource is for; None where that cannot be said."""
    if before is not None:
        kept = before[0] if before else issuer
        if _may_ask(kept, client, issuer):
            return kept
    if approved:
        return approved[0] if len(approved) == 1 else None
    return client.resources[0] if len(client.resources) == 1 else issuer


def _may_ask(uri: str, client: ClientMetadata, issuer: str) -> bool:
    return uri == issuer or uri in client.resources


def _problem(uris: Sequence[str]) -> str | None:
    if len(uris) > URIS_MAXIMUM or sum(map(len, uris)) > URIS_TOGETHER:
        return f"must be at most {URIS_MAXIMUM} URIs, {URIS_TOGETHER} characters together"
    if len(set(uris)) != len(uris):
        return "must not name a URI twice"
    for place, uri in enumerate(uris, 1):
        if len(uri) > MAXIMUM or _URI.fullmatch(uri) is None:
            return f"URI {place} must be absolute and without fragment, of at most {MAXIMUM} characters (RFC 8707 §2)"
    return None


def _compared(uri: str) -> str:
    """As those compare URIs who take the slash at the end, and the case, for nothing."""
    return uri.rstrip("/").lower()
