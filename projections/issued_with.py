"""By what a secret version was used to issue, the search index has its events apart: then how much there is of each is
told without looking at a million of them."""

from domain.event import Event
from domain.grant import TokensIssued, TokensRefreshed

CODE, REFRESH_TOKEN = 1, 2
"""For a code; with a refresh token. Tokens of a grant that is not the client's own have the sum as their digit."""

FOR_ITSELF, REFRESHED = b"c", b"r"
"""A client's own token, which has neither and belongs to nobody else; new tokens for a refresh token."""

ON_BEHALF = tuple(b"%d" % each for each in range(CODE + REFRESH_TOKEN + 1))
EVERYTHING = (FOR_ITSELF, REFRESHED, *ON_BEHALF)
"""What follows the id of the secret version in a key."""


def what(event: Event) -> bytes:
    """Says what was issued by an event, one of `EVERYTHING`; empty where it was nothing of that."""
    if isinstance(event, TokensRefreshed):
        return REFRESHED
    if not isinstance(event, TokensIssued):
        return b""
    if event.grant_type == "client_credentials":
        return FOR_ITSELF
    return ON_BEHALF[(event.code is not None) * CODE + (event.refresh_token is not None) * REFRESH_TOKEN]
