"""Digests of archived events' secrets: each is found in the runs, however many they are and however they begin."""

from hashlib import sha256
from random import Random

import pytest
import sqlalchemy as sa

from projections.named import digest_runs
from projections.named.digest_runs import FAN, TOP, entry
from projections.named.run_rows import AT_MOST, BEGINNING
from tests.projections.conftest import Log


def join(log: Log) -> None:
    while runs := digest_runs.due(log.connection):
        assert digest_runs.replace(log.connection, runs, digest_runs.merged(log.connection, runs))


@pytest.mark.parametrize("seed", range(4))
def test_every_digest_is_found_where_it_was_issued(log: Log, seed: int) -> None:
    connection, chance = log.connection, Random(seed)  # noqa: S311 - a reproducible choice, no secret
    issued: dict[bytes, int] = {}
    for segment in range(FAN**2 + 3):
        of = {sha256(f"{seed} {segment} {each}".encode()).digest(): chance.randrange(1, 1 << 40) for each in range(99)}
        digest_runs.add(connection, [entry(*each) for each in of.items()])
        issued |= of
        join(log)
    assert [run // digest_runs.LEVEL for run in digest_runs.every_run(connection)] == [0, 0, 0, 2]
    asked = [*issued, *(sha256(digest).digest() for digest in issued)]
    assert digest_runs.positions(connection, asked) == {digest: [at] for digest, at in issued.items()}
    assert digest_runs.positions(connection, asked[:1]) == {asked[0]: [issued[asked[0]]]}
    assert digest_runs.positions(connection, []) == {}
    assert [*digest_runs.everything(connection)] == sorted(entry(*each) for each in issued.items())


def test_digests_that_begin_alike_are_found_together(log: Log) -> None:
    same, rest = bytes(range(BEGINNING)), 32 - BEGINNING
    before = [entry(bytes(each.to_bytes(32)), each) for each in range(1, AT_MOST - 1)]
    alike = [entry(same + bytes([each]) * rest, 1_000 + each) for each in range(5)]
    behind = [entry(b"\xff" * BEGINNING + bytes(rest), 9)]
    digest_runs.add(log.connection, [*alike, *behind, *before])
    digest_runs.add(log.connection, [entry(same + bytes(rest), 7)])
    asked = same + b"x" * rest
    assert digest_runs.positions(log.connection, [asked]) == {asked: [7, *range(1_000, 1_005)]}
    assert digest_runs.positions(log.connection, [same[:-1] + bytes(rest + 1)]) == {}
    first, last = bytes(32), b"\xff" * 32
    found = digest_runs.positions(log.connection, [first, last, last[:BEGINNING] + first[BEGINNING:]])
    assert found == {first: [*range(1, AT_MOST - 1)]} | dict.fromkeys((last, last[:BEGINNING] + first[BEGINNING:]), [9])


def test_largest_runs_are_left_alone(log: Log) -> None:
    for number in range(FAN ** (TOP + 1)):
        digest_runs.add(log.connection, [entry(sha256(bytes([number])).digest(), number + 1)])
        join(log)
    assert [run // digest_runs.LEVEL for run in digest_runs.every_run(log.connection)] == [TOP] * FAN


def test_runs_that_have_changed_are_not_replaced(log: Log) -> None:
    connection, digest = log.connection, sha256(b"a").digest()
    for number in range(FAN):
        digest_runs.add(connection, [entry(digest, number + 1)])
    runs = digest_runs.due(connection)
    entries = digest_runs.merged(connection, runs)
    connection.execute(sa.delete(digest_runs.TABLE).where(digest_runs.TABLE.c.run == runs[1]))
    assert not digest_runs.replace(connection, runs, entries)
    assert digest_runs.positions(connection, [digest]) == {digest: [1, 3, 4]}


def test_what_somebody_else_put_there_is_passed_over(log: Log) -> None:
    digest = sha256(b"a").digest()
    digest_runs.add(log.connection, [entry(digest, 5)])
    (row,) = log.connection.execute(sa.select(digest_runs.TABLE)).all()
    for wrong in (row.entries + b"\1", b"\1" + row.entries, row.entries[1:], b"", row.entries * 2):
        log.connection.execute(sa.update(digest_runs.TABLE).values(entries=wrong))
        assert digest_runs.positions(log.connection, [digest]) in ({}, {digest: [5]}, {digest: [5, 5]})


def test_rows_that_somebody_else_moved_are_joined(log: Log) -> None:
    connection, table = log.connection, digest_runs.TABLE
    issued = {
        sha256(bytes([run, each % 250, each // 250])).digest(): each for run in range(FAN) for each in range(1, 600)
    }
    for run in range(FAN):
        of = [entry(digest, at) for digest, at in issued.items() if digest[0] % FAN == run]
        digest_runs.add(connection, of)
        first = sa.select(sa.func.min(table.c.key)).where(table.c.run == run).scalar_subquery()
        behind = b"\xff" * BEGINNING
        connection.execute(sa.update(table).where(table.c.run == run, table.c.key == first).values(key=behind))
    join(log)
    asked = [*issued]
    assert digest_runs.positions(connection, asked) == {digest: [at] for digest, at in issued.items()}


def test_what_somebody_else_noted_is_no_segment(log: Log) -> None:
    digest_runs.note(log.connection, "ab" * 32)
    if log.connection.dialect.name == "sqlite":
        for key in ("text", 10**12):
            log.connection.exec_driver_sql("INSERT INTO archived_digests VALUES (-1, ?, '')", (key,))
    assert digest_runs.done(log.connection) == {"ab" * 32}


def test_segment_is_noted_once(log: Log) -> None:
    assert digest_runs.done(log.connection) == frozenset()
    digest_runs.note(log.connection, "ab" * 32)
    digest_runs.note(log.connection, "ab" * 32)
    assert digest_runs.done(log.connection) == {"ab" * 32}
    assert digest_runs.every_run(log.connection) == []
    assert digest_runs.positions(log.connection, [b"\xab" * 32]) == {}
