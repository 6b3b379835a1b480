"""What a client may register about sign-outs (OpenID Connect RP-Initiated Logout §2.1, Back-Channel Logout §2.2)."""

from collections.abc import Sequence

from domain.decision import Outcome, malformed
from domain.rules import redirect_uri
from domain.rules.client_metadata import ClientMetadata

URIS_MAXIMUM = 20
URI_MAXIMUM = 512


def registered(client: ClientMetadata, *, beside: int, together: int) -> Outcome | None:
    """Refuses addresses where nobody can be sent or told. `beside` are the characters of its redirect URIs, with which
    those that a sign-out leads to may have so many `together`.
    """
    uris = client.post_logout_redirect_uris
    if client.type == "dashboard" and (uris or client.backchannel_logout_uri is not None):
        return malformed(
            "post_logout_redirect_uris" if uris else "backchannel_logout_uri",
            "a dashboard has none: it signs people out itself",
        )
    if beside + sum(map(len, uris)) > together:
        return malformed("post_logout_redirect_uris", f"must have {together} characters with the redirect_uris")
    if problem := _uris_problem(uris):
        return malformed("post_logout_redirect_uris", problem)
    told = client.backchannel_logout_uri
    if told is not None and (problem := web_problem(told, URI_MAXIMUM)):
        return malformed("backchannel_logout_uri", problem)
    return None


def _uris_problem(uris: Sequence[str]) -> str | None:
    if len(uris) > URIS_MAXIMUM or len(set(uris)) != len(uris):
        return f"must be at most {URIS_MAXIMUM} URIs, each once"
    for place, uri in enumerate(uris, 1):
        if problem := redirect_uri.problem(uri):
            return f"URI {place} {problem}"
    return None


def web_problem(uri: str, maximum: int) -> str | None:
    """Why the server itself could not call this address: a phrase that follows its name, or None."""
    if len(uri) > maximum:
        return f"must have 1 to {maximum} characters"
    if problem := redirect_uri.problem(uri):
        return problem
    return None if uri.partition(":")[0] in ("https", "http") else "must be https, or http on a loopback address"


def chosen(uris: Sequence[str], presented: str | None) -> str | None:
    """Where a sign-out leads: the presented URI where it is registered exactly so; None for nowhere (§3)."""
    return presented if presented in uris else None
