"""By what a wrong master key shows before anything is written with it: a named secret that it must open."""

from sqlalchemy import Connection

from security.clock import Moment
from security.keyring import Keyring, MasterKeyError, WrapBroken
from security.vault import Vault

PROOF = "master-key"


def put_proof(connection: Connection, vault: Vault, keyring: Keyring, now: Moment) -> None:
    """Leaves the proof unless it is there, in the transaction that makes the first wrap."""
    if vault.get_secret(connection, PROOF) is None:
        vault.put_secret(connection, PROOF, keyring.derivation_id.encode(), now)


def key_problem(connection: Connection, vault: Vault, keyring: Keyring) -> str | None:
    """Why this master key does not belong to this vault; None when it does."""
    try:
        proof = vault.get_secret(connection, PROOF)
    except MasterKeyError as error:
        return str(error)
    except WrapBroken:
        return "the master key does not open this database's vault: start with the key that it was made with"
    if proof is not None and proof.value.decode() != keyring.derivation_id:
        return "the oldest master key is missing: blind indexes come from it until the projections are rebuilt"
    return None
