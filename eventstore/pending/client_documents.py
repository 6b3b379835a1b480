"""Client ID metadata documents as they were fetched, for all workers and nodes, and which hosts were asked just now.

Rows are no facts and go by themselves: what a client is registered with is one. A row is sealed for its address, so
anyone who writes to the table describes nobody. Of failures nothing is kept but that the host was asked.
"""

from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.event import SECOND, Moment
from eventstore.stored import INSERTS, metadata
from eventstore.view import Folds
from security.keyring import MasterKeyError, WrapBroken
from security.tokens import digest
from security.vault import Vault

TABLE = sa.Table(
    "client_documents",
    metadata,
    sa.Column("sha256", sa.LargeBinary(32), primary_key=True),
    sa.Column("fresh_until", sa.BigInteger, nullable=False),
    sa.Column("prune_at", sa.BigInteger, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Index("ix_client_documents_prune_at", "prune_at"),
)
"""By the digest of an address, or of a host, whose row has no document."""

AT_MOST = 10_000
"""Rows that are kept at a time."""

HOST_RESTS = 60
"""Seconds between two requests to a host."""

STALE_LASTS = 86_400
"""Seconds for which a document is kept beyond its time, for when its host may not be asked."""

_FIND = sa.select(TABLE.c.fresh_until, TABLE.c.sealed).where(TABLE.c.sha256 == sa.bindparam("b_sha256"))
_COUNT = sa.select(sa.func.count()).select_from(TABLE)
_PRUNE = sa.delete(TABLE).where(
    TABLE.c.sha256.in_(
        sa.select(TABLE.c.sha256)
        .where(TABLE.c.prune_at <= sa.bindparam("b_now"))
        .order_by(TABLE.c.prune_at)
        .limit(sa.bindparam("b_limit"))
    )
)


class KeptDocument(NamedTuple):
    """A document and until when it need not be fetched again."""

    body: bytes
    fresh_until: Moment


def find(folds: Folds, vault: Vault, uri: str) -> KeptDocument | None:
    """The document that was had from an address; None for none, and for what was altered."""
    sha256 = _of_document(uri)
    row = folds.connection.execute(_FIND, {"b_sha256": sha256}).first()
    if row is None or row.sealed is None:
        return None
    try:
        return KeptDocument(vault.open_row(TABLE.name, sha256.hex(), bytes(row.sealed)), row.fresh_until)
    except (WrapBroken, MasterKeyError):
        return None


def claim(connection: Connection, host: str, now: Moment) -> Literal["claimed", "rests", "full"]:
    """Takes a host's turn, in the ledger's turn: it is asked once within `HOST_RESTS`, no matter who wants to."""
    sha256 = digest(f"host\0{host}")
    row = connection.execute(_FIND, {"b_sha256": sha256}).first()
    if row is not None and now < row.fresh_until <= now + HOST_RESTS * SECOND:
        return "rests"
    if row is None and (connection.scalar(_COUNT) or 0) >= AT_MOST:
        return "full"
    _put(connection, sha256, now + HOST_RESTS * SECOND, now + HOST_RESTS * SECOND, None)
    return "claimed"


def keep(connection: Connection, vault: Vault, uri: str, kept: KeptDocument) -> None:
    """Keeps a document that was fetched, in the place of an older one."""
    sha256 = _of_document(uri)
    sealed = vault.seal_row(TABLE.name, sha256.hex(), kept.body)
    _put(connection, sha256, kept.fresh_until, kept.fresh_until + STALE_LASTS * SECOND, sealed)


def forget(connection: Connection, uri: str) -> None:
    """Removes a document that could not be had anew."""
    connection.execute(sa.delete(TABLE).where(TABLE.c.sha256 == _of_document(uri)))


def prune(connection: Connection, before: Moment, limit: int) -> int:
    """Removes at most so many rows whose time is over; how many."""
    return connection.execute(_PRUNE, {"b_now": before, "b_limit": limit}).rowcount


def _of_document(uri: str) -> bytes:
    return digest(f"document\0{uri}")


def _put(connection: Connection, sha256: bytes, fresh_until: Moment, prune_at: Moment, sealed: bytes | None) -> None:
    values = {"fresh_until": fresh_until, "prune_at": prune_at, "sealed": sealed}
    insertion = INSERTS[connection.dialect.name](TABLE).values(sha256=sha256, **values)
    connection.execute(insertion.on_conflict_do_update(index_elements=[TABLE.c.sha256], set_=values))
