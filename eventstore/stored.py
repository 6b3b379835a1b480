"""Where the log and its tree stand: the table of events, and the head row whose lock orders every append."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
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
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from projections.tables import NAMING_CONVENTION

EVENTS = "stored_events"

metadata = MetaData(naming_convention=NAMING_CONVENTION)

POSITION = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite makes only an INTEGER PRIMARY KEY the table's own row id, so that position costs no second index there."""


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


archived_events = Table(
    "archived_events",
    metadata,
    Column("first", POSITION, primary_key=True, autoincrement=False),
    Column("entries", LargeBinary, nullable=False),
)
"""The rows of dropped events, packed, see `eventstore.sealed.packed_rows`: by where some positions begin."""


class _Form(FunctionElement[Any]):
    """The stored form as it is. SQLite keeps whatever bytes it is given, be they text or not, and says them as such."""

    type = Text()
    inherit_cache = True


@compiles(_Form)
def _as_text(element: Any, compiler: Any, **given: Any) -> str:
    text: str = compiler.process(element.clauses, **given)
    return text


@compiles(_Form, "sqlite")
def _as_bytes(element: Any, compiler: Any, **given: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **given)} AS BLOB)"


ROW = (*list(events.c)[:-1], _Form(events.c.state).label("state"))
"""What `mapper.decoder` reads an event from: the stored form, as text or its bytes, and the columns that must say the
same."""

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

`indexed_by` is the id of the master key that the blind indexes come from since another one was retired. Anyone who has
another one for that must not write: it would find nobody by name, and take no name for taken.
"""

schema_floor = Table(
    "schema_floor",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("revision", Text, nullable=False),
)
"""One row, `id` 1: the oldest revision of which a server may be that serves these tables. A migration that only adds
leaves it as it is; one after which older servers would fail puts its own revision there."""

nodes = Table(
    "nodes",
    metadata,
    Column("node_id", Text, primary_key=True),
    Column("feature_level", Integer, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)
"""The processes that serve this log, each with the feature level that it knows and when it last said so."""

projection_versions = Table(
    "projection_versions", metadata, Column("name", Text, primary_key=True), Column("version", Integer, nullable=False)
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
"""Folds of long streams, see `eventstore.repository`: what stands there may be gone at any time."""

reported_secrets = Table(
    "reported_secrets",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""What requests to `POST /credentials/revoke` reported and is still to be ended. Sealed, since what it names ends."""

device_requests = Table(
    "device_requests",
    metadata,
    Column("grant_id", Text, primary_key=True),
    Column("device_code", LargeBinary(32), nullable=False, unique=True),
    Column("user_code", LargeBinary(32), nullable=False, unique=True),
    Column("anonymous", SmallInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("asked_at", BigInteger),
    Column("pace", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_device_requests_anonymous_expires_at", "anonymous", "expires_at"),
)
"""What devices ask for and nobody has decided yet, see `eventstore.pending.device_requests`. Sealed, since who approves
one gives what stands there; `asked_at` and `pace` say how often the device asks, in seconds."""
pushed_requests = Table(
    "pushed_requests",
    metadata,
    Column("request_uri", LargeBinary(32), primary_key=True),
    Column("anonymous", Boolean, nullable=False),
    Column("prune_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "prune_at"),
)
"""Authorization requests that clients pushed (RFC 9126), by the digests of their references. Sealed, since what stands
there is asked of people. `anonymous` are those of clients that proved nothing: of these there are only so many."""
mailed_links = Table(
    "mailed_links",
    metadata,
    Column("link", LargeBinary(32), primary_key=True),
    Column("subject", LargeBinary(32), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "subject", "purpose"),
    Index(None, "purpose", "made_at"),
    Index(None, "expires_at"),
)
"""Links that were mailed to people, by the digests of the secrets in them, see `eventstore.pending.mailed_links`.
`subject` is the keyed digest of whom they are about, known here or not."""
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("session", LargeBinary(32), primary_key=True),
    Column("used_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("claimed_until", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "expires_at"),
)
"""Who is signed in to the console, by the digests of what their browsers hold, see
`eventstore.pending.console_sessions`. Sealed, since tokens stand there; until `claimed_until` one process refreshes
them."""
letters = Table(
    "letters",
    metadata,
    Column("letter_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "due_at"),
    Index(None, "account_id"),
)
"""Mail to people that has not been handed on, see `eventstore.pending.letters`. Sealed, since links stand in it."""


# The log's tree, see `eventstore.transparency`.


TILES = Table(
    "log_tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("width", SmallInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint("width BETWEEN 1 AND 256 AND length(hashes) = 32 * width", name="width"),
)
"""One row a tile, the widest known: a narrower partial tile is the beginning of a wider one, so none is kept twice."""

CHECKPOINTS = Table(
    "log_checkpoints",
    metadata,
    Column("size", POSITION, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("published", BigInteger),
)
"""Every checkpoint that was ever signed, its note with all signatures. `published` is when it was first shown; until
then it waits for its witnesses."""

EDGE = Table(
    "log_edge",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
)
"""Row `id` 1: how many leaves the stored tree has. Anyone who moves it on holds its lock, so that one process only
signs the tree of a size. The right edge itself is the partial tiles of that size."""

INSERTS: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
"""By dialect, the insertion that may meet a row that is there."""


@cache
def put_tile(dialect: str) -> Any:
    """Stores a tile, in place of a narrower one of its number; a full tile is never replaced."""
    statement = INSERTS[dialect](TILES)
    return statement.on_conflict_do_update(
        index_elements=[TILES.c.level, TILES.c.number],
        set_={"width": statement.excluded.width, "hashes": statement.excluded.hashes},
        where=TILES.c.width < statement.excluded.width,
    )


@cache
def begin_edge(dialect: str) -> Any:
    """Makes the edge's row, unless there is one."""
    return INSERTS[dialect](EDGE).values(id=1, size=0).on_conflict_do_nothing()
