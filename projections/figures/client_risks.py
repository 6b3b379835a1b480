"""What somebody should look after at clients: secrets that end soon, that nobody uses, that nothing replaces."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from domain.event import SECOND, Moment
from projections import clients, secrets
from projections.clients import ClientRow
from projections.tables import RowPage, cut

Risk = Literal["no_live_secret", "ends_soon", "never_used", "unused", "old", "several", "no_rotation"]

_DAY: Moment = 86_400 * SECOND
SOON, IDLE, OLD = 14 * _DAY, 30 * _DAY, 365 * _DAY

_WEIGHTS: Mapping[Risk, int] = {
    **{"no_live_secret": 32, "ends_soon": 16, "never_used": 8},
    **{"unused": 8, "old": 4, "several": 2, "no_rotation": 1},
}
"""How pressing each is, the most pressing first: clients are in the order of what theirs weigh together."""

_CLIENTS, _SECRETS, _USES = clients.TABLE, secrets.TABLE, secrets.USES


class _Asked(NamedTuple):
    """The question: each client with a column for every risk, and one for their weight."""

    query: sa.Select[Any]
    weight: sa.ColumnElement[int]


def of_clients(connection: sa.Connection, client_ids: Collection[str], now: Moment) -> dict[str, tuple[Risk, ...]]:
    """The risks of each of these clients, the most pressing first; none of one that has no secret."""
    if not client_ids:
        return {}
    query = _asked(sa.select(_CLIENTS.c.client_id).where(_CLIENTS.c.client_id.in_(client_ids)), now).query
    return {row.client_id: _risks(row) for row in connection.execute(query)}


def search(
    connection: sa.Connection,
    *,
    now: Moment,
    contains: str = "",
    among: Collection[str] = (),
    after: tuple[int, int] | None = None,
    limit: int = 50,
) -> RowPage[ClientRow, tuple[int, int]]:
    """Clients that are not deleted, those first that somebody should look after, and of those the newest; `after` is
    the last one's weight and `position`."""
    asked = _asked(clients.matching(connection, contains, among), now)
    query, position = asked.query.add_columns(asked.weight.label("weight")), _CLIENTS.c.position
    if after is not None:
        query = query.where(sa.tuple_(asked.weight, position) < sa.tuple_(*map(sa.literal, after)))
    ordered = query.order_by(asked.weight.desc(), position.desc()).limit(limit + 1)
    found = [(row.weight, clients.row_of(row)) for row in connection.execute(ordered)]
    page = cut(found, limit, lambda each: (each[0], each[1].position))
    return RowPage(tuple(client for _, client in page.items), page.next)


def _asked(of: sa.Select[Any], now: Moment) -> _Asked:
    living = sa.and_(
        _SECRETS.c.revoked_at.is_(None), sa.or_(_SECRETS.c.expires_at.is_(None), _SECRETS.c.expires_at > now)
    )
    alive = (
        sa.select(
            _SECRETS.c.client_id,
            sa.func.count().label("living"),
            sa.func.max(_SECRETS.c.version).label("newest"),
            sa.func.max(_USES.c.last_used_at).label("used"),
        )
        .join(_USES, _USES.c.secret_id == _SECRETS.c.secret_id)
        .where(living)
        .group_by(_SECRETS.c.client_id)
        .subquery("alive")
    )
    newest = _SECRETS.alias("newest")
    made = sa.exists().where(_SECRETS.c.client_id == _CLIENTS.c.client_id)
    needed = _CLIENTS.c.token_endpoint_auth_method.like("client_secret%")
    joined = of.outerjoin(alive, alive.c.client_id == _CLIENTS.c.client_id).outerjoin(
        newest, sa.and_(newest.c.client_id == _CLIENTS.c.client_id, newest.c.version == alive.c.newest)
    )
    when: dict[Risk, sa.ColumnElement[bool]] = {
        "no_live_secret": sa.and_(alive.c.living.is_(None), made, needed),
        "ends_soon": newest.c.expires_at < now + SOON,
        "never_used": sa.and_(alive.c.living.is_not(None), alive.c.used.is_(None)),
        "unused": alive.c.used < now - IDLE,
        "old": newest.c.created_at < now - OLD,
        "several": alive.c.living > 1,
        "no_rotation": sa.and_(alive.c.living.is_not(None), newest.c.expires_at.is_(None)),
    }
    weighed = [sa.case((when[risk], weight), else_=0) for risk, weight in _WEIGHTS.items()]
    query = joined.add_columns(*(sa.case((when[risk], 1), else_=0).label(risk) for risk in _WEIGHTS))
    return _Asked(query, _sum(weighed))


def _sum(terms: Iterable[sa.ColumnElement[int]]) -> sa.ColumnElement[int]:
    first, *others = terms
    for each in others:
        first = first + each
    return first


def _risks(row: sa.Row[Any]) -> tuple[Risk, ...]:
    return tuple(risk for risk in _WEIGHTS if row._mapping[risk])
