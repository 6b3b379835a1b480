"""What is bound to a key, or was authenticated by it: what the events say that the index has by its thumbprint."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from domain.event import Recorded
from eventstore.affected import OF_GRANTS, IssuedCounts
from eventstore.recorder import store
from eventstore.sealed import rows_given
from eventstore.sealed.rows_given import GIVEN
from eventstore.sealed.short_names import listed
from projections import event_index
from projections.event_index import NameKind

_EVERY = 2**62

OF_KEYS = (*OF_GRANTS, "grant.exchanged")
"""What says that a code or token is bound to a key, or what issued one to the one who showed it."""

_MEMBER = {"sqlite": "json_extract(used.state, '$.{0}.{1}')", "postgresql": "(used.state::json -> '{0}' ->> '{1}')"}
_CREDENTIAL = {
    "sqlite": "json_extract(used.state, '$.actor.credential.key_id')",
    "postgresql": "(used.state::json -> 'actor' -> 'credential' ->> 'key_id')",
}
_KEYED = """
SELECT COUNT(DISTINCT used.originator_id), COUNT(DISTINCT CASE WHEN used.topic IN ({codes}) OR
{code} IS NOT NULL THEN used.originator_id END), SUM(CASE WHEN used.topic NOT IN ({codes}) THEN 1 ELSE 0 END),
COUNT({refresh}) FROM {given} WHERE used.topic IN ({topics})
"""
_HOLDERS = """
SELECT DISTINCT CASE WHEN used.topic = 'client.keys_registered' THEN substr(used.originator_id, 8) ELSE {actor} END
FROM {given} WHERE used.topic = 'client.keys_registered' OR ({kind} = 'client' AND {credential} = :thumbprint)
"""
_NAMED_CLIENTS = "SELECT DISTINCT {client} FROM {given} WHERE used.topic IN ({topics}) AND {client} IS NOT NULL"
_GRANTS_OF = "SELECT DISTINCT used.originator_id FROM {given} WHERE used.topic IN ({topics}) ORDER BY 1"

_EXCHANGED = "SELECT DISTINCT used.originator_id FROM {given} WHERE used.topic IN ({exchanged})"


def _of_key(connection: Connection, statement: str, positions: Sequence[int], **bound: str) -> Any:
    dialect = connection.dialect.name
    member = _MEMBER[dialect]
    parts = {
        "given": GIVEN[dialect],
        "code": member.format("data", "code"),
        "refresh": member.format("data", "refresh_token"),
        "client": member.format("data", "client_id"),
        "actor": member.format("actor", "id"),
        "kind": member.format("actor", "kind"),
        "credential": _CREDENTIAL[dialect],
        "topics": listed(OF_KEYS),
        "codes": listed(["grant.code_issued"]),
        "exchanged": listed(["grant.exchanged"]),
    }
    return rows_given.ask(connection, text(statement.format(**parts)), positions, **bound)


def positions_of(connection: Connection, thumbprint: str, low: int = 1, high: int = _EVERY) -> list[int]:
    """Where events name a key, as far as the search index has come."""
    return event_index.positions(connection, NameKind.KEY, thumbprint.encode(), low, high, _EVERY, descending=False)


def known(connection: Connection, thumbprints: Iterable[str]) -> list[str]:
    """Those of the keys that any event names, as far as the search index has come. Of none more than one is read."""

    def first(thumbprint: str) -> list[int]:
        return event_index.positions(connection, NameKind.KEY, thumbprint.encode(), 1, _EVERY, 1, descending=False)

    return [each for each in thumbprints if first(each)]


def issued(connection: Connection, positions: Sequence[int]) -> IssuedCounts:
    """All that the events at these positions issued, dead or alive."""
    grants, codes, access, refresh = _of_key(connection, _KEYED, positions)[0]
    return IssuedCounts(grants, codes, access or 0, refresh)


def holders_of(connection: Connection, thumbprint: str) -> list[str] | None:
    """The clients that registered a key, or proved themselves by it; None where no event names it."""
    positions = positions_of(connection, thumbprint)
    return holders(connection, positions, thumbprint) if positions else None


def holders(connection: Connection, positions: Sequence[int], thumbprint: str) -> list[str]:
    """The same as the events at these positions say."""
    return sorted(each for (each,) in _of_key(connection, _HOLDERS, positions, thumbprint=thumbprint) if each)


def clients(connection: Connection, positions: Sequence[int]) -> list[str]:
    """The clients that had something issued by the events at these positions."""
    return sorted(each for (each,) in _of_key(connection, _NAMED_CLIENTS, positions))


def grants(connection: Connection, positions: Sequence[int]) -> list[str]:
    """The grants of which the events at these positions are."""
    return [stream.partition(":")[2] for (stream,) in _of_key(connection, _GRANTS_OF, positions)]


def exchanged(connection: Connection, positions: Sequence[int]) -> list[str]:
    """The grants in which a token was exchanged for one by the events at these positions."""
    found = _of_key(connection, _EXCHANGED, positions)
    return [stream.partition(":")[2] for (stream,) in found]


def told_between(connection: Connection, after: int, head: int) -> Iterator[Recorded]:
    """The events that may name a key, `after` < position ≤ `head`."""
    return store(connection).between(after, head, OF_KEYS)
