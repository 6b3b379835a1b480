"""Tokens and codes by digest: where in the log live validation, revocation and redemption have to look.

A row leaves when nothing can be asked about it that matters: an access or refresh token when it has expired, a code
when it has, or, once redeemed, when its grant's tokens have, since presenting it again must still end the grant.
The log keeps the facts, and `projections.digests` where in it they stand.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from domain.event import SECOND, Event, Moment, Recorded
from domain.grant import TokenRevoked, TokensIssued, TokensRefreshed
from domain.grant_code import CodeIssued
from domain.rules import validity
from projections import digests
from projections.by_digest import ByDigest
from projections.schema import metadata
from projections.write import Write

TABLE = Table(
    "tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("grant_id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("account_id", Text),
    Column("secret_id", Text),
    Column("scope", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("prune_at", BigInteger, nullable=False),
    Column("ended_position", BigInteger),
    Index(None, "prune_at"),
    Index(None, "client_id", "position"),
)
"""On SQLite rows stand in the order of their issue and only an index is sorted by digest: a new digest belongs anywhere
among the others, and a place in an index takes a fraction of the pages that one among the rows would take. What a
client has is counted by the index of clients, see `projections.blast_radius`."""

VERSION = 1
HORIZON = "prune_at"
"""Rows whose horizon has passed may be gone, so nothing can be concluded from their absence."""

HANDLES: tuple[type[Event], ...] = (CodeIssued, TokensIssued, TokensRefreshed, TokenRevoked)

COLUMNS = tuple(str(column.key) for column in TABLE.columns)
INSERT = insert(TABLE)
REDEEM = (
    update(TABLE)
    .where(TABLE.c.digest == bindparam("b_digest"))
    .values(ended_position=bindparam("ended_position"), prune_at=bindparam("prune_at"))
)
REVOKE = update(TABLE).where(TABLE.c.digest == bindparam("b_digest")).values(ended_position=bindparam("ended_position"))


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """A row for each new secret, and the single ends of codes and access tokens."""
    event = recorded.event
    match event:
        case CodeIssued():
            yield _row(recorded, "code", event.code, event.lifetime)
        case TokensIssued() | TokensRefreshed():
            yield _row(recorded, "access", event.access_token, event.lifetime)
            if event.refresh_token is not None and event.refresh_lifetime is not None:
                yield _row(recorded, "refresh", event.refresh_token, event.refresh_lifetime)
            if isinstance(event, TokensIssued) and event.code is not None:
                yield _redeemed(recorded, event, event.code)
        case TokenRevoked():
            digest = bytes.fromhex(event.access_token)
            params = {"b_digest": digest, "ended_position": recorded.position}
            yield Write(REVOKE, params, ("tokens", digest))


def settle(write: Write, now: Moment) -> Write:
    """What becomes of a row in a replay: one that would be pruned by now goes to `projections.digests` at once.

    A code's row may still be redeemed, which prolongs it, so it is left to the next pruning.
    """
    params = write.params
    if write.statement is not INSERT or params["kind"] == "code" or params["prune_at"] >= now:
        return write
    return digests.row(params["digest"], params["position"])


def _row(recorded: Recorded, kind: validity.Kind, sha256: str, lifetime: int) -> Write:
    event, digest = recorded.event, bytes.fromhex(sha256)
    expires_at = recorded.time + lifetime * SECOND
    params = {
        "digest": digest,
        "kind": kind,
        "grant_id": recorded.stream.partition(":")[2],
        "client_id": event.client_id,
        "account_id": event.account_id,
        "secret_id": None if kind == "code" else event.secret_id,
        "scope": event.scope,
        "position": recorded.position,
        "issued_at": recorded.time,
        "expires_at": expires_at,
        "prune_at": expires_at,
        "ended_position": None,
    }
    return Write(INSERT, params, ("tokens", digest))


def _redeemed(recorded: Recorded, event: TokensIssued, code: str) -> Write:
    digest = bytes.fromhex(code)
    lifetime = max(event.lifetime, event.refresh_ends_in or 0)
    params = {
        "b_digest": digest,
        "ended_position": recorded.position,
        "prune_at": recorded.time + lifetime * SECOND,
    }
    return Write(REDEEM, params, ("tokens", digest))


_PLACE = ByDigest(select(TABLE.c.digest, TABLE.c.position), TABLE.c.digest)
_GRANT_OF = ByDigest(select(TABLE.c.digest, TABLE.c.grant_id), TABLE.c.digest)


def positions(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """Of those of the digests that have a row, where it says that they were issued."""
    return {bytes(digest): position for digest, position in _PLACE.all(connection, digests)}


def grants_of(connection: Connection, digests: Sequence[bytes]) -> list[tuple[bytes, str]]:
    """Digest and `grant_id`, as the rows say, of those of the codes and tokens that have one."""
    return [(bytes(digest), grant_id) for digest, grant_id in _GRANT_OF.all(connection, digests)]


_DUE = select(TABLE.c.digest, TABLE.c.position).where(TABLE.c.prune_at < bindparam("before"))
_PRUNE = delete(TABLE).where(TABLE.c.digest == bindparam("b_digest"))


def prune(connection: Connection, before: Moment, limit: int = 500) -> int:
    """Deletes at most `limit` rows that were due before a moment, and says how many; zero when none is left.

    Where each was issued is kept for ever, see `projections.digests`.
    """
    due = connection.execute(_DUE.order_by(TABLE.c.prune_at).limit(limit), {"before": before}).all()
    if due:
        digests.keep(connection, [(row.digest, row.position) for row in due])
        connection.execute(_PRUNE, [{"b_digest": row.digest} for row in due])
    return len(due)
