"""The catalogue: every type of event, each tag once. Retired tags stay here as comments and are never used again."""

from domain import (
    account,
    audit,
    client,
    consent,
    grant,
    hold,
    incident,
    log,
    log_key,
    mac_key,
    origin_month,
    realm,
    role,
    scope,
    server,
    session,
    usage,
)
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
    *log.EVENTS,
    *log_key.EVENTS,
    *mac_key.EVENTS,
    *incident.EVENTS,
    *hold.EVENTS,
    *origin_month.EVENTS,
)

DESTROYING: frozenset[str] = frozenset(event.type for event in EVENTS if event.destroys_key)
"""The types with which the key that has the stream's name is destroyed in the vault."""
