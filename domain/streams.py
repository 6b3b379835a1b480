"""Which aggregate's page tells of a stream: the part of its name before the first colon decides."""

from types import ModuleType

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

AGGREGATES: dict[str, ModuleType] = {
    "client": client,
    "account": account,
    "consent": consent,
    "grant": grant,
    "session": session,
    "scope": scope,
    "role": role,
    "usage": usage,
    "realm": realm,
    "audit": audit,
    "server": server,
    "log": log,
    "log_key": log_key,
    "mac_key": mac_key,
    "incident": incident,
    "hold": hold,
    "origin": origin_month,
}
"""Category → page, each with `INITIAL`, `EVENTS` and `evolve`, and `STATELESS` where no verb looks at the state."""


def category(stream: str) -> str:
    """The category of a stream, as in `AGGREGATES`."""
    return stream.partition(":")[0]


_STATELESS = frozenset(name for name, page in AGGREGATES.items() if getattr(page, "STATELESS", False))


def is_stateless(stream: str) -> bool:
    """Whether no verb looks at the state of such a stream. It is never folded, and only its newest version matters."""
    return category(stream) in _STATELESS
