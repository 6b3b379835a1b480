"""A log of which most was archived and dropped, beside one that never had more than what lives in it.

Both are served in turn, a start in each round, and what is compared is processor time: whatever grows with what was
dropped makes the one dearer than the other.
"""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from sqlalchemy import text

from bench.load import asking, wrk
from bench.parts.behind import DEARER, grow, subjects
from bench.prepared import preparation
from bench.prepared.subject import CLIENT_CREDENTIALS, INTROSPECTION, REFRESH, Subject
from bench.reports.findings import Detail, Finding, Found, at_most, of_rounds
from bench.runs import spending, upkeep
from bench.runs.spending import Spent
from bench.runs.stage import Stage
from bench.subjects import processes
from bench.subjects.server import BIN, ROOT
from eventstore.database.engines import reading

NAME = "archive"
TITLE = "Behind an archive"

LIVING_DAYS = 3
"""Of the sixty that a made log lasts, the newest are not archived: a tenth of its events is left."""

FIRST = "first introspection"
WORKS = (FIRST, INTROSPECTION, CLIENT_CREDENTIALS, REFRESH)
"""In this order, since a process knows a token once it was asked for it, or has issued it."""

TOKENS = 4_000

START = at_most(2)

PACKED = (
    *("stored_events", "archived_events", "archived_streams", "event_positions", "archived_positions"),
    *("archived_grants", "digests", "log_tiles"),
)

_SIZE = {
    "sqlite": "page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgresql": "pg_database_size(current_database())",
}
_ROWS_READ = text(
    "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)"
)


class CommandCost(NamedTuple):
    """What a command printed, and took: processor time of it and of the database, in seconds, and memory in MiB."""

    said: str
    own: float
    database: float
    memory: float


class StartCost(NamedTuple):
    """What a start took: seconds to the first answer and to the first token, processor time, and memory in MiB."""

    ready: float
    token: float
    cpu: float
    memory: float


class ArchiveRuns(NamedTuple):
    """Of one log in every round. `rows` is how many PostgreSQL read for a start, a token and the end after it."""

    starts: list[StartCost]
    rows: list[int]
    spent: dict[str, list[Spent]]


def measure(stage: Stage) -> Found:
    """Makes the long log, drops most of it, and then makes the other as long as what is left."""
    found, events = Found([], [], []), stage.plan.archived
    whole = list(subjects(stage, NAME, events))
    grow(stage, [(subject, events) for subject in whole])
    living = events - min([_dropped(stage, subject, found) for subject in whole])
    alone = list(subjects(stage, f"{NAME}-alone", living))
    grow(stage, [(subject, living) for subject in alone])
    for pair in zip(whole, alone, strict=True):
        _compared(stage, *pair, found)
    return found


def _dropped(stage: Stage, subject: Subject, found: Found) -> int:
    """Archives, drops and tidies up; how many events were dropped."""
    place = subject.directory / "archive"
    before = (datetime.now(UTC) - timedelta(days=LIVING_DAYS)).isoformat(timespec="seconds").replace("+00:00", "Z")
    archive = ("log", "archive", "--before", before, "--to", str(place))

    def tell(what: str, took: CommandCost, count: int) -> None:
        for words, value, unit in (
            (f"{what}, processor time of each", took.own / count * 1e6, "µs"),
            (f"{what}, the database's", took.database / count * 1e6, "µs"),
            (f"{what}, memory at most", took.memory, "MiB"),
        ):
            found.findings.append(Finding(words, subject.kind, value, unit, digits=1 if unit == "µs" else 0))

    stage.say(f"{subject.name}: archiving")
    made = _run(subject, *archive)
    segments = json.loads(made.said)
    count = sum(each["events"] for each in segments)
    tell("archived and verified", made, count)
    tell("archived once more, with nothing new", _run(subject, *archive), count)
    stage.say(f"{subject.name}: dropping {count:,} events in {len(segments)} segments")
    tell("dropped", _run(subject, "log", "drop-archived", "--yes"), count)
    tell("archived once more, all of that dropped", _run(subject, *archive), count)
    tell("verified again by --check", _run(subject, "log", "archived", "--check"), count)
    size = _tidied(subject)
    found.findings.append(Finding("events that were dropped", subject.kind, count, digits=0))
    found.findings.append(Finding("database, tidied up", subject.kind, size / 1e6, "MB", digits=0))
    return int(count)


def _run(subject: Subject, *arguments: str) -> CommandCost:
    before = processes.ended_children(subject.database.process)
    command = [str(BIN / "grantlog"), *arguments, "--json"]
    words = subject.directory / "command.log"
    with words.open("wb") as told:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **subject.environment}, stdout=subprocess.PIPE, stderr=told
        )
    assert process.stdout is not None
    with processes.watching([process.pid]) as watched:
        said = process.stdout.read().decode()
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"grantlog {' '.join(arguments)}: {process.returncode}\n{said}{words.read_text()}")
    database = processes.ended_children(subject.database.process) - before
    return CommandCost(said, used.ru_utime + used.ru_stime, database, watched.memory)


def _tidied(subject: Subject) -> int:
    """Gives back the room of what was dropped, as docs/archive.md says; how many bytes are left."""
    engine = reading(subject.database.url, 1)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM"))
            else:
                for words in (*(f"FULL {each}" for each in PACKED), "ANALYZE"):
                    connection.execute(text(f"VACUUM {words}"))
            return int(connection.scalar(text(f"SELECT {_SIZE[connection.dialect.name]}")) or 0)
    finally:
        engine.dispose()


def _started(subject: Subject) -> StartCost:
    """A server from its command to its first token, and to its end."""
    began = time.perf_counter()
    with subject.serving() as over:
        ready = time.perf_counter() - began
        body, service = "grant_type=client_credentials", subject.prepared.service
        given = asking.request(over.port, "POST", "/oauth/token", authorization=service, body=body)
        preparation.all_succeeded(asking.run(asking.each_once(over.port, [given])))
        token = time.perf_counter() - began
        of = {over.process, *over.workers}
        cpu = processes.ended_children(over.process) + sum(sum(processes.thread_times(each).values()) for each in of)
        return StartCost(ready, token, cpu, over.memory)


def _rows_read(subject: Subject) -> int:
    """How many rows, and places in indexes, PostgreSQL has read of tables so far; 0 on SQLite, which counts none."""
    engine = reading(subject.database.url, 1)
    try:
        with engine.connect() as connection:
            return int(connection.scalar(_ROWS_READ) or 0) if connection.dialect.name == "postgresql" else 0
    finally:
        engine.dispose()


def _compared(stage: Stage, whole: Subject, alone: Subject, found: Found) -> None:
    plan, kind = stage.plan, whole.kind
    both = {subject.name: ArchiveRuns([], [], {}) for subject in (whole, alone)}
    for subject in (whole, alone):
        stage.say(f"{subject.name}: preparing")
        with subject.serving() as over:
            subject.known = preparation.prepare(over, subject.environment)
            preparation.collect(over, subject.known, subject.directory, seconds=1, at_least=TOKENS)
    for number in range(plan.starts):
        for subject in (whole, alone) if number % 2 == 0 else (alone, whole):
            stage.say(f"{subject.name}: starting")
            before = _rows_read(subject)
            both[subject.name].starts.append(_started(subject))
            both[subject.name].rows.append(_rows_read(subject) - before)
    for number in range(plan.rounds):
        for subject in (whole, alone) if number % 2 == 0 else (alone, whole):
            stage.say(f"round {number + 1} of {plan.rounds}: {subject.name}")
            _round(stage, subject, both[subject.name], found)
    _told(kind, both[whole.name], both[alone.name], found)
    rows = {(subject.name, work): runs for subject in (whole, alone) for work, runs in both[subject.name].spent.items()}
    found.details.append(Detail(f"{spending.TITLE}, {kind}", spending.COLUMNS, spending.rows(rows)))


def _round(stage: Stage, subject: Subject, runs: ArchiveRuns, found: Found) -> None:
    """Every work once, by a process that knows none of the tokens yet, which were issued to the one before."""
    plan, known = stage.plan, subject.prepared
    with subject.serving() as over:
        del known.access[:-TOKENS]
        for work in WORKS:
            # The fact of a first use is recorded a moment later, and belongs to it.
            settle = partial(_rested if work == FIRST else upkeep.settle, subject)
            load = _first(subject) if work == FIRST else subject.load(work, over, plan.codes)
            done, spent = spending.run(
                over, subject.database, load, settle, seconds=plan.seconds, connections=plan.connections
            )
            runs.spent.setdefault(work, []).append(spent)
            if done.failed or not done.count:
                found.faults.append(f"{subject.name}, {work}: {done.failed} of {done.count} answers were no success")
        preparation.collect(over, known, subject.directory, seconds=1, at_least=len(known.access) + TOKENS)


def _rested(subject: Subject) -> None:
    upkeep.rest(subject)


def _first(subject: Subject) -> wrk.Load:
    file = subject.directory / "requests"
    file.write_text("".join(f"{each}\n" for each in subject.introspected(INTROSPECTION)))
    return wrk.Load("/oauth/introspect", "once.lua", file, subject.prepared.service)


def _told(kind: str, whole: ArchiveRuns, alone: ArchiveRuns, found: Found) -> None:
    for work in WORKS:
        ratios = [
            (one.worker + one.database) / (other.worker + other.database)
            for one, other in zip(whole.spent[work], alone.spent[work], strict=True)
        ]
        what = f"{work}, processor time of worker and database divided by the same of the living alone"
        found.findings.append(of_rounds(what, kind, ratios, bound=DEARER))
    for words, runs in (("start", whole), ("start of the living alone", alone)):
        for what, values, unit, bound in (
            ("from the command to the first answer", [each.ready for each in runs.starts], "s", START),
            ("to the first token", [each.token for each in runs.starts], "s", START),
            ("processor time until then", [each.cpu for each in runs.starts], "s", None),
            ("memory of the worker then", [each.memory for each in runs.starts], "MiB", None),
            ("rows that PostgreSQL reads for it", runs.rows, "", None),
        ):
            if any(values):
                digits = 2 if unit == "s" else 0
                finding = of_rounds(f"{words}: {what}", kind, values, unit=unit, bound=bound, digits=digits)
                found.findings.append(finding)
