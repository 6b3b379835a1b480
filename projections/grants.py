"""Grants: who allowed what to whom, since when, and whether anything of it can still be alive.

A grant that is one access token of a client for itself is most of what a busy server issues. It has no row here but the
token's own, until something more comes of it: the event that does so tells what the row must say.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from domain import cut_off
from domain.event import SECOND, Event, Moment, Recorded
from domain.exchange import Exchanged, LoneToken
from domain.grant import (
    CLIENT_CREDENTIALS,
    CONSENTED,
    AccessTokenIssued,
    CodeIssued,
    DeviceApproved,
    GrantEnded,
    SuccessorReplaced,
    TokensIssued,
    TokensRefreshed,
    grant_type_of,
    is_one_token,
)
from domain.grants import validity
from projections.accounts import TABLE as ACCOUNTS
from projections.clients import TABLE as CLIENTS
from projections.consents import TABLE as CONSENTS
from projections.secrets import TABLE as SECRETS
from projections.tables import ROW_POSITION, RowPage, Write, cut, metadata, parse_windows
from projections.tokens import TABLE as TOKENS

_A_PERSONS = sa.text("account_id IS NOT NULL")
_BRANCHED = sa.text("branched = 1")

TABLE = sa.Table(
    "grants",
    metadata,
    # In the order of their beginnings, which is also the order of pages.
    sa.Column("started_position", ROW_POSITION, primary_key=True, autoincrement=False),
    sa.Column("grant_id", sa.Text, nullable=False, unique=True),
    sa.Column("grant_type", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("account_id", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("secret_id", sa.Text),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("last_used_at", sa.BigInteger, nullable=False),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("refresh_digest", sa.LargeBinary(32)),
    sa.Column("predecessor_digest", sa.LargeBinary(32)),
    sa.Column("grace_ends_at", sa.BigInteger),
    sa.Column("branched", sa.SmallInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("ended_position", sa.BigInteger),
    sa.Column("ended_reason", sa.Text),
    sa.Index(None, "client_id", "started_position"),
    # Most grants of a busy server are clients' own, and nobody asks for those by a person.
    sa.Index(None, "account_id", "started_position", postgresql_where=_A_PERSONS, sqlite_where=_A_PERSONS),
    sa.Index(None, "expires_at"),
    sa.Index(None, "client_id", postgresql_where=_BRANCHED, sqlite_where=_BRANCHED),
)
"""`expires_at` is when its last code or token expires; `secret_id` and `last_position` are its newest tokens'.
`branched` says that a refresh token came again, so that others than the two that stand here may be good, or that
another client has a token of it in exchange for one: the log knows which."""

VERSION = 1
HORIZON = "expires_at"
"""Rows whose horizon has passed may be gone, so nothing can be concluded from their absence."""

HANDLES: tuple[type[Event], ...] = (
    CodeIssued,
    DeviceApproved,
    TokensIssued,
    AccessTokenIssued,
    TokensRefreshed,
    SuccessorReplaced,
    Exchanged,
    GrantEnded,
)

_THIS = TABLE.c.grant_id == sa.bindparam("b_grant_id")
_NEWEST: dict[str, Any] = {
    name: sa.bindparam(name) for name in ("secret_id", "last_used_at", "last_position", "refresh_digest")
}
_UNTIL = sa.bindparam("b_expires_at", type_=sa.BigInteger)
_LATER = sa.case((TABLE.c.expires_at > _UNTIL, TABLE.c.expires_at), else_=_UNTIL)

_START = sa.insert(TABLE)
_REDEEM = sa.update(TABLE).where(_THIS).values(**_NEWEST, scope=sa.bindparam("scope"), expires_at=_LATER)
_REFRESH = (
    sa.update(TABLE)
    .where(_THIS)
    .values(
        **_NEWEST,
        predecessor_digest=TABLE.c.refresh_digest,
        grace_ends_at=sa.bindparam("grace_ends_at"),
        expires_at=_LATER,
    )
)
_USED = sa.update(TABLE).where(_THIS).values(last_used_at=sa.bindparam("last_used_at"), expires_at=_LATER)
# The one that came takes its place, so that the refresh that follows leaves that as the one before.
_REPLACE = (
    sa.update(TABLE)
    .where(_THIS)
    .values(
        refresh_digest=sa.func.coalesce(sa.bindparam("presented", type_=sa.LargeBinary), TABLE.c.predecessor_digest),
        branched=1,
    )
)
_EXCHANGE = sa.update(TABLE).where(_THIS).values(last_used_at=sa.bindparam("last_used_at"), branched=1)
_END = (
    sa.update(TABLE)
    .where(_THIS)
    .values({name: sa.bindparam(name) for name in ("ended_at", "ended_position", "ended_reason")})
)


_SEVERAL = Exchanged | GrantEnded
"""What makes more, or the end, of a grant that was one token."""


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """One row a grant, but for those that are one token."""
    event, grant_id = recorded.event, recorded.stream.partition(":")[2]
    key = ("grants", grant_id)
    if isinstance(event, _SEVERAL) and event.lone is not None:
        yield Write(_START, _was_alone(event.lone, grant_id), key)
    match event:
        case TokensRefreshed():
            yield Write(_REFRESH, _newest(recorded, grant_id) | {"grace_ends_at": event.grace_ends_at}, key)
        case TokensIssued() if event.code is not None:
            yield Write(_REDEEM, _newest(recorded, grant_id) | {"scope": event.scope}, key)
        case TokensIssued() if is_one_token(event.grant_type, event.refresh_token):
            return
        case CodeIssued() | DeviceApproved() | TokensIssued():
            yield Write(_START, _started(recorded, grant_id, grant_type_of(event)), key)
        case AccessTokenIssued():
            used = {"last_used_at": recorded.time, "b_expires_at": _expires_at(recorded)}
            yield Write(_USED, {"b_grant_id": grant_id, **used}, key)
        case SuccessorReplaced():
            yield Write(_REPLACE, {"b_grant_id": grant_id, "presented": _digest(event.presented)}, key)
        case Exchanged():
            yield Write(_EXCHANGE, {"b_grant_id": grant_id, "last_used_at": recorded.time}, key)
        case GrantEnded():
            ended = {"ended_at": recorded.time, "ended_position": recorded.position, "ended_reason": event.reason}
            yield Write(_END, {"b_grant_id": grant_id, **ended}, key)


def _started(recorded: Recorded, grant_id: str, grant_type: str) -> dict[str, Any]:
    event = recorded.event
    code = not isinstance(event, TokensIssued)
    return {
        "started_position": recorded.position,
        "grant_id": grant_id,
        "grant_type": grant_type,
        "client_id": event.client_id,
        "account_id": event.account_id,
        "session_id": event.session_id if code else None,
        "secret_id": None if code else event.secret_id,
        "scope": event.scope,
        "started_at": recorded.time,
        "last_used_at": recorded.time,
        "last_position": recorded.position,
        "expires_at": _expires_at(recorded),
        "refresh_digest": None if code else _digest(event.refresh_token),
        "branched": 0,
    }


def _was_alone(lone: LoneToken, grant_id: str) -> dict[str, Any]:
    return {
        "started_position": lone.position,
        "grant_id": grant_id,
        "grant_type": CLIENT_CREDENTIALS,
        "client_id": lone.client_id,
        "account_id": None,
        "session_id": None,
        "secret_id": lone.secret_id,
        "scope": lone.scope,
        "started_at": lone.issued_at,
        "last_used_at": lone.issued_at,
        "last_position": lone.position,
        "expires_at": lone.expires_at,
        "refresh_digest": None,
        "branched": 0,
    }


def _newest(recorded: Recorded, grant_id: str) -> dict[str, Any]:
    return {
        "b_grant_id": grant_id,
        "secret_id": recorded.event.secret_id,
        "last_used_at": recorded.time,
        "last_position": recorded.position,
        "refresh_digest": _digest(recorded.event.refresh_token),
        "b_expires_at": _expires_at(recorded),
    }


def _expires_at(recorded: Recorded) -> Moment:
    lifetime: int = max(recorded.event.lifetime, getattr(recorded.event, "refresh_lifetime", None) or 0)
    return recorded.time + lifetime * SECOND


def _digest(sha256: str | None) -> bytes | None:
    return None if sha256 is None else bytes.fromhex(sha256)


class GrantRow(NamedTuple):
    """A grant as the administration shows it. `scope` has spaces between.

    It is `ended` when its newest tokens are dead. Older access tokens die with them, but for a containment of the later
    ones and the end of a secret version that authenticated those alone: then they live on until they expire.
    """

    grant_id: str
    grant_type: str
    client_id: str
    account_id: str | None
    session_id: str | None
    scope: str
    state: Literal["active", "ended"]
    started_at: Moment
    last_used_at: Moment
    position: int
    ended_at: Moment | None
    ended_reason: str | None


# The parts of other read models that decide whether a grant is alive, joined by their keys; what is missing is null.
_OF_CLIENT = (
    CLIENTS.c.state.label("client_state"),
    CLIENTS.c.cutoff.label("client_cutoff"),
    CLIENTS.c.windows.label("client_windows"),
    SECRETS.c.tokens_cutoff.label("secret_cutoff"),
)
_ALL = sa.select(
    *TABLE.c,
    *_OF_CLIENT,
    ACCOUNTS.c.state.label("account_state"),
    ACCOUNTS.c.cutoff.label("account_cutoff"),
    ACCOUNTS.c.password_cutoff,
    ACCOUNTS.c.password_except,
    ACCOUNTS.c.windows.label("account_windows"),
    CONSENTS.c.cutoff.label("consent_cutoff"),
).select_from(
    TABLE.outerjoin(CLIENTS, CLIENTS.c.client_id == TABLE.c.client_id)
    .outerjoin(SECRETS, SECRETS.c.secret_id == TABLE.c.secret_id)
    .outerjoin(ACCOUNTS, ACCOUNTS.c.account_id == TABLE.c.account_id)
    .outerjoin(CONSENTS, (CONSENTS.c.account_id == TABLE.c.account_id) & (CONSENTS.c.client_id == TABLE.c.client_id))
)
_BY_ID = _ALL.where(_THIS)

# Grants that are one token, from the token's row, with the same columns as far as one looks at them.
_ALONE = (
    sa.select(
        TOKENS.c.position.label("started_position"),
        TOKENS.c.position.label("last_position"),
        TOKENS.c.grant_id,
        sa.literal(CLIENT_CREDENTIALS).label("grant_type"),
        TOKENS.c.client_id,
        TOKENS.c.account_id,
        sa.null().label("session_id"),
        TOKENS.c.secret_id,
        TOKENS.c.scope,
        TOKENS.c.issued_at.label("started_at"),
        TOKENS.c.issued_at.label("last_used_at"),
        TOKENS.c.expires_at,
        sa.null().label("ended_at"),
        sa.null().label("ended_reason"),
        *_OF_CLIENT,
    )
    .select_from(
        TOKENS.outerjoin(CLIENTS, CLIENTS.c.client_id == TOKENS.c.client_id).outerjoin(
            SECRETS, SECRETS.c.secret_id == TOKENS.c.secret_id
        )
    )
    .where(
        # As it stands in the index.
        sa.literal_column("alone") == sa.literal_column("1"),
        ~sa.exists().where(TABLE.c.started_position == TOKENS.c.position),
    )
)
_OF_TOKEN = _ALONE.where(TOKENS.c.digest == sa.bindparam("b_digest"))


def by_id(connection: sa.Connection, grant_id: str, now: Moment) -> GrantRow | None:
    """The grant, as it stands at `now`; None of one that is one token too."""
    row = connection.execute(_BY_ID, {"b_grant_id": grant_id}).first()
    return None if row is None else _grant(row, now)


def by_token(connection: sa.Connection, digest: bytes, now: Moment) -> GrantRow | None:
    """The grant that is this access token and nothing more, as it stands at `now`."""
    row = connection.execute(_OF_TOKEN, {"b_digest": digest}).first()
    return None if row is None else _grant(row, now)


def page(
    connection: sa.Connection,
    now: Moment,
    *,
    client_id: str | None = None,
    account_id: str | None = None,
    unused_since: Moment | None = None,
    after: int | None = None,
    limit: int = 50,
) -> RowPage[GrantRow, int]:
    """Grants as they stand at `now`, the newest first; `after` is a `position`."""
    sides = [(_ALL, TABLE.c.started_position, TABLE.c.client_id, TABLE.c.last_used_at)]
    if account_id is None:
        # What is one token is a client's own.
        sides.append((_ALONE, TOKENS.c.position, TOKENS.c.client_id, TOKENS.c.issued_at))
    rows: list[sa.Row[Any]] = []
    for query, position, client, used in sides:
        query = query.order_by(position.desc()).limit(limit + 1)
        if client_id is not None:
            query = query.where(client == client_id)
        if account_id is not None:
            query = query.where(TABLE.c.account_id == account_id)
        if unused_since is not None:
            query = query.where(used < unused_since)
        if after is not None:
            query = query.where(position < after)
        rows += connection.execute(query)
    rows.sort(key=lambda row: -row.started_position)
    return cut([_grant(row, now) for row in rows[: limit + 1]], limit, lambda grant: grant.position)


LOOKED_AT = 500
"""Rows at a time, among which are those of grants that another fact ended, such as a new password."""


def living(
    connection: sa.Connection, now: Moment, account_id: str, grant_types: Collection[str], limit: int | None
) -> list[GrantRow]:
    """Up to `limit` of a person's grants of these types that are alive at `now`, the last used first, however many were
    used since and have ended; all of them without."""
    query = _ALL.where(TABLE.c.account_id == account_id, TABLE.c.grant_type.in_(grant_types))
    query = query.where(TABLE.c.ended_at.is_(None), TABLE.c.expires_at > now)
    query = query.order_by(TABLE.c.last_used_at.desc(), TABLE.c.started_position.desc()).limit(LOOKED_AT)
    found: list[GrantRow] = []
    rows = connection.execute(query).all()
    while rows:
        found += [each for each in (_grant(row, now) for row in rows) if each.state == "active"]
        if (limit is not None and len(found) >= limit) or len(rows) < LOOKED_AT:
            break
        place = sa.tuple_(TABLE.c.last_used_at, TABLE.c.started_position)
        last = sa.tuple_(sa.literal(rows[-1].last_used_at), sa.literal(rows[-1].started_position))
        rows = connection.execute(query.where(place < last)).all()
    return found[:limit]


def used_in_sessions(connection: sa.Connection, account_id: str) -> dict[str, Moment]:
    """When something was last begun in each of a person's browser sessions, by the session's id."""
    query = sa.select(TABLE.c.session_id, sa.func.max(TABLE.c.started_at)).group_by(TABLE.c.session_id)
    found = connection.execute(query.where(TABLE.c.account_id == account_id, TABLE.c.session_id.is_not(None)))
    return {session_id: moment for session_id, moment in found}


_HELD = (
    sa.select(TABLE.c.grant_id)
    .where(
        TABLE.c.account_id == sa.bindparam("b_account_id"),
        TABLE.c.client_id == sa.bindparam("b_client_id"),
        TABLE.c.expires_at > sa.bindparam("b_at"),
    )
    .order_by(TABLE.c.started_position.desc())
    .limit(sa.bindparam("b_limit"))
)


def held(connection: sa.Connection, account_id: str, client_id: str, at: Moment, limit: int) -> list[str]:
    """The newest grants that a client has of a person and that need not be over by themselves: a hint where to look."""
    given = {"b_account_id": account_id, "b_client_id": client_id, "b_at": at, "b_limit": limit}
    return list(connection.scalars(_HELD, given))


_OF_SESSION = sa.select(TABLE.c.started_position).order_by(TABLE.c.started_position)


def begun_in(connection: sa.Connection, session_id: str, account_id: str | None) -> list[int]:
    """Where the person's grants began that were allowed in a browser session."""
    query = _OF_SESSION.where(TABLE.c.account_id == account_id, TABLE.c.session_id == session_id)
    return list(connection.scalars(query))


def last_used(connection: sa.Connection, account_id: str) -> dict[str, Moment]:
    """When each client last got something on a person's behalf, by `client_id`."""
    latest = sa.func.max(TABLE.c.last_used_at)
    query = sa.select(TABLE.c.client_id, latest).where(TABLE.c.account_id == account_id).group_by(TABLE.c.client_id)
    return {client_id: moment for client_id, moment in connection.execute(query)}


def _grant(row: sa.Row[Any], now: Moment) -> GrantRow:
    # A grant is judged as if it were its newest token, which outlives the others.
    newest = validity.TokenStanding("refresh", row.last_position, row.started_at, row.expires_at)
    standing = validity.Standing(newest, row.grant_id, _client_part(row), _person_part(row), row.ended_at)
    return GrantRow(
        row.grant_id,
        row.grant_type,
        row.client_id,
        row.account_id,
        row.session_id,
        row.scope,
        "active" if validity.cause(standing, now) == "active" else "ended",
        row.started_at,
        row.last_used_at,
        row.started_position,
        row.ended_at,
        row.ended_reason,
    )


def _client_part(row: sa.Row[Any]) -> validity.ClientStanding:
    """A client without a row is gone."""
    windows = parse_windows(row.client_windows)
    return validity.ClientStanding(
        row.client_state or "deleted",
        row.client_cutoff or 0,
        row.secret_cutoff or 0,
        cut_off.of_all(windows),
        cut_off.of_secret(windows, row.secret_id),
    )


def _person_part(row: sa.Row[Any]) -> validity.PersonStanding | None:
    """A person without a row is erased. Some grant types rest on a consent."""
    if row.account_id is None:
        return None
    return validity.PersonStanding(
        row.account_state or "erased",
        row.account_cutoff or 0,
        row.password_cutoff or 0,
        row.password_except,
        (row.consent_cutoff or 0) if row.grant_type in CONSENTED else 0,
        cut_off.of_all(parse_windows(row.account_windows)),
    )


_DUE = (
    sa.select(TABLE.c.started_position).where(TABLE.c.expires_at < sa.bindparam("before")).order_by(TABLE.c.expires_at)
)
_PRUNE = sa.delete(TABLE).where(TABLE.c.started_position.in_(_DUE.limit(sa.bindparam("at_most", type_=sa.BigInteger))))


def prune(connection: sa.Connection, before: Moment, limit: int = 500) -> int:
    """Deletes at most `limit` grants whose last token expired before a moment, and says how many.

    `before` lies far enough back for people to have seen what ended, and never after the last pruning of tokens.
    """
    return connection.execute(_PRUNE, {"before": before, "at_most": limit}).rowcount
