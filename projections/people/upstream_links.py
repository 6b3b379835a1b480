"""Who is linked to whom at other OpenID providers, as the blind index of a `sub` leads to it."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Column, Connection, Index, LargeBinary, Table, Text, bindparam, delete, insert, select

from domain.account import AccountErased
from domain.event import Event, Recorded
from domain.people.upstream_link import UpstreamLinked, UpstreamUnlinked
from projections.tables import Write, metadata

VERSION = 1

TABLE = Table(
    "upstream_links",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("upstream", Text, primary_key=True),
    Column("realm", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    # Replayed after an erasure there is no key to compute an index with.
    Column("sub_index", LargeBinary),
    Index(None, "sub_index"),
)

HANDLES: tuple[type[Event], ...] = (UpstreamLinked, UpstreamUnlinked, AccountErased)

ALIKE_AT_MOST = 20
"""Links whose index is the same: those of subjects which differ by the case of their letters."""

_INSERT = insert(TABLE)
_OF_PERSON = delete(TABLE).where(TABLE.c.account_id == bindparam("b_account_id"))
_ONE = _OF_PERSON.where(TABLE.c.upstream == bindparam("b_upstream"))
_FOUND = (
    select(TABLE.c.account_id, TABLE.c.upstream)
    .where(
        TABLE.c.sub_index == bindparam("b_index"),
        TABLE.c.realm == bindparam("b_realm"),
        TABLE.c.issuer == bindparam("b_issuer"),
    )
    .order_by(TABLE.c.account_id, TABLE.c.upstream)
    .limit(ALIKE_AT_MOST)
)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The rows that an event makes or removes."""
    event, account_id = recorded.event, recorded.stream.partition(":")[2]
    key = ("upstream_links", account_id)
    if isinstance(event, AccountErased):
        yield Write(_OF_PERSON, {"b_account_id": account_id}, key)
        return
    yield Write(_ONE, {"b_account_id": account_id, "b_upstream": event.upstream}, key)
    if isinstance(event, UpstreamLinked):
        row = {
            "account_id": account_id,
            "upstream": event.upstream,
            "realm": event.realm,
            "issuer": event.issuer,
            "sub_index": indexes.get("sub"),
        }
        yield Write(_INSERT, row, key)


def found(connection: Connection, realm: str, issuer: str, index: bytes) -> list[tuple[str, str]]:
    """To whom the rows with this blind index of a `sub` lead, and by the provider of which name."""
    rows = connection.execute(_FOUND, {"b_index": index, "b_realm": realm, "b_issuer": issuer})
    return [(row.account_id, row.upstream) for row in rows]
