"""Bytes on disk for each token issued, and what takes them, table by table and index by index."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from bench import preparation, upkeep
from bench.reports.findings import Detail, Finding, Found
from bench.stage import Stage
from eventstore.database.engines import reading

NAME = "disk"
TITLE = "Bytes on disk"

SECONDS = 4
"""Of load whose tokens are counted."""

SHOWN = 14

_SQLITE = text("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")
_POSTGRESQL = text(
    "SELECT relname, pg_relation_size(pg_class.oid) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = 'public' AND relkind IN ('r', 'i')"
)


def measure(stage: Stage) -> Found:
    """What the tables grew by while client_credentials tokens were issued and everything had followed."""
    findings, details = [], []
    for subject in stage.subjects:
        stage.say(f"{subject.name}: bytes on disk")
        engine = reading(subject.database.url, 1)
        try:
            with subject.serving() as over, engine.connect() as connection:
                upkeep.finished(connection)
                before, issued = sizes(connection), len(subject.prepared.access)
                preparation.collect(over, subject.prepared, subject.directory, seconds=SECONDS)
                issued = len(subject.prepared.access) - issued
                upkeep.finished(connection)
                after = sizes(connection)
        finally:
            engine.dispose()
        grown = {name: (size - before.get(name, 0)) / issued for name, size in after.items()}
        findings.append(Finding("for each token issued", subject.name, sum(grown.values()), "bytes", digits=0))
        ordered = sorted(grown.items(), key=lambda item: -item[1])
        rows = [(name, f"{size:,.0f}") for name, size in ordered[:SHOWN] if size >= 1]
        rest = sum(size for _, size in ordered[len(rows) :])
        rows.append(("others", f"{rest:,.0f}"))
        details.append(Detail(f"Bytes for each token on {subject.name}", ("table or index", "bytes"), rows))
    return Found(findings, details)


def sizes(connection: Connection) -> Mapping[str, int]:
    """Bytes of each table and index."""
    query = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    return {name: int(size) for name, size in connection.execute(query)}
