"""Rows of archived events: nothing gets lost in them, and what is read of both tables is what stands there."""

from random import Random

import pytest
from sqlalchemy import select, text

from projections import event_index
from projections.event_index import NameKind
from projections.named import distances, grant_runs, wide
from tests.projections.conftest import Log

KIND = NameKind.CLIENT


def test_row_has_its_positions_and_stays_within_its_stretch() -> None:
    every = [*range(1, 5_000), 16_384, 65_536, 65_537, 131_072, 140_000]
    rows = wide.joined(1, b"key", reversed(every))
    assert [at for row in rows for at in distances.expanded(*row[2:])] == every
    found = [distances.expanded(*row[2:]) for row in rows]
    assert max(map(len, found)) == wide.AT_MOST
    assert all((at[0] - 1) // wide.STRETCH == (at[-1] - 1) // wide.STRETCH for at in found)


@pytest.mark.parametrize("seed", range(6))
def test_both_tables_are_read_as_one(log: Log, seed: int) -> None:
    connection = log.connection
    chance = Random(seed)  # noqa: S311 - a reproducible choice, no secret
    last = 140_000
    share = chance.choice((0.002, 0.05, 0.9))
    every = [at for at in range(1, last + 1) if chance.random() < share]
    packed = {at for at in every if at <= 133_000 and chance.random() < chance.choice((0.2, 0.8))}
    event_index.add(connection, [(int(KIND), b"a", at) for at in every if at not in packed])
    event_index.add(connection, [(int(KIND), b"b", at) for at in range(1, last, 7)])
    for some in (sorted(packed)[::2], sorted(packed)[1::2]):
        # Two segments of the same stretches: the second one joins what the first one has.
        for first in range(1, last, wide.STRETCH):
            within = [at for at in some if first <= at < first + wide.STRETCH]
            wide.add(connection, int(KIND), {b"a": within}, first)
    for _ in range(12):
        low = chance.randrange(1, last)
        high = chance.randrange(low, last + 1)
        for limit in (1, 40, last):
            wanted = [at for at in every if low <= at <= high]
            for descending in (False, True):
                found = event_index.positions(connection, KIND, b"a", low, high, limit, descending=descending)
                assert found == (wanted[::-1] if descending else wanted)[:limit]
        assert event_index.count(connection, KIND, b"a", low, high) == len(wanted)
    assert event_index.counts(connection, KIND, [b"a", b"c"]) == ({b"a": len(every)} if every else {})
    assert event_index.count(connection, KIND, b"a", 5, 4) == 0


def test_row_at_no_number_is_not_read(log: Log) -> None:
    if log.connection.dialect.name != "sqlite":
        # PostgreSQL takes nothing of another kind.
        return
    wide.add(log.connection, int(KIND), {b"a": [1, 5]}, 1)
    for odd in ("'text'", "x'01'"):
        insert = f"INSERT INTO archived_positions (kind, key, position) VALUES ({int(KIND)}, x'61', {odd})"  # noqa: S608
        log.connection.execute(text(insert))
    for descending in (False, True):
        found = event_index.positions(log.connection, KIND, b"a", 1, 9, 9, descending=descending)
        assert found == ([5, 1] if descending else [1, 5])


def test_index_that_starts_over_has_neither(log: Log) -> None:
    event_index.add(log.connection, [(int(KIND), b"a", 2)])
    wide.add(log.connection, int(KIND), {b"a": [1]}, 1)
    wide.note(log.connection, bytes(32), 1)
    wide.note(log.connection, bytes(32), 1)
    grant_runs.GRANTS.add(log.connection, [grant_runs.entry_of(b"a", 3)])
    assert grant_runs.positions(log.connection, (b"a", b"b")) == {b"a": [3]}
    assert event_index.positions(log.connection, KIND, b"a", 1, 9, 9, descending=False) == [1, 2]
    assert wide.done(log.connection) == {bytes(32)}
    event_index.start_over(log.connection)
    assert event_index.positions(log.connection, KIND, b"a", 1, 9, 9, descending=False) == []
    assert grant_runs.positions(log.connection, (b"a",)) == {}
    assert wide.done(log.connection) == set()


def test_rows_of_a_key_never_overlap(log: Log) -> None:
    connection, chance = log.connection, Random(3)  # noqa: S311 - a reproducible choice, no secret
    every, last = list[int](), 0
    for segment in range(8):
        some = sorted(chance.sample(range(segment * 16_384 + 1, (segment + 1) * 16_384), 3_000))
        for part in (some[::3], some[1::3], some[2::3]):
            # Of a segment before, too, which was archived later.
            wide.add(connection, int(KIND), {b"a": part, b"b": []}, part[0] - (part[0] - 1) % wide.STRETCH)
        every += some
        if segment == 2:
            wide.forget_addresses(connection, 1, 9_000, 9)
            wide.add(connection, int(KIND), {b"a": [2]}, 1)
            every.append(2)
    query = select(wide.TABLE.c.position, wide.TABLE.c.before).order_by(wide.TABLE.c.position)
    for at, before in connection.execute(query):
        row = distances.expanded(at, before)
        assert row[0] > last
        last = row[-1]
    assert event_index.positions(connection, KIND, b"a", 1, 1 << 40, 1 << 30, descending=False) == sorted({*every})


def test_a_full_row_is_left_as_it_is(log: Log) -> None:
    connection, every = log.connection, select(wide.TABLE).order_by(wide.TABLE.c.position)
    wide.add(connection, int(KIND), {b"a": range(10, 3_010)}, 1)
    before = connection.execute(every).all()
    wide.add(connection, int(KIND), {b"a": range(4_000, 4_010)}, 1)
    after = connection.execute(every).all()
    assert after[:2] == before[:2]
    assert distances.expanded(*after[2][2:]) == [*range(2_058, 3_010), *range(4_000, 4_010)]


def test_rows_are_found_and_removed_by_their_keys(log: Log) -> None:
    connection = log.connection
    rows = [(int(KIND), bytes([key]), at, None) for key in range(5) for at in (10, 20, 30)]
    event_index.insert(connection, [*rows, (int(KIND) + 1, b"\1", 20, b"\5")])
    keys = [b"\1", b"\3", b"\7"]
    found = event_index.standing(connection, int(KIND), keys, 20, 30)
    assert sorted(found) == [(b"\1", 20, None), (b"\1", 30, None), (b"\3", 20, None), (b"\3", 30, None)]
    assert event_index.standing(connection, int(KIND) + 1, keys, 1, 30) == [(b"\1", 20, b"\5")]
    event_index.remove(connection, int(KIND), [(b"\1", 20), (b"\3", 30), (b"\7", 10)])
    event_index.remove(connection, int(KIND), [])
    left = {row[1:3] for row in rows} - {(b"\1", 20), (b"\3", 30)}
    assert {row[:2] for row in event_index.standing(connection, int(KIND), [row[1] for row in rows], 1, 99)} == left
    assert event_index.standing(connection, int(KIND) + 1, keys, 1, 30)
