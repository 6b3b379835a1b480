"""Whether this process may write: with the right master key, and by a clock that goes right; and may destroy."""

from sqlalchemy import Connection, select, text, update

from eventstore import search
from eventstore.mapper import WRONG_KEY
from eventstore.recorder import DATABASE_TIME
from eventstore.repository import newest
from eventstore.stored import head
from eventstore.unavailable import DatabaseAway, Forged, WrongClock
from projections.prepared import Prepared
from security.clock import DAY, Clock, Moment
from security.keyring import Keyring, MasterKeyError, WrapBroken
from security.vault import Vault

# Anyone who computes blind indexes with a retired master key must not write: nobody would find anything by them.

_INDEXED_BY = Prepared(select(head.c.indexed_by).where(head.c.id == 1))


def indexing_key(connection: Connection) -> str | None:
    """The id of the master key that the blind indexes come from; None as long as none was retired."""
    row = _INDEXED_BY.first(connection, {})
    found: str | None = None if row is None else row[0]
    return found


def set_indexing_key(connection: Connection, own: str) -> None:
    """From this transaction's end on nobody writes who has another key for that."""
    connection.execute(update(head).where(head.c.id == 1).values(indexed_by=own))


def require_key(found: str | None, own: str) -> None:
    """Raises DatabaseAway when the log's head tells of another key than this process has."""
    if found not in (None, own):
        raise DatabaseAway("the blind indexes come from another master key by now")


def require_key_still(connection: Connection, own: str) -> None:
    """The same for a transaction that has not read the head."""
    require_key(indexing_key(connection), own)


# By what a wrong master key shows before anything is written with it: a named secret that it must open.

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
    if indexing_key(connection) not in (None, keyring.derivation_id):
        return "another master key is being retired: finish `grantlog keys retire` with the key alone that stays"
    return None


def finish_indexing(connection: Connection, vault: Vault, keyring: Keyring, now: Moment) -> None:
    """All blind indexes come from the keyring's oldest key: from here on a start needs it."""
    vault.put_secret(connection, PROOF, keyring.derivation_id.encode(), now)


# Whether this machine's clock may give events their time: it is held against the log's and against the database's.


_DATABASE_TIME = Prepared(text(f"SELECT {DATABASE_TIME}"))


def require_clock(clock: Clock, connection: Connection, newest_at: Moment) -> None:
    """Raises `WrongClock` if there still is a fault: the lock may have been waited for after the clock was read."""
    if found := clock.fault(newest_at, _database_time(connection)):
        raise WrongClock(found)


def clock_fault(connection: Connection, clock: Clock) -> str | None:
    """What is wrong with this machine's clock, in words; None if nothing is."""
    newest_at = _newest_at(connection)
    return clock.fault(newest_at, _database_time(connection)) and clock.fault(newest_at, _database_time(connection))


def certain(connection: Connection, clock: Clock) -> Moment:
    """A moment that has come for certain: what cannot be undone is held against it, so that no clock that jumps brings
    it about. It is now, but for minutes after the start of a server that was off, and for days after the log's time
    has leapt. Raises `Forged`.
    """
    position, _ = newest(connection)
    now = clock.now()
    before = search.first_at(connection, now - DAY, position) - 1
    # A log that is younger than a day counts from its first event.
    reached = search.times_at(connection, (max(1, before),))
    # The day since counts as well: a leap takes no more than that of anybody's time to think it over.
    return clock.certain(next(iter(reached.values()), 0) + DAY)


def _newest_at(connection: Connection) -> Moment:
    """The time of the log's newest event, as the event says: what the head's row says is nobody's word for it."""
    position, _ = newest(connection)
    try:
        state = search.stored(connection, position)
    except Forged:
        # The log says so, and nothing is written behind it.
        return 0
    return 0 if state is None else search.time_of(state)


def _database_time(connection: Connection) -> Moment | None:
    if connection.dialect.name == "sqlite":
        return None
    row = _DATABASE_TIME.first(connection, {})
    return None if row is None else int(row[0])
