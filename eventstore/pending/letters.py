"""Mail to people that no mail server has taken yet: taken by one process at a time, and tried until it is handed on.

Rows are no facts and go as soon as the letter has. What is in a letter is put into words when it is sent, from what is
known then; the row holds, sealed, which letter it is and the link in it. An altered row counts as none, and goes.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from domain.event import Moment
from domain.people.notices import NoticeKind
from eventstore.pending.mailed_links import LinkPurpose
from eventstore.stored import letters as table
from projections.prepared import Prepared
from security.keyring import MasterKeyError, WrapBroken
from security.vault import Vault

log = structlog.get_logger(__name__)

LetterKind = LinkPurpose | NoticeKind | Literal["registered_already"]


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """A letter to a person, by their address as the log has it, or `to` another. `link` is the secret in its link;
    nobody needs the letter after `expires_at`. `position` is that of the event which it tells of. Without an
    `account_id` it is to nobody, and is only kept for the time that it takes."""

    kind: LetterKind
    account_id: str
    expires_at: Moment
    link: str | None = None
    to: str | None = None
    told: Mapping[str, str] = {}
    position: int | None = None

    def __repr__(self) -> str:
        return f"Letter({self.kind})"


class ClaimedLetter(NamedTuple):
    """A letter that one process has taken upon itself; `attempt` counts from 1."""

    letter_id: str
    attempt: int
    letter: Letter


class Waiting(NamedTuple):
    """How many letters wait, and since when the oldest does."""

    letters: int
    since: Moment | None


_decode = msgspec.msgpack.Decoder(Letter).decode
_THIS = table.c.letter_id == bindparam("b_letter_id")
_DUE = select(table).where(table.c.due_at <= bindparam("b_now")).order_by(table.c.due_at).limit(bindparam("b_limit"))
_TAKE = update(table).where(_THIS).values(due_at=bindparam("due_at"), attempts=table.c.attempts + 1)
# An attempt that took longer than its lease is no longer the newest, and what came of it decides nothing.
_AGAIN = update(table).where(_THIS, table.c.attempts == bindparam("b_attempt")).values(due_at=bindparam("due_at"))
_DONE = Prepared(delete(table).where(_THIS))
_IS_DUE = Prepared(_DUE)
_TO = select(func.count()).select_from(table).where(table.c.account_id == bindparam("b_account_id"))
_WAITING = select(func.count(), func.min(table.c.made_at)).select_from(table)


def put(
    connection: Connection, vault: Vault, letter_id: str, letter: Letter, now: Moment, due_at: Moment | None = None
) -> None:
    """Has a letter sent, at once or when it is due unless it is removed before."""
    row = {
        "letter_id": letter_id,
        "account_id": letter.account_id,
        "made_at": now,
        "due_at": now if due_at is None else due_at,
        "attempts": 0,
        "sealed": vault.seal_row(table.name, letter_id, msgspec.msgpack.encode(letter)),
    }
    connection.execute(insert(table), row)


def count_to(connection: Connection, account_id: str) -> int:
    """How many letters to a person wait."""
    return connection.scalar(_TO, {"b_account_id": account_id}) or 0


def is_due(connection: Connection, now: Moment) -> bool:
    """Whether there is a letter to send."""
    return _IS_DUE.first(connection, {"b_now": now, "b_limit": 1}) is not None


def claim(connection: Connection, vault: Vault, now: Moment, lease_until: Moment, limit: int) -> list[ClaimedLetter]:
    """Takes what is due. Nobody else gets it before the lease ends. Needs the ledger's turn."""
    found = []
    for row in connection.execute(_DUE, {"b_now": now, "b_limit": limit}).all():
        try:
            letter = _decode(vault.open_row(table.name, row.letter_id, bytes(row.sealed)))
        except (WrapBroken, MasterKeyError, msgspec.DecodeError):
            log.error("a letter was altered in the database, and is dropped", letter_id=row.letter_id)
            remove(connection, row.letter_id)
            continue
        connection.execute(_TAKE, {"b_letter_id": row.letter_id, "due_at": lease_until})
        found.append(ClaimedLetter(row.letter_id, row.attempts + 1, letter))
    return found


def put_off(connection: Connection, claimed: ClaimedLetter, again_at: Moment) -> None:
    """It was not sent, and is tried again then."""
    connection.execute(_AGAIN, {"b_letter_id": claimed.letter_id, "b_attempt": claimed.attempt, "due_at": again_at})


def remove(connection: Connection, letter_id: str) -> None:
    """It was sent, or never will be."""
    _DONE.run(connection, ({"b_letter_id": letter_id},))


def remove_of(connection: Connection, account_id: str) -> None:
    """Nothing is sent to an erased person any more."""
    connection.execute(delete(table).where(table.c.account_id == account_id))


def waiting(connection: Connection) -> Waiting:
    """What waits."""
    count, since = connection.execute(_WAITING).one()
    return Waiting(count, since)
