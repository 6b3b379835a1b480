"""Sign-ins to the console, each under the digest of the secret in its browser's cookie.

A row is no fact: what the person does is, and each of their tokens has its own. It is sealed for that very digest, so
anyone who writes to the table is signed in nowhere, and what a stolen copy of it holds opens nothing.
"""

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from domain.event import Moment
from eventstore.stored import console_sessions as table
from security.keyring import MasterKeyError, WrapBroken
from security.vault import Vault


class ConsoleSession(msgspec.Struct, frozen=True, array_like=True):
    """Somebody who is signed in. `form_secret` is what their forms' tokens are made from, `scope` what their token may
    do."""

    account_id: str
    name: str
    access_token: str
    access_expires_at: Moment
    refresh_token: str
    scope: tuple[str, ...]
    id_token: str
    form_secret: str
    started_at: Moment
    expires_at: Moment

    def __repr__(self) -> str:
        return "ConsoleSession()"


class KeptSession(msgspec.Struct, frozen=True):
    """A session as its row has it."""

    session: ConsoleSession
    used_at: Moment
    claimed_until: Moment


_decode = msgspec.msgpack.Decoder(ConsoleSession).decode
_IS = table.c.session == bindparam("b_session")
_FIND = select(table.c.sealed, table.c.used_at, table.c.expires_at, table.c.claimed_until).where(_IS)
_DELETE = delete(table).where(_IS)
_CLAIM = (
    update(table).where(_IS, table.c.claimed_until <= bindparam("b_now")).values(claimed_until=bindparam("b_until"))
)
_TOUCH = update(table).where(_IS).values(used_at=bindparam("b_now"))
_DUE = select(table.c.session).where(table.c.expires_at <= bindparam("b_now")).limit(bindparam("b_limit"))


def put(connection: Connection, vault: Vault, digest: bytes, session: ConsoleSession, now: Moment) -> None:
    """Keeps a session in place of what its row held."""
    connection.execute(_DELETE, {"b_session": digest})
    row = {
        "session": digest,
        "used_at": now,
        "expires_at": session.expires_at,
        "claimed_until": 0,
        "sealed": vault.seal_row(table.name, digest.hex(), msgspec.msgpack.encode(session)),
    }
    connection.execute(insert(table), row)


def find(connection: Connection, vault: Vault, digest: bytes) -> KeptSession | None:
    """The session with this digest, however old; None for none, and for what was altered."""
    row = connection.execute(_FIND, {"b_session": digest}).first()
    if row is None:
        return None
    try:
        session = _decode(vault.open_row(table.name, digest.hex(), bytes(row.sealed)))
    except (WrapBroken, MasterKeyError, msgspec.DecodeError):
        return None
    return KeptSession(session, row.used_at, row.claimed_until)


def claim(connection: Connection, digest: bytes, now: Moment, until: Moment) -> bool:
    """Lets one process alone refresh a session's tokens; whether it is this one."""
    return connection.execute(_CLAIM, {"b_session": digest, "b_now": now, "b_until": until}).rowcount == 1


def touch(connection: Connection, digest: bytes, now: Moment) -> None:
    """Notes that a session is in use."""
    connection.execute(_TOUCH, {"b_session": digest, "b_now": now})


def remove(connection: Connection, digest: bytes) -> None:
    """Forgets a session."""
    connection.execute(_DELETE, {"b_session": digest})


def prune(connection: Connection, before: Moment, limit: int) -> int:
    """Removes at most so many that are over; how many."""
    due = list(connection.scalars(_DUE, {"b_now": before, "b_limit": limit}))
    if due:
        connection.execute(delete(table).where(table.c.session.in_(due)))
    return len(due)
