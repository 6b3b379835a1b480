"""The catalogue: every type of event, each tag once. Retired tags stay here as comments and are never used again."""

from types import ModuleType

from domain import (
    account,
    audit,
    client,
    consent,
    ended_grants,
    grant,
    hold,
    incident,
    log,
    origin_month,
    realm,
    role,
    scope,
    server,
    session,
    usage,
)
from domain.event import Event
from domain.factors import realm_policy
from domain.keys import log_key, mac_key, signing_key, trusted_issuer
from domain.moving import demo_history, transfer
from domain.notifying import destination
from domain.people import branding, upstream
from domain.registering import initial_access_token
from domain.requests import authorization_detail_type, pushed_request
from domain.signals import event_stream

AGGREGATES: dict[str, ModuleType] = {
    "client": client,
    "account": account,
    "consent": consent,
    "grant": grant,
    "grants": ended_grants,
    "session": session,
    "pushed_request": pushed_request,
    "event_stream": event_stream,
    "scope": scope,
    "role": role,
    "usage": usage,
    "realm": realm,
    "realm_policy": realm_policy,
    "audit": audit,
    "server": server,
    "log": log,
    "log_key": log_key,
    "mac_key": mac_key,
    "signing_key": signing_key,
    "trusted_issuer": trusted_issuer,
    "authorization_detail_type": authorization_detail_type,
    "incident": incident,
    "branding": branding,
    "upstream": upstream,
    "destination": destination,
    "hold": hold,
    "initial_access_token": initial_access_token,
    "origin": origin_month,
    "transfer": transfer,
    "demo": demo_history,
}
"""Which page tells of a stream, by the part of its name before the first colon. Each has `INITIAL`, `EVENTS` and
`evolve`, and `STATELESS` where no verb looks at the state.
"""

EVENTS: tuple[type[Event], ...] = tuple(event for page in AGGREGATES.values() for event in page.EVENTS)

DESTROYING: frozenset[str] = frozenset(event.type for event in EVENTS if event.destroys_key)
"""The types with which the key that has the stream's name is destroyed in the vault."""

ENDING_MANY: frozenset[str] = frozenset((ended_grants.EndedTogether.type,))
"""The types of which each may change what is known of any number of other streams."""


def category(stream: str) -> str:
    """The category of a stream, as in `AGGREGATES`."""
    return stream.partition(":")[0]


SINGULAR: frozenset[str] = frozenset(page.STREAM for page in AGGREGATES.values() if hasattr(page, "STREAM"))
"""The streams of which there is one in every log, so that what is true of one without events is worth remembering."""

_STATELESS = frozenset(name for name, page in AGGREGATES.items() if getattr(page, "STATELESS", False))


def is_stateless(stream: str) -> bool:
    """Whether no verb looks at the state of such a stream. It is never folded, and only its newest version matters."""
    # With every command and event: to ask `category` would take as long again.
    return stream.partition(":")[0] in _STATELESS


def may_be_cached(stream: str, version: int) -> bool:
    """Whether something can have been cached of a stream before its event of this version."""
    return (version > 1 or stream in SINGULAR) and not is_stateless(stream)
