"""How much of what a client or its secret versions were given is alive, as far as rows can tell, whatever its size.

Rows cannot tell of people whose refresh tokens parted into branches, nor of those with cut-offs since a moment: all
that these people have of the client is left out, and `left_out` names their grants: of those the log is asked.
"""

import json
from collections.abc import Collection, Iterator
from operator import add, sub
from typing import Any, NamedTuple

import sqlalchemy as sa

from domain import client
from domain.event import SECOND, Moment
from domain.grant import CONSENTED
from projections.accounts import TABLE as ACCOUNTS
from projections.consents import TABLE as CONSENTS
from projections.grants import TABLE as GRANTS
from projections.tokens import TABLE as TOKENS


class Alive(NamedTuple):
    """What is alive, and on behalf of how many people. A grant counts that has anything alive of what is counted."""

    grants: int = 0
    codes: int = 0
    access_tokens: int = 0
    refresh_tokens: int = 0
    people: int = 0

    @property
    def tokens(self) -> int:
        """Tokens and codes."""
        return self.codes + self.access_tokens + self.refresh_tokens

    def plus(self, other: "Alive") -> "Alive":
        return Alive(*map(add, self, other))

    def minus(self, other: "Alive") -> "Alive":
        return Alive(*map(sub, self, other))


class RadiusQuestion(NamedTuple):
    """What is asked about: all of a client, or what some secret versions authenticated; issued since that second.
    `exchanges` says that the client may have tokens of others' grants, in exchange for theirs (RFC 8693)."""

    client_id: str
    secret_ids: tuple[str, ...] | None = None
    since: Moment | None = None
    exchanges: bool = False

    @property
    def first_at(self) -> Moment:
        return 0 if self.since is None else self.since // SECOND * SECOND


# Where the grant began of which a token came, be it that token alone.
_BEGAN = sa.case((TOKENS.c.alone == 1, TOKENS.c.position), else_=GRANTS.c.started_position)
_BRANCHED = sa.literal_column("branched") == sa.literal_column("1")


def alive(
    connection: sa.Connection, of: RadiusQuestion, state: client.State, over: Collection[int], now: Moment
) -> Alive:
    """What is alive by the rows, but for `left_out`; grants that began at positions in `over` have ended meanwhile."""
    if not state.exists or state.deleted or not state.enabled:
        return Alive()
    kinds = [sa.func.coalesce(sa.func.sum(sa.case((TOKENS.c.kind == kind, 1), else_=0)), 0) for kind in _KINDS]
    grants = sa.func.count(_BEGAN.distinct())
    query = sa.select(grants, *kinds, sa.func.count(TOKENS.c.account_id.distinct())).select_from(
        _joined(connection.dialect.name)
    )
    special = _special_people(of, now)
    row = connection.execute(
        query.where(
            *_issued(of, state, now),
            _lives(now),
            sa.func.coalesce(GRANTS.c.branched, 0) == 0,
            *(sa.func.coalesce(_BEGAN, 0).not_in(each) for each in _listed(connection, over)),
            sa.or_(TOKENS.c.account_id.is_(None), sa.and_(TOKENS.c.account_id.not_in(special), _is_not_cut_off())),
        )
    ).one()
    return Alive(*map(int, row))


def alive_at(
    connection: sa.Connection,
    of: RadiusQuestion,
    state: client.State,
    over: Collection[int],
    positions: Collection[int],
    now: Moment,
) -> list[tuple[int, str, bool]]:
    """The position and kind of each token that is alive of those that these events issued, and whether its grant counts
    by it. As far as rows can tell, of everybody."""
    if not positions or not state.exists or state.deleted or not state.enabled:
        return []
    stands = sa.or_(TOKENS.c.kind == "refresh", TOKENS.c.alone == 1, GRANTS.c.refresh_digest.is_(None))
    query = sa.select(TOKENS.c.position, TOKENS.c.kind, sa.case((stands, 1), else_=0))
    rows = connection.execute(
        query.select_from(_joined(connection.dialect.name)).where(
            *_issued(of, state, now),
            _lives(now),
            *(sa.func.coalesce(_BEGAN, 0).not_in(each) for each in _listed(connection, over)),
            *(TOKENS.c.position.in_(each) for each in _listed(connection, positions)),
            sa.or_(TOKENS.c.account_id.is_(None), _is_not_cut_off()),
        )
    )
    return [(position, kind, bool(begins)) for position, kind, begins in rows]


def left_out(connection: sa.Connection, of: RadiusQuestion, now: Moment) -> list[str]:
    """The grants of the client that `alive` leaves out, as far as something of them may be alive."""
    branched = sa.select(GRANTS.c.grant_id).where(
        GRANTS.c.client_id == of.client_id, GRANTS.c.expires_at > now, _BRANCHED
    )
    theirs = sa.select(GRANTS.c.grant_id).where(
        GRANTS.c.account_id.in_(_special_people(of, now)),
        GRANTS.c.client_id == of.client_id,
        GRANTS.c.expires_at > now,
    )
    found = [*connection.scalars(branched), *connection.scalars(theirs)]
    if of.exchanges:
        found += connection.scalars(_of_others(of, now, TOKENS.c.grant_id))
    return list(dict.fromkeys(found))


_KINDS = ("code", "access", "refresh")


# Nothing is asked of the joined rows that would say that there are any, or SQLite might begin with those.
def _joined(dialect: str) -> sa.FromClause:
    its_grant = GRANTS.c.grant_id == TOKENS.c.grant_id
    if dialect == "sqlite":
        # Many grants begin with the token, and rows lie by where they begin: looking there first takes a fifth of it.
        begun, named = (GRANTS.alias(name) for name in ("begun", "named"))
        there = sa.select(begun.c.started_position).where(begun.c.started_position == TOKENS.c.position)
        otherwise = sa.select(named.c.started_position).where(named.c.grant_id == TOKENS.c.grant_id)
        named_so = sa.func.coalesce(
            there.correlate(TOKENS).scalar_subquery(), otherwise.correlate(TOKENS).scalar_subquery()
        )
        its_grant = GRANTS.c.started_position == sa.case((TOKENS.c.alone == 1, TOKENS.c.position), else_=named_so)
    its_consent = sa.and_(CONSENTS.c.account_id == TOKENS.c.account_id, CONSENTS.c.client_id == TOKENS.c.client_id)
    return (
        TOKENS.outerjoin(GRANTS, its_grant)
        .outerjoin(ACCOUNTS, ACCOUNTS.c.account_id == TOKENS.c.account_id)
        .outerjoin(CONSENTS, its_consent)
    )


def _listed(connection: sa.Connection, numbers: Collection[int]) -> Iterator[sa.Select[Any]]:
    """A query that has these numbers, unless there are none."""
    if not numbers:
        return
    if connection.dialect.name == "postgresql":
        each = sa.func.unnest(sa.literal(sorted(numbers), sa.ARRAY(sa.BigInteger)))
        yield sa.select(each.table_valued("value").render_derived().c.value)
    else:
        yield sa.select(sa.func.json_each(json.dumps(sorted(numbers))).table_valued("value").c.value)


def _special_people(of: RadiusQuestion, now: Moment) -> Any:
    branched = sa.select(GRANTS.c.account_id).where(
        GRANTS.c.client_id == of.client_id, GRANTS.c.account_id.is_not(None), _BRANCHED
    )
    cut_off = sa.select(ACCOUNTS.c.account_id).where(ACCOUNTS.c.windows != "")
    others = _of_others(of, now, TOKENS.c.account_id).where(TOKENS.c.account_id.is_not(None))
    return sa.union(branched, cut_off, *([others] if of.exchanges else []))


def _of_others(of: RadiusQuestion, now: Moment, column: sa.Column[Any]) -> sa.Select[Any]:
    """What the client has of others' grants, in exchange for their tokens."""
    return (
        sa.select(column)
        .distinct()
        .join_from(TOKENS, GRANTS, GRANTS.c.grant_id == TOKENS.c.grant_id)
        .where(
            TOKENS.c.client_id == of.client_id,
            TOKENS.c.expires_at > now,
            GRANTS.c.client_id != of.client_id,
            GRANTS.c.branched == 1,
        )
    )


def _issued(of: RadiusQuestion, state: client.State, now: Moment) -> list[sa.ColumnElement[bool]]:
    """What was issued that the client's cut-offs leave and that has not expired."""
    position, secret_id = TOKENS.c.position, TOKENS.c.secret_id
    cutoffs = {each.secret_id: each.tokens_cutoff for each in state.secrets}
    floors = [each.last for each in state.windows if each.first == 0 and each.secret_id is None]
    if of.secret_ids:
        floors.append(min(cutoffs.get(each, 0) for each in of.secret_ids))
    found = [
        TOKENS.c.client_id == of.client_id,
        position >= max(state.cutoff, *floors, 0),
        TOKENS.c.expires_at > now,
        TOKENS.c.issued_at >= of.first_at,
    ]
    if of.secret_ids is not None:
        found.append(secret_id.in_(of.secret_ids))
    found += [
        sa.or_(secret_id.is_distinct_from(version), position >= cutoff)
        for version, cutoff in cutoffs.items()
        if cutoff and (of.secret_ids is None or version in of.secret_ids)
    ]
    for window in state.windows:
        within = sa.and_(position >= window.first, position < window.last)
        if window.secret_id is not None:
            within = sa.and_(within, sa.func.coalesce(secret_id, "") == window.secret_id)
        found.append(sa.not_(within))
    return found


def _lives(now: Moment) -> sa.ColumnElement[bool]:
    """What did not end by itself, with its grant or by a successor."""
    digest = TOKENS.c.digest
    return sa.and_(
        TOKENS.c.ended_position.is_(None),
        sa.func.coalesce(GRANTS.c.ended_position, 0) == 0,
        sa.or_(
            TOKENS.c.kind != "refresh",
            digest == GRANTS.c.refresh_digest,
            sa.and_(digest == GRANTS.c.predecessor_digest, sa.func.coalesce(GRANTS.c.grace_ends_at, 0) > now),
        ),
    )


def _is_not_cut_off() -> sa.ColumnElement[bool]:
    """What the person's cut-offs leave, and those of their consent, where the grant rests on one."""
    position = TOKENS.c.position
    return sa.and_(
        sa.func.coalesce(ACCOUNTS.c.state, "erased") == "enabled",
        position >= sa.func.coalesce(ACCOUNTS.c.cutoff, 0),
        sa.or_(
            position >= sa.func.coalesce(ACCOUNTS.c.password_cutoff, 0), TOKENS.c.grant_id == ACCOUNTS.c.password_except
        ),
        sa.or_(
            sa.func.coalesce(GRANTS.c.grant_type, "").not_in(sorted(CONSENTED)),
            position >= sa.func.coalesce(CONSENTS.c.cutoff, 0),
        ),
    )
