"""Where the log stands: the table of events, and the head row whose lock orders every append."""

from eventsourcing_sqlalchemy.datastore import SQLAlchemyDatastore
from eventsourcing_sqlalchemy.models import EventRecord  # type: ignore[attr-defined]
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    bindparam,
    column,
    func,
    literal_column,
)
from sqlalchemy.orm import Mapped, mapped_column

from projections.schema import NAMING_CONVENTION

EVENTS = "stored_events"

metadata = MetaData(naming_convention=NAMING_CONVENTION)

POSITION = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite makes only an INTEGER PRIMARY KEY the table's own row id, so that position costs no second index there."""


class LogRecord(EventRecord):  # type: ignore[misc]
    """One stored event: the recorder's five columns, with our dense position as `id` and the stored form as text."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(POSITION, primary_key=True, autoincrement=False)
    originator_id: Mapped[str] = mapped_column(Text, nullable=False)
    originator_version: Mapped[int] = mapped_column(POSITION, nullable=False)
    topic: Mapped[str] = mapped_column(Text, nullable=False)
    state: Mapped[str] = mapped_column(Text, nullable=False)

    __table_args__ = (Index("stream_version", "originator_id", "originator_version", unique=True),)


class LogDatastore(SQLAlchemyDatastore):
    """The library's datastore over an engine of ours and the text-shaped record."""

    base_stored_event_record_cls = LogRecord


events = Table(
    EVENTS,
    metadata,
    Column("id", POSITION, primary_key=True, autoincrement=False),
    Column("originator_id", Text, nullable=False),
    Column("originator_version", POSITION, nullable=False),
    Column("topic", Text, nullable=False),
    Column("state", Text, nullable=False),
    Index("ix_stored_events_stream", "originator_id", "originator_version", unique=True),
)

ROW = (events.c.id, events.c.originator_id, events.c.originator_version, events.c.topic, events.c.state)
"""What `mapper.decoder` reads an event from: the stored form, and the columns that must say the same."""

place = events.c.id + literal_column("0")
"""The position, for who reads a stream up to one. A stream is found by its own index and by nothing else: PostgreSQL,
as long as it knows little of a table, would also read half of the primary key to learn what stands up to there."""

named = (
    func.unnest(bindparam("streams", type_=ARRAY(Text)), type_=Text)
    .table_valued(column("stream", Text))
    .render_derived(name="named")
)
"""Many streams at once, on PostgreSQL. What is read of each is joined to this as a LATERAL subquery with an order, so
that they are read one by one, by the index of streams. Any other join may read the whole log, for the reason above."""

head = Table(
    "log_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("indexed_by", Text),
)
"""One row, `id` 1: position and time of the newest event. Appending needs its lock: commit order is position order.

`indexed_by` is the id of the master key that the blind indexes come from since another one was retired. Whoever has
another one for that must not write: it would find nobody by name, and take no name for taken.
"""

projection_versions = Table(
    "projection_versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)
"""With which definition (`VERSION`) each projection's rows were made; one without a row: with its first."""

rebuilds = Table(
    "rebuilds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("versions", Text, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)
"""Rebuilds under way: which projections, how far they have come, and by which definitions. With a MAC, since what a
rebuild believes to have behind it is missing in what it swaps in."""

folds = Table(
    "folds",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)
"""Folds of long streams, see `eventstore.snapshots`: what stands there may be gone at any time."""

reported_secrets = Table(
    "reported_secrets",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""What requests to `POST /credentials/revoke` reported and is still to be ended. Sealed, since what it names ends."""
