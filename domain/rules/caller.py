"""The caller: whether the client, as it stands under the lock, may use a grant type with the secret that it showed.

Authentication happened before the lock; a secret or client that ended meanwhile is refused here.
"""

from domain.client import State, barred, live_secret
from domain.client_secret import SecretVersion
from domain.decision import Reason
from domain.event import Moment
from domain.refusal import InvalidClient, UnauthorizedClient


def authenticated(client: State, secret_id: str | None, now: Moment) -> SecretVersion | InvalidClient | None:
    """The secret version that authenticated, None for a public client, or why it fails now (RFC 6749 §3.2.1)."""
    if (client.type == "public") != (secret_id is None):
        return barred(client) or InvalidClient.METHOD
    return barred(client) if secret_id is None else live_secret(client, secret_id, now)


def admitted(client: State, secret_id: str | None, grant_type: str, now: Moment) -> SecretVersion | Reason | None:
    """As `authenticated`, and the client must be registered for the grant type (RFC 6749 §5.2)."""
    found = authenticated(client, secret_id, now)
    if isinstance(found, InvalidClient):
        return found
    return found if grant_type in client.grant_types else UnauthorizedClient.GRANT_TYPE
