"""Incidents: leaks that were reported or contained, and how far each has come."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from domain import incident
from domain.event import Actor, Event, Moment, Recorded
from projections import tables
from projections.prepared import Prepared
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

EVIDENCE_AT_MOST = 500_000
"""Characters after which the evidence of a row begins anew: what the longest takes ten times, the usual a thousand."""

_NUMBERS = incident.Numbers.__struct_fields__
_BETWEEN = "\n"
"""Between sealed references, of which none holds it."""

TABLE = sa.Table(
    "incidents",
    metadata,
    sa.Column("incident_id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text),
    sa.Column("reported_by", sa.Text, nullable=False),
    sa.Column("reported_at", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("client_id", sa.Text),
    sa.Column("account_id", sa.Text),
    sa.Column("secret_id", sa.Text),
    sa.Column("grant_id", sa.Text),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in _NUMBERS),
    sa.Column("contained_at", sa.BigInteger),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("note", sa.Text),
    sa.Column("assignee", sa.Text),
    sa.Index(None, "sha256"),
    sa.Index(None, "client_id"),
    sa.Index(None, "account_id"),
)

SECRETS = sa.Table(
    "incident_secrets",
    metadata,
    sa.Column("incident_id", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Index(None, "sha256"),
)
"""Every secret that leaked in an incident, the first included."""

TABLES = (TABLE, SECRETS)

HANDLES: tuple[type[Event], ...] = incident.EVENTS

_INSERT = sa.insert(TABLE)
_INSERT_SECRET = sa.insert(SECRETS)
_ONE = sa.update(TABLE).where(TABLE.c.incident_id == sa.bindparam("b_incident_id"))
_IDENTIFY = _ONE.values(
    {name: sa.bindparam(f"b_{name}") for name in ("target", "client_id", "account_id", "secret_id", "grant_id")}
    | {"state": sa.case((TABLE.c.state == "reported", "identified"), else_=TABLE.c.state)}
)
_WITH_SECRET = Prepared(sa.select(SECRETS.c.incident_id).where(SECRETS.c.sha256 == sa.bindparam("b_sha256")))
_KEPT = sa.case(
    (sa.func.length(TABLE.c.evidence) < EVIDENCE_AT_MOST, TABLE.c.evidence + sa.literal(_BETWEEN)),
    else_="",
)
_ADD_EVIDENCE = _ONE.values(evidence=_KEPT + sa.bindparam("b_evidence", type_=sa.Text))
_CONTAIN = _ONE.values(
    {name: TABLE.c[name] + sa.bindparam(f"b_{name}") for name in _NUMBERS}
    | {
        "state": "contained",
        "contained_at": sa.func.coalesce(TABLE.c.contained_at, sa.bindparam("b_at", type_=sa.BigInteger)),
    }
)
_ASSIGN = _ONE.values(assignee=sa.bindparam("b_assignee", type_=sa.Text))
_CLOSE = _ONE.values(state="closed", closed_at=sa.bindparam("b_at"), note=sa.bindparam("b_note"))


class IncidentRow(msgspec.Struct, frozen=True):
    """A row. `evidence` and `note` are sealed references; `numbers` are those of all containments together.

    `evidence` is all that was said, in order; of what would fill a row the newest.
    """

    incident_id: str
    position: int
    state: incident.Status
    source: incident.Source
    evidence: tuple[str, ...]
    reported_by: Actor
    reported_at: Moment
    sha256: str | None
    kind: str | None
    target: incident.TargetKind | None
    client_id: str | None
    account_id: str | None
    secret_id: str | None
    grant_id: str | None
    numbers: incident.Numbers
    contained_at: Moment | None
    closed_at: Moment | None
    note: str | None
    assignee: str | None


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    event, incident_id = recorded.event, recorded.stream.partition(":")[2]
    key, where = ("incidents", incident_id), {"b_incident_id": incident_id}
    match event:
        case incident.IncidentReported():
            yield Write(_INSERT, _reported(incident_id, recorded), key)
            if event.sha256 is not None:
                yield _leaked(incident_id, recorded, incident.Leaked(event.sha256, event.kind))
        case incident.SecretsAdded():
            for each in event.secrets:
                yield _leaked(incident_id, recorded, each)
        case incident.IncidentIdentified():
            found = {f"b_{name}": getattr(event, name) for name in incident.IncidentIdentified.__struct_fields__}
            yield Write(_IDENTIFY, where | found, key)
        case incident.EvidenceAdded():
            more = {"b_evidence": tables.reference(recorded, "evidence")}
            yield Write(_ADD_EVIDENCE, where | more, key)
        case incident.IncidentContained():
            numbers = {f"b_{name}": getattr(event.numbers, name) for name in _NUMBERS}
            yield Write(_CONTAIN, where | numbers | {"b_at": recorded.time}, key)
        case incident.IncidentAssigned(account_id=account_id):
            yield Write(_ASSIGN, where | {"b_assignee": account_id}, key)
        case incident.IncidentClosed():
            note = tables.reference(recorded, "note")
            yield Write(_CLOSE, where | {"b_at": recorded.time, "b_note": note}, key)


def _leaked(incident_id: str, recorded: Recorded, secret: incident.Leaked) -> Write:
    row = {"incident_id": incident_id, "sha256": secret.sha256, "kind": secret.kind, "position": recorded.position}
    return Write(_INSERT_SECRET, row, ("incident_secrets", incident_id, secret.sha256))


def _reported(incident_id: str, recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    return {
        "incident_id": incident_id,
        "position": recorded.position,
        "state": "reported",
        "source": event.source,
        "evidence": tables.reference(recorded, "evidence"),
        "reported_by": msgspec.json.encode(recorded.actor).decode(),
        "reported_at": recorded.time,
        "sha256": event.sha256,
        "kind": event.kind,
        **dict.fromkeys(_NUMBERS, 0),
    }


def _incident(row: Any) -> IncidentRow:
    fields = dict(row._mapping)
    numbers = incident.Numbers(**{name: fields.pop(name) for name in _NUMBERS})
    reported_by = msgspec.json.decode(fields.pop("reported_by"), type=Actor)
    evidence = fields.pop("evidence")
    said = () if evidence is None else tuple(evidence.split(_BETWEEN))
    return IncidentRow(**fields, evidence=said, numbers=numbers, reported_by=reported_by)


def by_id(connection: sa.Connection, incident_id: str) -> IncidentRow | None:
    """One incident."""
    row = connection.execute(sa.select(TABLE).where(TABLE.c.incident_id == incident_id)).first()
    return None if row is None else _incident(row)


def page(
    connection: sa.Connection, *, state: str | None = None, after: int | None = None, limit: int = 50
) -> RowPage[IncidentRow, int]:
    """Incidents, the newest first; `after` is a `position`."""
    query = sa.select(TABLE).order_by(TABLE.c.position.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(TABLE.c.state == state)
    if after is not None:
        query = query.where(TABLE.c.position < after)
    return cut([_incident(row) for row in connection.execute(query)], limit, lambda found: found.position)


def newest_open(connection: sa.Connection, limit: int) -> list[IncidentRow]:
    """Incidents that are not closed, the newest first."""
    query = sa.select(TABLE).where(TABLE.c.state != "closed").order_by(TABLE.c.position.desc()).limit(limit)
    return [_incident(row) for row in connection.execute(query)]


def count_open(connection: sa.Connection) -> int:
    """How many incidents are not closed."""
    return connection.scalar(sa.select(sa.func.count()).select_from(TABLE).where(TABLE.c.state != "closed")) or 0


def ids(connection: sa.Connection) -> list[str]:
    """Every incident there ever was, the oldest first."""
    return list(connection.scalars(sa.select(TABLE.c.incident_id).order_by(TABLE.c.position)))


def secrets_of(connection: sa.Connection, incident_id: str) -> list[incident.Leaked]:
    """What leaked in this incident, in the order of the reports."""
    query = sa.select(SECRETS.c.sha256, SECRETS.c.kind).where(SECRETS.c.incident_id == incident_id)
    return [incident.Leaked(*row) for row in connection.execute(query.order_by(SECRETS.c.position, SECRETS.c.sha256))]


def with_secrets(connection: sa.Connection, sha256: Sequence[str]) -> list[tuple[str, str]]:
    """Which of these digests leaked in which incident, open or not."""
    return [(each, row[0]) for each in sha256 for row in _WITH_SECRET.all(connection, {"b_sha256": each})]


def ids_open_about(
    connection: sa.Connection,
    *,
    sha256: Collection[str] = (),
    client_id: str | None = None,
    account_id: str | None = None,
    target: incident.TargetKind | None = None,
) -> list[str]:
    """Incidents that may be open and about one of the digests, or a target of theirs, the newest first."""
    query = sa.select(TABLE.c.incident_id).where(TABLE.c.state != "closed").order_by(TABLE.c.position.desc())
    if sha256:
        query = query.where(
            TABLE.c.incident_id.in_(sa.select(SECRETS.c.incident_id).where(SECRETS.c.sha256.in_(sha256)))
        )
    else:
        query = query.where(TABLE.c.target == target)
        if client_id is not None:
            query = query.where(TABLE.c.client_id == client_id)
        if account_id is not None:
            query = query.where(TABLE.c.account_id == account_id)
    return list(connection.scalars(query))
