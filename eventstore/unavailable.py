"""Why the ledger cannot do now what it is asked: each is a 503 over HTTP."""


class LedgerOverloaded(Exception):
    """More commands wait than the ledger accepts (503 with Retry-After)."""


class IndexBehind(LedgerOverloaded):
    """The search index is too far behind to tell what somebody asks who may not have it follow (503)."""


class InDoubt(LedgerOverloaded):
    """Not at present: the log has diverged, and this would let somebody do more than before (503 with Retry-After)."""


class OtherLevel(LedgerOverloaded):
    """Not at present: some node does not know the feature level that this takes, or this one not the log's (503)."""


class DatabaseAway(Exception):
    """The database does not answer or keeps its lock (503): nothing was stored, unless it went while it committed."""


class DatabaseSilent(DatabaseAway):
    """The database has not answered for as long as anybody waits."""


class DatabaseReadOnly(DatabaseAway):
    """The database takes nothing at present: it is a standby, or its file may not be written."""


class DatabaseUnfit(DatabaseAway):
    """A table is not found, or the server's role may not do what it does: somebody changed the database, its settings
    or rights. A connection may have been made before that was mended, and is not asked again."""


class StorageFull(DatabaseAway):
    """The database has no room for what was to be stored. What is stored can be read."""


class WentBack(DatabaseAway):
    """The log is not the continuation of what this process has seen (503 until it is restarted); says why.

    The database was put back to an older copy, or another one has taken its place, as after a fail-over to a standby
    that did not have everything. What this process remembers is of events that are gone.
    """


class Moved(DatabaseAway):
    """The log is elsewhere by now, and nothing is read or written here (503 until this process has found it)."""


class WrongClock(DatabaseAway):
    """This machine's clock is off, so that nothing can be written here (503 with Retry-After). Nothing was stored."""


class Forged(DatabaseAway):
    """The event at `position` is not authentic, or not there: nothing obeys it, and nothing is written behind it."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the log is forged at position {position}")
        self.position = position


class ArchiveAway(DatabaseAway):
    """An event stands in a segment alone, and that cannot be read or is another one than before; says which and why."""

    def __init__(self, segment: str, first: int, last: int, why: str) -> None:
        super().__init__(f"the archived events {first}-{last} cannot be read from {segment}: {why}")
        self.segment = segment
        self.first = first
        self.last = last
