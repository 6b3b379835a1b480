"""Refuses a wrong or retired master key before anything is written with it."""

from sqlalchemy import Connection, select, update

from eventstore.database import Connection as DatabaseConnection
from eventstore.execution import DatabaseAway
from eventstore.keys.mac_keys import WRONG_KEY
from eventstore.stored import head
from projections.prepared import Prepared
from security.clock import Moment
from security.keyring import Keyring, MasterKeyError, WrapBroken
from security.vault import Vault

# Whoever computes blind indexes with a retired master key must not write: nobody would find anything by them.

_INDEXED_BY = Prepared(select(head.c.indexed_by).where(head.c.id == 1))


def told(connection: Connection) -> str | None:
    """The id of the master key that the blind indexes come from; None as long as none was retired."""
    row = _INDEXED_BY.first(connection, {})
    found: str | None = None if row is None else row[0]
    return found


def tell(connection: Connection, own: str) -> None:
    """From this transaction's end on nobody writes who has another key for that."""
    connection.execute(update(head).where(head.c.id == 1).values(indexed_by=own))


def require(found: str | None, own: str) -> None:
    """Raises DatabaseAway when the log's head tells of another key than this process has."""
    if found not in (None, own):
        raise DatabaseAway("the blind indexes come from another master key by now")


def require_still(connection: Connection, own: str) -> None:
    """The same for a transaction that has not read the head."""
    require(told(connection), own)


# By what a wrong master key shows before anything is written with it: a named secret that it must open.

PROOF = "master-key"


def put_proof(connection: DatabaseConnection, vault: Vault, keyring: Keyring, now: Moment) -> None:
    """Leaves the proof unless it is there, in the transaction that makes the first wrap."""
    if vault.get_secret(connection, PROOF) is None:
        vault.put_secret(connection, PROOF, keyring.derivation_id.encode(), now)


def key_problem(connection: DatabaseConnection, vault: Vault, keyring: Keyring) -> str | None:
    """Why this master key does not belong to this vault; None when it does."""
    try:
        proof = vault.get_secret(connection, PROOF)
    except MasterKeyError as error:
        return str(error)
    except WrapBroken:
        return WRONG_KEY
    if proof is not None and proof.value.decode() != keyring.derivation_id:
        return "the oldest master key is missing: blind indexes come from it until the projections are rebuilt"
    if told(connection) not in (None, keyring.derivation_id):
        return "another master key is being retired: finish `grantlog keys retire` with the key alone that stays"
    return None


def finish_indexing(connection: DatabaseConnection, vault: Vault, keyring: Keyring, now: Moment) -> None:
    """All blind indexes come from the keyring's oldest key: from here on a start needs it."""
    vault.put_secret(connection, PROOF, keyring.derivation_id.encode(), now)
