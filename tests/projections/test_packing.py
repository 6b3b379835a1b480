"""Packing takes positions out of rows of the index: what stays is read in its order."""

from random import Random

import pytest
import sqlalchemy as sa

from eventstore.projecting.packing import Packing, finish, finished, pack
from projections import event_index
from projections.event_index import NameKind
from projections.named import runs
from tests.projections.conftest import Log

KIND, LAST = NameKind.CLIENT, 400


@pytest.mark.parametrize("seed", range(4))
def test_what_stays_of_packed_rows_is_read_in_its_order(log: Log, seed: int) -> None:
    connection, chance = log.connection, Random(seed)  # noqa: S311 - a reproducible choice, no secret
    at = 1
    while at <= LAST:
        # As followers come: few or many at once.
        until = at + chance.choice((1, 2, 5, 60))
        event_index.add(connection, [(int(KIND), b"a", each) for each in range(at, until)])
        at = until
    assert event_index.advance(connection, event_index.NAME, 0, at)
    first, last = 40, 300
    archived = frozenset(each for each in range(first, last) if chance.random() < 0.6)
    # What is archived at once is not all that a row has, and some rows have nothing of it.
    archived -= frozenset(range(100, 130))
    assert pack(connection, [Packing(int(KIND), b"a", archived, None)], first, last)
    left = [each for each in range(1, at) if each not in archived]
    for limit in (1, 3, LAST):
        for low in range(1, LAST, 7):
            wanted = [each for each in left if each >= low][:limit]
            assert event_index.positions(connection, KIND, b"a", low, LAST * 2, limit, descending=False) == wanted
            wanted = [each for each in reversed(left) if each <= low][:limit]
            assert event_index.positions(connection, KIND, b"a", 1, low, limit, descending=True) == wanted
    rows = connection.execute(sa.select(event_index.TABLE).order_by(event_index.TABLE.c.position)).all()
    read = [each for row in rows for each in runs.expanded(row.position, row.before)]
    assert read == left


def test_addresses_that_stand_alone_stay_so(log: Log) -> None:
    connection, address = log.connection, int(NameKind.ADDRESS)
    rows = [(address, b"x", each) for each in (3, 4, 5, 6, 9)]
    event_index.add(connection, [*rows, (int(NameKind.PERSON_ACTING), b"p", 5), (int(NameKind.PERSON_ACTING), b"p", 6)])
    assert event_index.advance(connection, event_index.NAME, 0, LAST)
    assert pack(connection, [Packing(address, b"x", frozenset((3, 4)), b"x")], 1, 6)
    assert event_index.positions(connection, NameKind.ADDRESS, b"x", 1, 9, 9, descending=False) == [3, 4, 5, 6, 9]
    event_index.forget_addresses(connection, "p")
    assert event_index.positions(connection, NameKind.ADDRESS, b"x", 1, 9, 9, descending=False) == [3, 4, 9]


def test_nothing_is_done_of_an_index_that_is_made_anew(log: Log) -> None:
    connection, sha256 = log.connection, "ab" * 32
    assert event_index.advance(connection, event_index.NAME, 0, LAST)
    finish(connection, sha256, LAST)
    assert finished(connection) == {sha256}
    event_index.start_over(connection)
    finish(connection, sha256, LAST)
    assert not pack(connection, [Packing(int(KIND), b"a", frozenset((1,)), None)], 1, LAST)
    assert finished(connection) == frozenset()
