"""Tokens and codes by digest: where in the log live validation, revocation and redemption have to look.

A row leaves when nothing can be asked about it that matters: an access or refresh token when it has expired, a code
when it has, or, once redeemed, when its grant's tokens have, since presenting it again must still end the grant.
The log keeps the facts, and `projections.digests` where in it they stand.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from domain.event import SECOND, Event, Moment, Recorded
from domain.exchange import Exchanged
from domain.grant import (
    AccessTokenIssued,
    CodeIssued,
    DeviceApproved,
    TokenRevoked,
    TokensIssued,
    TokensRefreshed,
    is_one_token,
)
from domain.grants import validity
from projections import digests
from projections.digests import ByDigest
from projections.prepared import Prepared
from projections.tables import Write, metadata

_ALONE = sa.text("alone = 1")

TABLE = sa.Table(
    "tokens",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("grant_id", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("account_id", sa.Text),
    sa.Column("secret_id", sa.Text),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("alone", sa.SmallInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("prune_at", sa.BigInteger, nullable=False),
    sa.Column("ended_position", sa.BigInteger),
    sa.Index(None, "prune_at"),
    sa.Index(None, "client_id", "position"),
    sa.Index(None, "position", postgresql_where=_ALONE, sqlite_where=_ALONE),
)
"""On SQLite rows stand in the order of their issue and only an index is sorted by digest: a new digest belongs anywhere
among the others, and a place in an index takes a fraction of the pages that one among the rows would take. What a
client has is counted by the index of clients, see `projections.blast_radius`. `alone` is 1 where the token began as all
there is of its grant: that has a row of `projections.grants` from the event on that makes more of it."""

VERSION = 1
HORIZON = "prune_at"
"""Rows whose horizon has passed may be gone, so nothing can be concluded from their absence."""

HANDLES: tuple[type[Event], ...] = (
    CodeIssued,
    DeviceApproved,
    TokensIssued,
    TokensRefreshed,
    AccessTokenIssued,
    Exchanged,
    TokenRevoked,
)

COLUMNS = tuple(str(column.key) for column in TABLE.columns)
INSERT = sa.insert(TABLE)
_INSERT = Prepared(INSERT)
REDEEM = (
    sa.update(TABLE)
    .where(TABLE.c.digest == sa.bindparam("b_digest"))
    .values(ended_position=sa.bindparam("ended_position"), prune_at=sa.bindparam("prune_at"))
)
REVOKE = (
    sa.update(TABLE)
    .where(TABLE.c.digest == sa.bindparam("b_digest"))
    .values(ended_position=sa.bindparam("ended_position"))
)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """A row for each new secret, and the single ends of codes and access tokens."""
    event = recorded.event
    match event:
        case CodeIssued() | DeviceApproved():
            yield _row(recorded, "code", event.code, event.lifetime)
        case TokensIssued() | TokensRefreshed():
            yield _row(recorded, "access", event.access_token, event.lifetime)
            if event.refresh_token is not None and event.refresh_lifetime is not None:
                yield _row(recorded, "refresh", event.refresh_token, event.refresh_lifetime)
            if isinstance(event, TokensIssued) and event.code is not None:
                yield _redeemed(recorded, event, event.code)
        case Exchanged() | AccessTokenIssued():
            yield _row(recorded, "access", event.access_token, event.lifetime)
        case TokenRevoked():
            digest = bytes.fromhex(event.access_token)
            params = {"b_digest": digest, "ended_position": recorded.position}
            yield Write(REVOKE, params, ("tokens", digest))


def insert_alone(connection: sa.Connection, recorded: Sequence[Recorded]) -> None:
    """Inserts what `project` gives for first events of grants that are one access token, all at once."""
    # In the order of the columns.
    rows = [
        (
            bytes.fromhex(each.event.access_token),
            "access",
            each.stream.partition(":")[2],
            each.event.client_id,
            each.event.account_id,
            each.event.secret_id,
            each.event.scope,
            1,
            each.position,
            each.time,
            (ends := each.time + each.event.lifetime * SECOND),
            ends,
            None,
        )
        for each in recorded
    ]
    _INSERT.insert(connection, COLUMNS, rows)


def settle(write: Write, now: Moment) -> Write:
    """What becomes of a row in a replay: one that is due goes to `digests`, but for a code's, which may go on."""
    params = write.params
    if write.statement is not INSERT or params["kind"] == "code" or params["prune_at"] >= now:
        return write
    return digests.row(params["digest"], params["position"])


def _row(recorded: Recorded, kind: validity.TokenKind, sha256: str, lifetime: int) -> Write:
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
        "alone": int(isinstance(event, TokensIssued) and is_one_token(event.grant_type, event.refresh_token)),
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


_PLACE = ByDigest(sa.select(TABLE.c.digest, TABLE.c.position), TABLE.c.digest)
_GRANT_OF = ByDigest(sa.select(TABLE.c.digest, TABLE.c.grant_id), TABLE.c.digest)


def positions(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """Of those of the digests that have a row, where it says that they were issued."""
    return {bytes(digest): position for digest, position in _PLACE.all(connection, digests)}


def grants_of(connection: sa.Connection, digests: Sequence[bytes]) -> list[tuple[bytes, str]]:
    """Digest and `grant_id`, as the rows say, of those of the codes and tokens that have one."""
    return [(bytes(digest), grant_id) for digest, grant_id in _GRANT_OF.all(connection, digests)]


_NEWEST = (
    sa.select(TABLE.c.position, TABLE.c.expires_at)
    .where(TABLE.c.client_id == sa.bindparam("b_client_id"), TABLE.c.expires_at > sa.bindparam("b_now"))
    .where(TABLE.c.kind == "access")
    .order_by(TABLE.c.position.desc())
)


def newest_access_tokens(connection: sa.Connection, client_id: str, now: Moment, limit: int) -> dict[int, Moment]:
    """Where the newest access tokens of a client were issued that have not expired, and when they will."""
    rows = connection.execute(_NEWEST.limit(limit), {"b_client_id": client_id, "b_now": now})
    return {row.position: row.expires_at for row in rows}


_DUE = sa.select(TABLE.c.digest).where(TABLE.c.prune_at < sa.bindparam("before")).order_by(TABLE.c.prune_at)
_PRUNE = (
    sa.delete(TABLE)
    .where(TABLE.c.digest.in_(_DUE.limit(sa.bindparam("at_most", type_=sa.BigInteger))))
    .returning(TABLE.c.digest, TABLE.c.position)
)


def prune(connection: sa.Connection, before: Moment, limit: int = 500) -> int:
    """Deletes at most `limit` rows that were due before a moment, and keeps their digests for ever; says how many."""
    pruned = connection.execute(_PRUNE, {"before": before, "at_most": limit}).all()
    if pruned:
        # Those that are neighbours in the index are put there one after the other.
        digests.keep(connection, sorted((row.digest, row.position) for row in pruned))
    return len(pruned)


# A long stretch of the log as token rows at once: what `tokens.project` and `tokens.settle` give event by event.

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Data(msgspec.Struct, gc=False):
    """The members of the events that a row is made of, each absent from some of them."""

    client_id: str = ""
    account_id: str | None = None
    secret_id: str | None = None
    scope: str = ""
    grant_type: str = ""
    access_token: str | None = None
    lifetime: int = 0
    refresh_token: str | None = None
    refresh_lifetime: int | None = None
    refresh_ends_in: int | None = None
    code: str | None = None


class Leaf(msgspec.Struct, gc=False):
    """What is read of a stored form."""

    position: int
    type: str
    stream: str
    time: datetime
    data: _Data


class _Over(dict[int, datetime]):
    """By lifetime, before which time something was issued that has expired by now."""

    def __init__(self, now: Moment) -> None:
        self._now = _EPOCH + now * _MICROSECOND

    def __missing__(self, lifetime: int) -> datetime:
        found = self[lifetime] = self._now - timedelta(seconds=lifetime)
        return found


def _moment(leaf: Leaf) -> Moment:
    return (leaf.time - _EPOCH) // _MICROSECOND


class BulkRows:
    """Gathers the rows of a stretch, then writes them. `now` is the moment of the replay, as in `tokens.settle`.

    `turn` maps a statement about the live tables to one about the tables that are filled; `settled` is among these the
    one of `projections.digests`.
    """

    def __init__(self, turn: Callable[[sa.Executable], sa.Executable], settled: sa.Table, now: Moment) -> None:
        self._insert = Prepared(turn(INSERT))
        self._redeem = Prepared(turn(REDEEM))
        self._revoke = Prepared(turn(REVOKE))
        self._digests = settled
        self._over = _Over(now)
        self._begin()

    def _begin(self) -> None:
        self._rows: dict[bytes, tuple[Any, ...]] = {}
        self._settled: list[str] = []
        self._positions: list[int] = []
        self._redeemed: list[dict[str, Any]] = []
        self._revoked: list[dict[str, Any]] = []

    def take(self, leaves: Iterable[Leaf]) -> None:
        """The events that `tokens.HANDLES` names, in order."""
        revoked, over = TokenRevoked.type, self._over
        settle, settle_at = self._settled.append, self._positions.append
        for leaf in leaves:
            data = leaf.data
            access = data.access_token
            if access is None:
                self._issued(leaf, "code", data.code, data.lifetime)
                continue
            if leaf.type == revoked:
                self._ends(bytes.fromhex(access), leaf.position, None)
                continue
            # Nine of ten tokens of a long log have expired, so theirs is the shortest way.
            if leaf.time < over[data.lifetime]:
                settle(access)
                settle_at(leaf.position)
            else:
                self._issued(leaf, "access", access, data.lifetime)
            refresh, lifetime = data.refresh_token, data.refresh_lifetime
            if refresh is not None and lifetime is not None:
                if leaf.time < over[lifetime]:
                    settle(refresh)
                    settle_at(leaf.position)
                else:
                    self._issued(leaf, "refresh", refresh, lifetime)
            if data.code is not None:
                lasts = max(data.lifetime, data.refresh_ends_in or 0)
                self._ends(bytes.fromhex(data.code), leaf.position, _moment(leaf) + lasts * SECOND)

    def _issued(self, leaf: Leaf, kind: str, sha256: str | None, lifetime: int) -> None:
        data, moment, digest = leaf.data, _moment(leaf), bytes.fromhex(sha256 or "")
        expires_at = moment + lifetime * SECOND
        self._rows[digest] = (
            digest,
            kind,
            leaf.stream.partition(":")[2],
            data.client_id,
            data.account_id,
            None if kind == "code" else data.secret_id,
            data.scope,
            int(is_one_token(data.grant_type, data.refresh_token)),
            leaf.position,
            moment,
            expires_at,
            expires_at,
            None,
        )

    def _ends(self, digest: bytes, position: int, prune_at: Moment | None) -> None:
        """A code was redeemed, whose row stays until then, or an access token was revoked."""
        row = self._rows.get(digest)
        if row is not None:
            self._rows[digest] = (*row[:-2], row[-2] if prune_at is None else prune_at, position)
        elif prune_at is None:
            self._revoked.append({"b_digest": digest, "ended_position": position})
        else:
            self._redeemed.append({"b_digest": digest, "ended_position": position, "prune_at": prune_at})

    def write(self, connection: sa.Connection) -> None:
        """Writes what was taken since the last call, new rows in the order of their issue."""
        if self._rows:
            self._insert.run_all(connection, COLUMNS, list(self._rows.values()))
        if self._redeemed:
            self._redeem.run(connection, sorted(self._redeemed, key=itemgetter("b_digest")))
        if self._revoked:
            self._revoke.run(connection, sorted(self._revoked, key=itemgetter("b_digest")))
        if self._settled:
            digests.fill(connection, self._digests, bytes.fromhex("".join(self._settled)), self._positions)
        self._begin()
