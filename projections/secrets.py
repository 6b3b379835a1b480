"""Client secret versions: their ends, their uses, and whether anyone would miss them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from domain import client_secret, grant, usage
from domain.event import SECOND, Event, Moment, Recorded
from projections.clients import TABLE as CLIENTS
from projections.sightings import TABLE as SIGHTINGS
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

TABLE = sa.Table(
    "secrets",
    metadata,
    sa.Column("secret_id", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("not_before", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("tokens_cutoff", sa.BigInteger, nullable=False),
)

# Apart from the versions themselves, because this is the hot row: every token request raises its counter.
USES = sa.Table(
    "secret_uses",
    metadata,
    sa.Column("secret_id", sa.Text, primary_key=True),
    sa.Column("use_count", sa.BigInteger, nullable=False),
    sa.Column("last_used_at", sa.BigInteger),
)

TABLES = (TABLE, USES)

HANDLES: tuple[type[Event], ...] = (
    client_secret.SecretIssued,
    client_secret.SecretRotated,
    client_secret.SecretRevoked,
    grant.TokensIssued,
    grant.TokensRefreshed,
    usage.FirstSeen,
    usage.Seen,
)

UNUSED_DAYS = 14
_DAY: Moment = 86_400 * SECOND

_INSERT = sa.insert(TABLE)
_INSERT_USES = sa.insert(USES)
_END_OTHERS = (
    sa.update(TABLE)
    .where(
        TABLE.c.client_id == sa.bindparam("b_client_id"),
        TABLE.c.revoked_at.is_(None),
        sa.or_(TABLE.c.expires_at.is_(None), TABLE.c.expires_at > sa.bindparam("b_end")),
    )
    .values(expires_at=sa.bindparam("b_end"))
)
_REVOKE = (
    sa.update(TABLE)
    .where(TABLE.c.secret_id == sa.bindparam("b_secret_id"), TABLE.c.revoked_at.is_(None))
    .values(revoked_at=sa.bindparam("b_at"))
)
_CUT_OFF = (
    sa.update(TABLE)
    .where(TABLE.c.secret_id == sa.bindparam("b_secret_id"))
    .values(tokens_cutoff=sa.bindparam("b_position"))
)
_USE = (
    sa.update(USES)
    .where(USES.c.secret_id == sa.bindparam("b_secret_id"))
    .values(use_count=USES.c.use_count + sa.bindparam("b_count"), last_used_at=sa.bindparam("b_at"))
)


class SecretRow(msgspec.Struct, frozen=True):
    """A version. Uses are token requests, introspections and revocations that authenticated with it."""

    secret_id: str
    client_id: str
    version: int
    state: Literal["active", "expiring", "expired", "revoked"]
    created_at: Moment
    not_before: Moment | None
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None
    use_count: int
    addresses: int
    safe_to_retire: bool
    safe_to_retire_reason: str


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The rows that an event changes."""
    event = recorded.event
    match event:
        case client_secret.SecretIssued() | client_secret.SecretRotated():
            yield from _made(event, recorded)
        case client_secret.SecretRevoked():
            params = {"b_secret_id": event.secret_id, "b_at": recorded.time}
            key = ("secrets", recorded.stream.partition(":")[2])
            yield Write(_REVOKE, params, key)
            if event.tokens == "revoke":
                cutoff = {"b_secret_id": event.secret_id, "b_position": recorded.position}
                yield Write(_CUT_OFF, cutoff, key)
        case grant.TokensIssued() | grant.TokensRefreshed():
            if event.secret_id is not None:
                yield _use(event.secret_id, 1, recorded)
        case usage.FirstSeen():
            yield _use(recorded.stream.partition(":")[2], 1, recorded)
        case usage.Seen():
            yield _use(recorded.stream.partition(":")[2], event.count, recorded)


def used_for(recorded: Sequence[Recorded]) -> Iterator[Write]:
    """What `project` gives for first tokens, of each version all at once."""
    counts, last = Counter([each.event.secret_id for each in recorded]), recorded[-1]
    for secret_id, count in counts.items():
        if secret_id is not None:
            yield _use(secret_id, count, last)


def _made(event: client_secret.SecretIssued | client_secret.SecretRotated, recorded: Recorded) -> Iterator[Write]:
    client_id = recorded.stream.partition(":")[2]
    # One key for all versions of a client, because a rotation touches the others' rows.
    key = ("secrets", client_id)
    if isinstance(event, client_secret.SecretRotated) and event.others_expire_in is not None:
        end = recorded.time + event.others_expire_in * SECOND
        yield Write(_END_OTHERS, {"b_client_id": client_id, "b_end": end}, key)
    row = {
        "secret_id": event.secret_id,
        "client_id": client_id,
        "version": event.version,
        "sha256": bytes.fromhex(event.sha256),
        "created_at": recorded.time,
        "not_before": client_secret.begins_at(event, recorded.time),
        "expires_at": None if event.lifetime is None else recorded.time + event.lifetime * SECOND,
        "tokens_cutoff": 0,
    }
    yield Write(_INSERT, row, key)
    uses = {"secret_id": event.secret_id, "use_count": 0, "last_used_at": None}
    yield Write(_INSERT_USES, uses, ("secret_uses", event.secret_id))


def _use(secret_id: str, count: int, recorded: Recorded) -> Write:
    params = {"b_secret_id": secret_id, "b_count": count, "b_at": recorded.time}
    return Write(_USE, params, ("secret_uses", secret_id), add=("b_count",))


def of_client(
    connection: sa.Connection, client_id: str, now: Moment, *, after: int | None = None, limit: int = 50
) -> RowPage[SecretRow, int]:
    """A client's versions, oldest first; `after` is a `version`."""
    live = _live(connection, client_id, now)
    query = _query().where(TABLE.c.client_id == client_id, TABLE.c.version > (after or 0))
    rows = connection.execute(query.order_by(TABLE.c.version).limit(limit + 1))
    return cut([_secret(row, live, now) for row in rows], limit, lambda secret: secret.version)


class Ending(NamedTuple):
    """A version, and when it ends by itself."""

    client_id: str
    client_name: str
    secret_id: str
    version: int
    expires_at: Moment


_ENDING = (
    sa.select(TABLE.c.client_id, CLIENTS.c.client_name, TABLE.c.secret_id, TABLE.c.version, TABLE.c.expires_at)
    .join(CLIENTS, CLIENTS.c.client_id == TABLE.c.client_id)
    .where(CLIENTS.c.state != "deleted", TABLE.c.revoked_at.is_(None))
    .order_by(TABLE.c.expires_at)
)


_OTHER = TABLE.alias()


def _outlived(until: Any) -> sa.ColumnElement[bool]:
    """Whether another version of the client lasts beyond a moment."""
    lasting = sa.or_(_OTHER.c.expires_at.is_(None), _OTHER.c.expires_at > until)
    return sa.exists().where(_OTHER.c.client_id == TABLE.c.client_id, _OTHER.c.revoked_at.is_(None), lasting)


def ending(connection: sa.Connection, after: Moment, until: Moment) -> list[Ending]:
    """The last versions of clients that end between two moments, the first of them first. What was replaced by another
    that lasts longer nobody will miss."""
    within = TABLE.c.expires_at > after, TABLE.c.expires_at <= until
    return [Ending(*row) for row in connection.execute(_ENDING.where(*within, ~_outlived(TABLE.c.expires_at)))]


def count_last(connection: sa.Connection, after: Moment, until: Moment) -> int:
    """How many clients have a last secret that ends between two moments."""
    query = sa.select(sa.func.count(TABLE.c.client_id.distinct())).join(
        CLIENTS, CLIENTS.c.client_id == TABLE.c.client_id
    )
    ending = TABLE.c.expires_at > after, TABLE.c.expires_at <= until
    return (
        connection.scalar(
            query.where(*ending, TABLE.c.revoked_at.is_(None), CLIENTS.c.state != "deleted", ~_outlived(until))
        )
        or 0
    )


def by_id(connection: sa.Connection, secret_id: str, now: Moment) -> SecretRow | None:
    """One version, in whatever state."""
    row = connection.execute(_query().where(TABLE.c.secret_id == secret_id)).first()
    return None if row is None else _secret(row, _live(connection, row.client_id, now), now)


def _query() -> sa.Select[Any]:
    columns = [column for column in TABLE.c if column.name in SecretRow.__struct_fields__]
    places = sa.select(sa.func.count(SIGHTINGS.c.address.distinct())).where(SIGHTINGS.c.secret_id == TABLE.c.secret_id)
    return sa.select(*columns, USES.c.use_count, USES.c.last_used_at, places.scalar_subquery().label("addresses")).join(
        USES, USES.c.secret_id == TABLE.c.secret_id
    )


def _live(connection: sa.Connection, client_id: str, now: Moment) -> Mapping[str, Moment | None]:
    """The ends of a client's versions that can be used now, by their ids; None where there is no end."""
    living = sa.or_(TABLE.c.expires_at.is_(None), TABLE.c.expires_at > now)
    begun = sa.or_(TABLE.c.not_before.is_(None), TABLE.c.not_before <= now)
    query = sa.select(TABLE.c.secret_id, TABLE.c.expires_at)
    query = query.where(TABLE.c.client_id == client_id, TABLE.c.revoked_at.is_(None), living, begun)
    return {secret_id: expires_at for secret_id, expires_at in connection.execute(query)}


def _state(row: sa.Row[Any], now: Moment) -> Literal["active", "expiring", "expired", "revoked"]:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None:
        return "active"
    return "expiring" if row.expires_at > now else "expired"


def _secret(row: sa.Row[Any], live: Mapping[str, Moment | None], now: Moment) -> SecretRow:
    state = _state(row, now)
    safe, reason = _advice(row, state, live, now)
    return SecretRow(**row._mapping, state=state, safe_to_retire=safe, safe_to_retire_reason=reason)


def _advice(row: sa.Row[Any], state: str, live: Mapping[str, Moment | None], now: Moment) -> tuple[bool, str]:
    """Whether to end this version would break anybody, and the sentence that says why."""
    if state == "revoked":
        return True, f"revoked on {_date(row.revoked_at)}"
    if state == "expired":
        return True, f"expired on {_date(row.expires_at)}"
    if row.secret_id not in live:
        return False, f"begins to work on {_date(row.not_before)}"
    used = row.last_used_at
    since = (
        f"last used {_date(used)}{_places(row.addresses)}"
        if used is not None
        else f"never used; made {_date(row.created_at)}{_begun(row.not_before)}"
    )
    if len(live) == 1:
        return False, f"the client's only live secret; {since}"
    usable = row.created_at if row.not_before is None else row.not_before
    if now - (usable if used is None else used) < UNUSED_DAYS * _DAY:
        return False, since if used is not None else f"{since}, less than {UNUSED_DAYS} days ago"
    if not any(_outlasts(live[other], row.expires_at) for other in live if other != row.secret_id):
        return False, f"no other secret of the client lasts as long; {since}"
    return True, f"no use for {UNUSED_DAYS} days; {since}"


def _outlasts(end: Moment | None, other: Moment | None) -> bool:
    return end is None or (other is not None and end >= other)


def _begun(not_before: Moment | None) -> str:
    return "" if not_before is None else f", usable since {_date(not_before)}"


def _places(addresses: int) -> str:
    return f" from {addresses} address{'' if addresses == 1 else 'es'}" if addresses else ""


def _date(moment: Moment) -> str:
    return datetime.fromtimestamp(moment // SECOND, UTC).date().isoformat()
