"""What a start checks and records: that the master key is this vault's, and with which settings the server runs."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from api.config.settings_page import effective
from api.services import Services
from commands import mac_keys, servers
from domain import mac_key, server
from domain.event import Actor
from eventstore.execution import Origin, Step
from eventstore.keys.key_proof import key_problem, put_proof
from eventstore.view import View
from security.keyring import Keyring, MasterKeyError

SYSTEM = Actor("system", None, {"user": "server"})


def running_version() -> str:
    """The installed version of Grantlog."""
    try:
        return version("grantlog")
    except PackageNotFoundError:
        return "unknown"


class IssuerChanged(Exception):
    """The server was told another issuer identifier than its log knows, and nobody has accepted that."""

    def __init__(self, former: str, issuer: str) -> None:
        super().__init__(
            f"the issuer is {issuer}, and this log is that of {former}: clients, tokens and dashboards know it so. "
            f"Put GRANTLOG_ISSUER right, or run: grantlog issuer accept {issuer}"
        )


def require_issuer(state: server.State, issuer: str) -> None:
    """Raises `IssuerChanged`."""
    if state.issuer not in (None, issuer):
        raise IssuerChanged(state.issuer or "", issuer)


async def record_start(services: Services, keyring: Keyring) -> None:
    """Proves the master key and records the start, once for each set of settings: workers alike are one fact.

    Raises `MasterKeyError` when the vault was made with another key, and `IssuerChanged`.
    """
    await mac_keys.settle(services.ledger, Origin(SYSTEM))
    settings: Any = effective(services.settings)
    keys: mac_key.State = await services.ledger.state(mac_key.STREAM)
    state: server.State = await services.ledger.state(server.STREAM)
    require_issuer(state, services.settings.issuer)
    found = running_version()
    if state.settings == settings and state.version == found and keys.active is not None:
        problem = await services.ledger.read(key_problem, services.ledger.vault, keyring)
        if problem:
            raise MasterKeyError(problem)
        return

    def prove(view: View, _: Any) -> None:
        problem = key_problem(view.connection, services.ledger.vault, keyring)
        if problem:
            raise MasterKeyError(problem)
        put_proof(view.connection, services.ledger.vault, keyring, view.now)

    started: list[Step] = [servers.start(found, settings)]
    if keys.active is None:
        started.append(mac_keys.tell_of_first(services.ledger.ring))
    await services.ledger.execute(*started, origin=Origin(SYSTEM), then=prove)
