"""Authorization requests that clients pushed (RFC 9126), each kept under the digest of its reference until it is over.

Rows are no facts and go by themselves. Each is sealed for that very reference, so anyone who writes to the table asks
nobody for anything; that a request was answered stands in its stream, so an old row put back answers nothing again.
"""

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select

from domain.event import SECOND, Moment
from eventstore.stored import pushed_requests as table
from eventstore.view import Folds
from security.keyring import MasterKeyError, WrapBroken
from security.vault import Vault

ANONYMOUS_AT_MOST = 10_000
"""Requests of clients that proved nothing which are kept at a time."""

OPENED_LASTS = 600
"""Seconds for which anyone who opened a request in time may take until it is answered."""

_FIND = select(table.c.sealed).where(table.c.request_uri == bindparam("b_request_uri"))
_ANONYMOUS = select(func.count()).where(table.c.anonymous, table.c.prune_at > bindparam("b_now"))
_PRUNE = delete(table).where(
    table.c.request_uri.in_(
        select(table.c.request_uri)
        .where(table.c.prune_at <= bindparam("b_now"))
        .order_by(table.c.prune_at)
        .limit(bindparam("b_limit"))
    )
)


class PushedRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request as it was pushed: `query` are its parameters, form-encoded, without what authenticated the client.

    It can be opened until `expires_at`, and be answered by anyone who opened it for `OPENED_LASTS` seconds more.
    """

    request_id: str
    client_id: str
    expires_at: Moment
    query: bytes


def keep(
    connection: Connection, vault: Vault, request_uri: bytes, kept: PushedRequest, *, now: Moment, anonymous: bool
) -> bool:
    """Keeps a request under its reference's digest; False where there are too many of clients that proved nothing."""
    if anonymous and (connection.scalar(_ANONYMOUS, {"b_now": now}) or 0) >= ANONYMOUS_AT_MOST:
        return False
    sealed = vault.seal_row(table.name, request_uri.hex(), msgspec.msgpack.encode(kept))
    row = {
        "request_uri": request_uri,
        "anonymous": anonymous,
        "prune_at": kept.expires_at + OPENED_LASTS * SECOND,
        "sealed": sealed,
    }
    connection.execute(insert(table), row)
    return True


def find(folds: Folds, vault: Vault, request_uri: bytes, now: Moment) -> PushedRequest | None:
    """The request with that reference; None for none, for one that is over, and for what was altered."""
    sealed = folds.connection.scalar(_FIND, {"b_request_uri": request_uri})
    if sealed is None:
        return None
    try:
        octets = vault.open_row(table.name, request_uri.hex(), bytes(sealed))
    except (WrapBroken, MasterKeyError):
        return None
    found = msgspec.msgpack.decode(octets, type=PushedRequest)
    return found if now < found.expires_at + OPENED_LASTS * SECOND else None


def prune(connection: Connection, before: Moment, limit: int) -> int:
    """Removes at most so many requests that are over; how many."""
    return connection.execute(_PRUNE, {"b_now": before, "b_limit": limit}).rowcount
