"""A long stretch of the log as token rows at once: what `tokens.project` and `tokens.settle` give event by event.

Replaying millions of events, most of the time would go into carrying single rows about. Here they are folded in memory,
each is written once, and of a token that would have been pruned by now only its digest is kept. That both ways make the
same rows is proved by every comparison of live and replayed state.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Executable, Table

from domain.event import SECOND, Moment
from domain.grant import TokenRevoked
from projections import digests, tokens
from projections.prepared import Prepared

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Data(msgspec.Struct, gc=False):
    """The members of the four events that a row is made of, each absent from some of them."""

    client_id: str = ""
    account_id: str | None = None
    secret_id: str | None = None
    scope: str = ""
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


class Stretch:
    """Gathers the rows of a stretch, then writes them. `now` is the moment of the replay, as in `tokens.settle`.

    `turn` maps a statement about the live tables to one about the tables that are filled; `settled` is among these the
    one of `projections.digests`.
    """

    def __init__(self, turn: Callable[[Executable], Executable], settled: Table, now: Moment) -> None:
        self._insert = Prepared(turn(tokens.INSERT))
        self._redeem = Prepared(turn(tokens.REDEEM))
        self._revoke = Prepared(turn(tokens.REVOKE))
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

    def write(self, connection: Connection) -> None:
        """Writes what was taken since the last call, new rows in the order of their issue."""
        if self._rows:
            self._insert.run_all(connection, tokens.COLUMNS, list(self._rows.values()))
        if self._redeemed:
            self._redeem.run(connection, sorted(self._redeemed, key=itemgetter("b_digest")))
        if self._revoked:
            self._revoke.run(connection, sorted(self._revoked, key=itemgetter("b_digest")))
        if self._settled:
            digests.fill(connection, self._digests, bytes.fromhex("".join(self._settled)), self._positions)
        self._begin()
