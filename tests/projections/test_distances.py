"""Distances in bits: what is read is what was said, in few bytes, and what somebody else puts there stops nobody."""

from random import Random

import pytest
import sqlalchemy as sa

from projections.event_index import NameKind
from projections.named import distances, wide
from tests.projections.conftest import Log


def spread(seed: int, many: int, share: float) -> list[int]:
    chance, at, found = Random(seed), 0, list[int]()  # noqa: S311 - a reproducible choice, no secret
    while len(found) < many:
        at += 1 + int(chance.expovariate(share))
        found.append(at)
    return found


@pytest.mark.parametrize("many", [1, 2, 3, 5, 60, 1_024])
@pytest.mark.parametrize("share", [1e-5, 0.001, 0.03, 0.3, 2.0, 1e9])
def test_positions_are_read_as_they_were_said(many: int, share: float) -> None:
    every = spread(many, many, share)
    said = distances.packed(every)
    assert distances.expanded(every[-1], said) == every
    assert distances.count(said) == many


@pytest.mark.parametrize(("share", "bytes_each"), [(1e9, 0.14), (1.0, 0.3), (0.025, 0.95), (0.001, 1.6)])
def test_distances_take_as_few_bytes_as_they_are_short(share: float, bytes_each: float) -> None:
    assert len(distances.packed(spread(1, 1_024, share)) or b"") <= 1_024 * bytes_each


def test_one_far_away_is_said_too() -> None:
    every = [1, *range(60_000, 61_000)]
    assert distances.expanded(every[-1], distances.packed(every)) == every


def test_rows_of_earlier_versions_are_read() -> None:
    assert distances.expanded(900, b"\0\x09\0\x01") == [891, 899, 900]
    assert distances.count(b"\0\x09\0\x01") == 3
    assert distances.expanded(900, None) == [900]


@pytest.mark.parametrize("seed", range(8))
def test_a_row_of_somebody_else_stops_nobody(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - a reproducible choice, no secret
    said = distances.packed(spread(seed, 50, 0.1)) or b""
    for odd in ("text", 7, b"", b"\1", b"\xff" * 3, b"\x18\xff\xff" + b"\xff" * 60):
        assert distances.expanded(99, odd)[-1] == 99
    for _ in range(200):
        octets = bytearray(said[: chance.randrange(len(said) + 1)])
        for _ in range(chance.randrange(4) if octets else 0):
            octets[chance.choice((0, 1, chance.randrange(99))) % len(octets)] = chance.randrange(256)
        assert distances.expanded(99, bytes(octets))[-1] == 99


def test_statements_count_as_the_code_does(log: Log) -> None:
    every = [None, b"", b"\1", b"\1\2", b"\1\2\3", b"\0\xff\xa9" + bytes(70), bytes(8), b"\1\1\1\1"]
    every += [distances.packed(spread(many, many, 0.02)) for many in (1, 2, 17, 400, 1_024)]
    rows = [
        {"kind": int(NameKind.CLIENT), "key": b"a", "position": at, "before": each} for at, each in enumerate(every, 1)
    ]
    log.connection.execute(sa.insert(wide.TABLE), rows)
    query = sa.select(distances.counted(wide.TABLE.c.before)).order_by(wide.TABLE.c.position)
    assert [*log.connection.scalars(query)] == [*map(distances.count, every)]
