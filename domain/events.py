"""The catalogue: every type of event, each tag once. Retired tags stay here as comments and are never used again."""

from domain import account, audit, client, consent, grant, incident, log_key, realm, role, scope, server, session, usage
from domain.event import Event

EVENTS: tuple[type[Event], ...] = (
    *client.EVENTS,
    *account.EVENTS,
    *consent.EVENTS,
    *grant.EVENTS,
    *session.EVENTS,
    *scope.EVENTS,
    *role.EVENTS,
    *usage.EVENTS,
    *realm.EVENTS,
    *audit.EVENTS,
    *server.EVENTS,
    *log_key.EVENTS,
    *incident.EVENTS,
)
