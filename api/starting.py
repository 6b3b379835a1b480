"""What a start checks and records: that the master key is this vault's, and with which settings the server runs."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import Connection

from api.services import Services
from api.settings_page import effective
from domain import server
from domain.event import Actor
from eventstore.commands import Command, Origin
from eventstore.view import View
from security.keyring import Keyring, MasterKeyError, WrapBroken
from security.vault import Vault

PROOF = "master-key"
"""The vault's named secret by which a wrong master key shows before anything is written with it."""

SYSTEM = Actor("system", None, {"user": "server"})


def running_version() -> str:
    """The installed version of Grantlog."""
    try:
        return version("grantlog")
    except PackageNotFoundError:
        return "unknown"


async def record_start(here: Services, keyring: Keyring) -> None:
    """Proves the master key and records the start, once for each set of settings: workers alike are one fact.

    Raises `MasterKeyError` when the vault was made with another key.
    """
    settings: Any = effective(here.settings)
    state: server.State = await here.ledger.state(server.STREAM)
    found = running_version()
    if state.settings == settings and state.version == found:
        problem = await here.ledger.read(key_problem, here.ledger.vault, keyring)
        if problem:
            raise MasterKeyError(problem)
        return

    def prove(view: View, _: Any) -> None:
        if here.ledger.vault.get_secret(view.connection, PROOF) is None:
            here.ledger.vault.put_secret(view.connection, PROOF, keyring.derivation_id.encode(), view.now)
        problem = key_problem(view.connection, here.ledger.vault, keyring)
        if problem:
            raise MasterKeyError(problem)

    await here.ledger.execute(
        Command(server.STREAM, server.start, {"version": found, "settings": settings}),
        origin=Origin(SYSTEM),
        then=prove,
    )


def key_problem(connection: Connection, vault: Vault, keyring: Keyring) -> str | None:
    """Why this master key does not belong to this vault; None when it does."""
    try:
        proof = vault.get_secret(connection, PROOF)
    except WrapBroken:
        return "the master key does not open this database's vault: start with the key that it was made with"
    if proof is not None and proof.value.decode() != keyring.derivation_id:
        return "the oldest master key is missing: blind indexes come from it until the projections are rebuilt"
    return None
