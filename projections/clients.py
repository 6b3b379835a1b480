"""Clients, as the administration lists them and as a dashboard is found by its slug."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from domain import client, cut_off
from domain.event import Event, Moment, Recorded
from domain.keys import client_keys
from domain.rules import client_metadata, people
from projections import tables
from projections.prepared import Prepared
from projections.tables import RowPage, Write, metadata
from projections.tables import cut as cut_page

VERSION = 1

TABLE = sa.Table(
    "clients",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False, unique=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("slug", sa.Text, unique=True),
    sa.Column("realm", sa.Text, nullable=False),
    sa.Column("client_name", sa.Text, nullable=False),
    # The name as names are compared, in UTF-8: octets are sorted and searched alike by both databases.
    sa.Column("name_key", sa.LargeBinary, nullable=False),
    sa.Column("redirect_uris", sa.Text, nullable=False),
    sa.Column("grant_types", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("token_endpoint_auth_method", sa.Text, nullable=False),
    sa.Column("require_pkce", sa.Boolean, nullable=False),
    sa.Column("access_token_lifetime", sa.Integer),
    sa.Column("refresh_token_lifetime", sa.Integer),
    sa.Column("allowed_origins", sa.Text, nullable=False),
    sa.Column("tokens_per_minute", sa.Integer),
    sa.Column("resources", sa.Text, nullable=False),
    sa.Column("serves", sa.Text, nullable=False),
    sa.Column("id_token_signed_response_alg", sa.Text, nullable=False, server_default="RS256"),
    sa.Column("userinfo_signed_response_alg", sa.Text),
    sa.Column("token_endpoint_auth_signing_alg", sa.Text),
    sa.Column("first_party", sa.Boolean, nullable=False, server_default=sa.false()),
    # As JSON: whose tokens the client may exchange.
    sa.Column("token_exchange", sa.Text, nullable=False, server_default="[]"),
    # As JSON: what a client proves itself by in the place of a secret.
    sa.Column("keys", sa.Text, nullable=False, server_default="{}"),
    sa.Column("require_pushed_authorization_requests", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("post_logout_redirect_uris", sa.Text, nullable=False, server_default="[]"),
    sa.Column("backchannel_logout_uri", sa.Text),
    sa.Column("backchannel_logout_session_required", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("subject_type", sa.Text, nullable=False, server_default="public"),
    sa.Column("sector_identifier_uri", sa.Text),
    sa.Column("self_registered", sa.Text),
    sa.Column("metadata_uri", sa.Text),
    sa.Column("dpop_bound_access_tokens", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("tls_client_certificate_bound_access_tokens", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("profile", sa.Text),
    sa.Column("require_signed_request_object", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("request_object_signing_alg", sa.Text),
    sa.Column("authorization_signed_response_alg", sa.Text),
    sa.Column("access_token_format", sa.Text, nullable=False, server_default="opaque"),
    sa.Column("authorization_details_types", sa.Text, nullable=False, server_default="[]"),
    sa.Column("owner", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("cutoff", sa.BigInteger, nullable=False),
    sa.Column("windows", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

HANDLES: tuple[type[Event], ...] = (
    client.ClientRegistered,
    client.ClientUpdated,
    client_keys.KeysRegistered,
    client.ClientDisabled,
    client.ClientEnabled,
    client.ClientDeleted,
    cut_off.ClientTokensEnded,
)

_LISTS = (
    *("redirect_uris", "grant_types", "scope", "allowed_origins", "resources", "serves"),
    *("post_logout_redirect_uris", "authorization_details_types"),
)

_INSERT = sa.insert(TABLE)
_ONE = sa.update(TABLE).where(TABLE.c.client_id == sa.bindparam("b_client_id"))
_SET = {
    field: _ONE.values({field: sa.bindparam("b_value"), "updated_at": sa.bindparam("b_at")})
    for field in (*client.Attributes.__struct_fields__, "owner", "state", "keys")
}
_SET["client_name"] = _SET["client_name"].values(name_key=sa.bindparam("b_key"))
_CUT_OFF = _ONE.values(cutoff=sa.bindparam("b_position"))
_WINDOWS = tables.statements(TABLE, _ONE)
# The slug becomes free for another dashboard.
_DELETE = _ONE.values(state="deleted", slug=None, updated_at=sa.bindparam("b_at"))


ClientState = Literal["enabled", "disabled", "deleted"]


class ClientRow(msgspec.Struct, frozen=True):
    """A row. `owner` is a sealed reference, lifetimes are seconds, `position` is that of the registration."""

    client_id: str
    position: int
    type: client_metadata.Type
    slug: str | None
    realm: str
    client_name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scope: tuple[str, ...]
    token_endpoint_auth_method: client_metadata.AuthMethod
    require_pkce: bool
    access_token_lifetime: int | None
    refresh_token_lifetime: int | None
    allowed_origins: tuple[str, ...]
    tokens_per_minute: int | None
    resources: tuple[str, ...]
    serves: tuple[str, ...]
    id_token_signed_response_alg: client_metadata.SigningAlgorithm
    userinfo_signed_response_alg: client_metadata.SigningAlgorithm | None
    token_endpoint_auth_signing_alg: client_metadata.SigningAlgorithm | None
    first_party: bool
    token_exchange: tuple[client_metadata.ExchangeRule, ...]
    keys: client_metadata.ClientKeys
    require_pushed_authorization_requests: bool
    post_logout_redirect_uris: tuple[str, ...]
    backchannel_logout_uri: str | None
    backchannel_logout_session_required: bool
    subject_type: client_metadata.SubjectType
    sector_identifier_uri: str | None
    self_registered: client_metadata.SelfRegistered | None
    metadata_uri: str | None
    dpop_bound_access_tokens: bool
    tls_client_certificate_bound_access_tokens: bool
    profile: client_metadata.SecurityProfile | None
    require_signed_request_object: bool
    request_object_signing_alg: client_metadata.SigningAlgorithm | None
    authorization_signed_response_alg: client_metadata.SigningAlgorithm | None
    access_token_format: client_metadata.AccessTokenFormat
    authorization_details_types: tuple[str, ...]
    owner: str | None
    state: ClientState
    created_at: Moment
    updated_at: Moment


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The rows that an event changes."""
    event = recorded.event
    client_id = recorded.stream.partition(":")[2]
    # One key for all clients, because one may take the slug that another has just given up.
    key = "clients"
    where = {"b_client_id": client_id, "b_at": recorded.time}
    cut = Write(_CUT_OFF, {"b_client_id": client_id, "b_position": recorded.position}, key)
    match event:
        case client.ClientRegistered():
            yield Write(_INSERT, _registered(client_id, recorded), key)
        case client.ClientUpdated():
            for field, value in _updated(recorded):
                yield Write(_SET[field], where | value, key)
            if event.new.realm is not UNSET:
                yield cut
        case client_keys.KeysRegistered():
            keys = _keys_text(client_keys.keys_of(recorded))
            yield Write(_SET["keys"], where | {"b_value": keys}, key)
        case client.ClientEnabled():
            yield Write(_SET["state"], where | {"b_value": "enabled"}, key)
        case client.ClientDisabled():
            yield Write(_SET["state"], where | {"b_value": "disabled"}, key)
            yield cut
        case client.ClientDeleted():
            yield Write(_DELETE, where, key)
            yield cut
        case cut_off.ClientTokensEnded():
            yield tables.write_windows(_WINDOWS, recorded, {"b_client_id": client_id}, key)


def _updated(recorded: Recorded) -> Iterator[tuple[str, dict[str, Any]]]:
    event = recorded.event
    for field, value in client.named(event.new).items():
        yield field, _changed(field, value)
    if event.owner is not None or event.owner_removed:
        yield "owner", {"b_value": tables.reference(recorded, "owner")}


def _changed(field: str, value: Any) -> dict[str, Any]:
    changed = {"b_value": _stored(field, value)}
    return changed | {"b_key": name_key(value)} if field == "client_name" else changed


def name_key(name: str) -> bytes:
    """By what names of clients are sorted and searched: without regard to case and width."""
    return people.canonical(name).encode()


def _registered(client_id: str, recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    fields = {field: _stored(field, getattr(event, field)) for field in client.Attributes.__struct_fields__}
    return fields | {
        "client_id": client_id,
        "name_key": name_key(event.client_name),
        "position": recorded.position,
        "type": event.client_type,
        "slug": event.slug,
        "owner": tables.reference(recorded, "owner"),
        "state": "enabled",
        "keys": _keys_text(client_metadata.NO_KEYS),
        "self_registered": event.self_registered,
        "metadata_uri": event.metadata_uri,
        "cutoff": 0,
        "windows": "",
        "created_at": recorded.time,
        "updated_at": recorded.time,
    }


def _keys_text(keys: client_metadata.ClientKeys) -> str:
    return msgspec.json.encode(keys).decode()


_decode_keys = msgspec.json.Decoder(client_metadata.ClientKeys).decode


_decode_rules = msgspec.json.Decoder(tuple[client_metadata.ExchangeRule, ...]).decode


def _stored(field: str, value: Any) -> Any:
    return tables.list_text(value) if field in (*_LISTS, "token_exchange") else value


def _structured(fields: dict[str, Any]) -> dict[str, Any]:
    return {"keys": _decode_keys(fields["keys"]), "token_exchange": _decode_rules(fields["token_exchange"])}


def row_of(row: sa.Row[Any]) -> ClientRow:
    """The client in a row of a query that asks for its columns, and perhaps for others."""
    fields = {field: row._mapping[field] for field in ClientRow.__struct_fields__}
    lists = {field: tables.list_values(fields[field]) for field in _LISTS}
    return ClientRow(**fields | lists | _structured(fields))


_COLUMNS = tuple(TABLE.c[field] for field in ClientRow.__struct_fields__)
_BY_ID = sa.select(*_COLUMNS).where(TABLE.c.client_id == sa.bindparam("b_client_id"))


def by_id(connection: sa.Connection, client_id: str) -> ClientRow | None:
    """One client, deleted or not."""
    return _first(connection, _BY_ID, b_client_id=client_id)


def called(connection: sa.Connection, client_ids: Collection[str]) -> dict[str, str]:
    """What these clients are called, or were before they were deleted, by their ids."""
    named = sa.select(TABLE.c.client_id, TABLE.c.client_name).where(TABLE.c.client_id.in_(client_ids))
    return {row.client_id: row.client_name for row in connection.execute(named)} if client_ids else {}


def by_slug(connection: sa.Connection, slug: str) -> ClientRow | None:
    """The dashboard of this slug."""
    return _first(connection, sa.select(*_COLUMNS).where(TABLE.c.slug == slug))


def page(connection: sa.Connection, *, after: int | None = None, limit: int = 50) -> RowPage[ClientRow, int]:
    """Clients that are not deleted, in the order of their registration; `after` is a `position`."""
    return _page(connection, sa.select(*_COLUMNS), after, limit)


Sort = Literal["created_at", "-created_at", "client_name", "-client_name"]


def matching(connection: sa.Connection, contains: str, among: Collection[str] = ()) -> sa.Select[Any]:
    """The query for clients that are not deleted, have a text in their name, and are `among` these unless it is
    empty."""
    query = sa.select(*_COLUMNS).where(TABLE.c.state != "deleted")
    if among:
        query = query.where(TABLE.c.client_id.in_(among))
    if not contains:
        return query
    wanted = sa.bindparam("b_wanted", name_key(contains), type_=sa.LargeBinary)
    sqlite = connection.dialect.name == "sqlite"
    found = sa.func.instr(TABLE.c.name_key, wanted) if sqlite else sa.func.position(wanted.op("IN")(TABLE.c.name_key))
    return query.where(found > 0)


def search(
    connection: sa.Connection,
    *,
    contains: str = "",
    among: Collection[str] = (),
    sort: Sort = "created_at",
    after: Any = None,
    limit: int = 50,
) -> RowPage[ClientRow, Any]:
    """The clients of `matching`; `after` is the last one's sort key: name, `position`."""
    query = matching(connection, contains, among)
    columns = [TABLE.c.position] if sort.endswith("created_at") else [TABLE.c.name_key, TABLE.c.position]
    descending = sort.startswith("-")
    if after is not None:
        last = (after[0],) if len(columns) == 1 else (name_key(after[0]), after[1])
        place, edge = sa.tuple_(*columns), sa.tuple_(*(sa.literal(value) for value in last))
        query = query.where(place < edge if descending else place > edge)
    ordered = query.order_by(*(column.desc() if descending else column for column in columns)).limit(limit + 1)
    rows = [row_of(row) for row in connection.execute(ordered)]
    return cut_page(rows, limit, lambda row: (row.position,) if len(columns) == 1 else (row.client_name, row.position))


def dashboards(connection: sa.Connection, *, after: int | None = None, limit: int = 50) -> RowPage[ClientRow, int]:
    """Dashboards that are not deleted, in the order of their registration; `after` is a `position`."""
    return _page(connection, sa.select(*_COLUMNS).where(TABLE.c.type == "dashboard"), after, limit)


_BY_SLUG = Prepared(sa.select(TABLE.c.client_id).where(TABLE.c.slug == sa.bindparam("slug")))


def id_by_slug(connection: sa.Connection, slug: str) -> str | None:
    """To which dashboard the row with this slug leads."""
    row = _BY_SLUG.first(connection, {"slug": slug})
    return None if row is None else row[0]


def may_allow_origin(connection: sa.Connection, origin: str) -> list[str]:
    """The enabled clients that may be called from this origin."""
    query = sa.select(TABLE.c.client_id).where(
        TABLE.c.state == "enabled", tables.may_hold(TABLE.c.allowed_origins, origin)
    )
    return list(connection.scalars(query))


def may_name_scope(connection: sa.Connection, scope: str) -> list[str]:
    """The clients that are not deleted and may have this scope."""
    query = sa.select(TABLE.c.client_id).where(TABLE.c.state != "deleted", tables.may_hold(TABLE.c.scope, scope))
    return list(connection.scalars(query))


def _first(connection: sa.Connection, query: sa.Select[Any], **given: str) -> ClientRow | None:
    row = connection.execute(query, given).first()
    return None if row is None else row_of(row)


def _page(connection: sa.Connection, query: sa.Select[Any], after: int | None, limit: int) -> RowPage[ClientRow, int]:
    query = query.where(TABLE.c.state != "deleted", TABLE.c.position > (after or 0))
    rows = connection.execute(query.order_by(TABLE.c.position).limit(limit + 1))
    return cut_page([row_of(row) for row in rows], limit, lambda found: found.position)
