"""Which aggregate's page tells of a stream: the part of its name before the first colon decides."""

from types import ModuleType

from domain import account, audit, client, consent, grant, incident, log_key, realm, role, scope, server, session, usage

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
    "log_key": log_key,
    "incident": incident,
}
"""Category → page, each with `INITIAL`, `EVENTS` and `evolve`."""


def category(stream: str) -> str:
    """The category of a stream, as in `AGGREGATES`."""
    return stream.partition(":")[0]
