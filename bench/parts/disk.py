"""Bytes on disk for each token, issued and when its row has left, and what takes them, by table and index."""

from collections.abc import Mapping

from sqlalchemy import Connection, func, select, text

from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports.findings import Detail, Finding, Found, at_most
from bench.runs import upkeep
from bench.runs.stage import Stage
from bench.subjects.databases import POSTGRESQL, SQLITE
from domain.grant import TokensIssued
from eventstore.database.engines import migrating, reading
from eventstore.stored import events
from projections import tokens

NAME = "disk"
TITLE = "Bytes on disk"

SECONDS = 4
"""Of load whose tokens are counted."""

SHOWN = 14

LEFT = {SQLITE: at_most(1_000), POSTGRESQL: at_most(1_300)}
"""Of a token whose row has left: it expired, and what it took is taken by newer ones."""

_LIVE = frozenset((str(tokens.TABLE.name), "pk_tokens", "sqlite_autoindex_tokens_1")) | {
    str(index.name) for index in tokens.TABLE.indexes
}
_NEVER = 10**18
"""No moment in microseconds is later."""

_ISSUED = select(func.count()).where(events.c.topic == TokensIssued.type)
_SQLITE = text("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")
_POSTGRESQL = text(
    "SELECT relname, pg_relation_size(pg_class.oid) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = 'public' AND relkind IN ('r', 'i')"
)


def measure(stage: Stage) -> Found:
    """What the tables grew by while client_credentials tokens were issued and everything had followed."""
    findings, details = [], []
    for database in stage.databases("disk"):
        stage.say(f"{database.name}: bytes on disk")
        subject = stage.subject(database, "disk")
        grown = _grown(subject)
        kept = _kept(subject)
        left = sum(size for name, size in grown.items() if name not in _LIVE) + kept
        for what, size, bound in (
            ("for each token issued", sum(grown.values()), None),
            ("when its row has left", left, LEFT[database.name]),
        ):
            findings.append(Finding(what, database.name, size, "bytes", bound, digits=0))
        ordered = sorted(grown.items(), key=lambda item: -item[1])
        rows = [(name, f"{size:,.0f}") for name, size in ordered[:SHOWN] if size >= 1]
        rest = sum(size for _, size in ordered[len(rows) :])
        rows += [("others", f"{rest:,.0f}"), ("digests, when its row has left", f"{kept:,.0f}")]
        details.append(Detail(f"Bytes for each token on {database.name}", ("table or index", "bytes"), rows))
    return Found(findings, details)


def _grown(subject: Subject) -> dict[str, float]:
    """What each table and index grew by for a token that was issued."""
    engine = reading(subject.database.url, 1)
    try:
        with subject.serving() as over, engine.connect() as connection:
            subject.known = preparation.prepare(over, subject.environment)
            # Pages are as full as they will be only behind others.
            preparation.collect(over, subject.known, subject.directory, seconds=SECONDS)
            upkeep.finished(connection)
            before, issued = sizes(connection), connection.scalar(_ISSUED) or 0
            preparation.collect(over, subject.known, subject.directory, seconds=SECONDS)
            upkeep.finished(connection)
            # By the log: of those whose answers came too late nobody else knows, and on a busy machine they are many.
            after, issued = sizes(connection), (connection.scalar(_ISSUED) or 0) - issued
    finally:
        engine.dispose()
    return {name: (size - before.get(name, 0)) / issued for name, size in after.items()}


def _kept(subject: Subject) -> float:
    """What `digests` grows by for a row that leaves: all of them do, with nobody served any more."""
    engine, pruned = migrating(subject.database.url), 0
    try:
        with engine.begin() as connection:
            before = _of_digests(sizes(connection))
            while count := tokens.prune(connection, _NEVER):
                pruned += count
            return (_of_digests(sizes(connection)) - before) / pruned
    finally:
        engine.dispose()


def _of_digests(sizes: Mapping[str, int]) -> int:
    return sizes["digests"] + sizes.get("pk_digests", 0)


def sizes(connection: Connection) -> Mapping[str, int]:
    """Bytes of each table and index."""
    query = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    return {name: int(size) for name, size in connection.execute(query)}
