"""What a row of a run has is what was put there, in as few bytes as that takes; what somebody else puts there stops
nobody."""

from random import Random

import pytest
import sqlalchemy as sa

from projections.named import digest_runs, run_rows
from projections.named.run_rows import AT_MOST, BEGINNING, ENTRY, LONGEST
from tests.projections.conftest import Log


def made(seed: int, many: int, positions: int) -> list[bytes]:
    chance = Random(seed)  # noqa: S311 - a reproducible choice, no secret
    return sorted(
        chance.randbytes(BEGINNING) + chance.randrange(1, positions + 1).to_bytes(ENTRY - BEGINNING)
        for _ in range(many)
    )


@pytest.mark.parametrize(
    ("many", "positions"), [(1, 1), (2, 1 << 39), (7, 3), (AT_MOST + 5, 900), (16_384, 16_384), (70_000, 1 << 20)]
)
def test_rows_have_the_entries_that_were_put_there(many: int, positions: int) -> None:
    entries = made(many, many, positions)
    rows = [*run_rows.rows(entries)]
    assert [each for _, row in rows for each in run_rows.apart(row)] == entries
    assert all(row[0] == run_rows.apart(row[1])[0][:BEGINNING] for row in rows)
    assert sum(run_rows.count(row[: run_rows.WIDTHS], len(row)) for _, row in rows) == many
    assert max(len(row) for _, row in rows) <= LONGEST
    for entry in entries[:: max(1, many // 50)]:
        (found,) = {row for key, row in rows if key == max(key for key, _ in rows if key <= entry[:BEGINNING])}
        assert run_rows.positions(found, entry[:BEGINNING]) == [run_rows.position_of(entry)]
        assert run_rows.positions(found, bytes(BEGINNING)) == []


def test_an_entry_of_a_segment_takes_seven_bytes() -> None:
    rows = [row for _, row in run_rows.rows(made(1, 16_384, 16_384))]
    assert sum(map(len, rows)) / 16_384 < 7.2


def test_entries_that_begin_alike_share_a_row() -> None:
    alike = [bytes(BEGINNING) + at.to_bytes(5) for at in range(1, 2 * AT_MOST)]
    ((key, row), _) = run_rows.rows([*alike, b"\xff" * BEGINNING + bytes(5)])
    assert key == bytes(BEGINNING)
    assert run_rows.positions(row, bytes(BEGINNING)) == [*range(1, 2 * AT_MOST)]


def test_rows_of_earlier_versions_are_read() -> None:
    entries = made(3, 176, 1 << 39)
    row = b"".join(entries)
    assert run_rows.apart(row) == entries
    assert run_rows.count(row[: run_rows.WIDTHS], len(row)) == 176
    assert run_rows.positions(row, entries[7][:BEGINNING]) == [run_rows.position_of(entries[7])]


@pytest.mark.parametrize("seed", range(8))
def test_a_row_of_somebody_else_stops_nobody(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - a reproducible choice, no secret
    for row in ("text", None, 7, b"", b"\1", bytes(12), bytes(14), b"\x04\x03" + b"\xff" * 40):
        assert run_rows.positions(row, b"\1" * BEGINNING) == []
    ((_, row),) = run_rows.rows(made(seed, 99, 900))
    for _ in range(200):
        octets = bytearray(row[: chance.randrange(len(row) + 1)])
        for _ in range(chance.randrange(4)):
            if octets:
                octets[chance.choice((0, 1, chance.randrange(99))) % len(octets)] = chance.randrange(256)
        found = run_rows.apart(bytes(octets))
        assert all(len(each) == ENTRY for each in found)
        assert all(0 <= each < 1 << 41 for each in run_rows.positions(bytes(octets), row[7:13]))


def test_runs_of_earlier_versions_become_ones_of_today(log: Log) -> None:
    connection, entries = log.connection, made(5, 300, 900)
    for run, some in ((0, entries[:100]), (1, entries[100:]), (digest_runs.LEVEL, [])):
        for start in range(0, len(some), 60):
            row = {"run": run, "key": some[start][:BEGINNING], "entries": b"".join(some[start : start + 60])}
            connection.execute(sa.insert(digest_runs.TABLE), row)
    digest_runs.add(connection, entries[:1])
    assert [*digest_runs.everything(connection)] == sorted([*entries, entries[0]])
    assert digest_runs.DIGESTS.former(connection) == [0]
    size = sa.select(sa.func.sum(sa.func.length(digest_runs.TABLE.c.entries)))
    before = connection.scalar(size)
    while runs := digest_runs.DIGESTS.former(connection):
        assert digest_runs.replace(connection, runs, digest_runs.merged(connection, runs))
    assert len(digest_runs.every_run(connection)) == 3
    assert [*digest_runs.everything(connection)] == sorted([*entries, entries[0]])
    assert connection.scalar(size) < 0.8 * before
