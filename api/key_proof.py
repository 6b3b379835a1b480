"""By what a wrong master key shows before anything is written with it: a named secret that it must open."""

from eventstore import indexing_key
from eventstore.asking import Connection
from eventstore.mac_keys import WRONG_KEY
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
        return WRONG_KEY
    if proof is not None and proof.value.decode() != keyring.derivation_id:
        return "the oldest master key is missing: blind indexes come from it until the projections are rebuilt"
    if indexing_key.told(connection) not in (None, keyring.derivation_id):
        return "another master key is being retired: finish `grantlog keys retire` with the key alone that stays"
    return None


def finish_indexing(connection: Connection, vault: Vault, keyring: Keyring, now: Moment) -> None:
    """All blind indexes come from the keyring's oldest key: from here on a start needs it."""
    vault.put_secret(connection, PROOF, keyring.derivation_id.encode(), now)
