"""Merging the index: the answer is that of looking at every event, and no filter reads more than its own stretch."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import isqrt
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, delete, insert, select, text

from eventstore import search
from eventstore.search import Criteria, SearchName
from eventstore.stored import events
from eventstore.stored import metadata as log_metadata
from projections import event_index
from projections.event_index import NameKind
from projections.named import grant_runs, wide
from projections.tables import metadata
from tests.cases import cases
from tests.databases import BACKENDS, Databases
from tests.eventstore.plans import plan_of
from tests.explore import ONE_FIXTURE_FOR_ALL, examples

HEAD = 60
KEYS = (b"a", b"b", b"c")


@pytest.fixture(scope="module", params=BACKENDS)
def engine(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Engine]:
    url = databases.create(request.param, migrated=False)
    made = create_engine(url, **({"paramstyle": "named"} if request.param == "sqlite" else {}))
    metadata.create_all(made)
    log_metadata.create_all(made)
    yield made
    made.dispose()
    databases.drop(url)


def everything(connection: Connection, criteria: Criteria, limit: int) -> list[int]:
    """All that a search finds, asked for piece by piece."""
    found: list[int] = []
    start: int | None = None
    while True:
        piece = search.search(connection, criteria, limit, start)
        assert len(piece.positions) <= limit
        found += piece.positions
        if piece.resume is None:
            return found
        start = piece.resume


NAMED = [NameKind.CLIENT, NameKind.TYPE, NameKind.ADDRESS, NameKind.PERSON_ACTING]
names = st.tuples(st.sampled_from(NAMED), st.sampled_from(KEYS))


def follow(connection: Connection, log: list[frozenset[SearchName]], steps: list[int]) -> None:
    """Writes the log's index as a follower does: a portion with each step, of which these are the sizes, in turn."""
    done, turn = 0, 0
    while done < len(log):
        size = steps[turn % len(steps)]
        portion = enumerate(log[done : done + size], done + 1)
        event_index.add(connection, ((*name, position) for position, named in portion for name in named))
        done, turn = done + size, turn + 1


@settings(max_examples=examples(20, 60), suppress_health_check=ONE_FIXTURE_FOR_ALL)
@given(
    log=st.lists(st.frozensets(names, max_size=6), max_size=HEAD),
    filters=st.lists(st.lists(names, min_size=1, max_size=3, unique=True), max_size=3),
    low=st.integers(1, HEAD),
    high=st.integers(0, HEAD),
    descending=st.booleans(),
    limit=st.integers(1, 70),
    stretch=st.sampled_from([1, 2, 7, 32]),
    steps=st.lists(st.integers(1, HEAD), min_size=1, max_size=4),
)
def test_a_search_finds_what_looking_at_every_event_finds(
    engine: Engine,
    log: list[frozenset[SearchName]],
    filters: list[list[SearchName]],
    low: int,
    high: int,
    descending: bool,
    limit: int,
    stretch: int,
    steps: list[int],
) -> None:
    criteria = Criteria(tuple(tuple(each) for each in filters), low, min(high, len(log)), descending)
    expected = [
        position
        for position, named in enumerate(log, 1)
        if criteria.low <= position <= criteria.high and all(named & set(any_of) for any_of in filters)
    ]
    with pytest.MonkeyPatch.context() as patch, engine.connect() as connection:
        patch.setattr(search, "FIRST_STRETCH", stretch)
        patch.setattr(search, "READS_AT_ONCE", 1)
        follow(connection, log, steps)
        assert everything(connection, criteria, limit) == (expected[::-1] if descending else expected)
        connection.rollback()


@settings(max_examples=examples(15, 40), suppress_health_check=ONE_FIXTURE_FOR_ALL)
@given(
    log=st.lists(st.frozensets(names, max_size=6), max_size=HEAD),
    steps=st.lists(st.integers(1, HEAD), min_size=1, max_size=4),
)
def test_erasure_removes_the_addresses_of_own_acts_and_no_others(
    engine: Engine, log: list[frozenset[SearchName]], steps: list[int]
) -> None:
    theirs = {position for position, named in enumerate(log, 1) if (NameKind.PERSON_ACTING, b"a") in named}
    with engine.connect() as connection:
        follow(connection, log, steps)
        event_index.forget_addresses(connection, "a")
        for kind in NAMED:
            for key in KEYS:
                expected = [
                    position
                    for position, named in enumerate(log, 1)
                    if (kind, key) in named and not (kind is NameKind.ADDRESS and position in theirs)
                ]
                found = event_index.positions(connection, kind, key, 1, HEAD, HEAD, descending=False)
                assert found == expected
        connection.rollback()


def test_events_followed_together_share_a_row_per_name(engine: Engine) -> None:
    with engine.connect() as connection:
        event_index.add(connection, ((NameKind.TYPE, b"common", n) for n in (*range(1, 301), 1_000)))
        rows = connection.execute(select(event_index.TABLE.c.position).order_by(event_index.TABLE.c.position))
        assert list(rows.scalars()) == [256, 300, 1_000]
        all_of_them = event_index.positions(connection, NameKind.TYPE, b"common", 1, 2_000, 2_000, descending=False)
        assert all_of_them == [*range(1, 301), 1_000]
        connection.rollback()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("stretch", [1, 2, 32])
def test_a_grant_is_found_in_its_stream_and_elsewhere(engine: Engine, stretch: int, descending: bool) -> None:
    own, elsewhere = (2, 3, 5, 11, 12, 40), (1, 5, 13, 41)
    with pytest.MonkeyPatch.context() as patch, engine.connect() as connection:
        patch.setattr(search, "FIRST_STRETCH", stretch)
        patch.setattr(search, "LONGEST_STRETCH", stretch)
        for stream, positions in (("grant:a", own), ("grant:b", (4, 6)), ("client:a", (7,))):
            rows = [
                {"id": at, "originator_id": stream, "originator_version": version, "topic": "x", "state": "{}"}
                for version, at in enumerate(positions, 1)
            ]
            connection.execute(insert(events), rows)
        event_index.add(connection, ((NameKind.GRANT, b"a", n) for n in elsewhere[2:]))
        packed = [grant_runs.entry_of(b"a", n) for n in elsewhere[:3]]
        grant_runs.GRANTS.add(connection, [*packed, grant_runs.entry_of(b"b", 6)])
        event_index.add(connection, ((NameKind.TYPE, b"t", n) for n in (3, 13, 40)))
        grant, type_ = ((NameKind.GRANT, b"a"),), ((NameKind.TYPE, b"t"),)
        every = sorted({*own, *elsewhere}, reverse=descending)
        assert everything(connection, Criteria((grant,), 1, HEAD, descending), 3) == every
        within = [each for each in every if 3 <= each <= 40]
        assert everything(connection, Criteria((grant,), 3, 40, descending), 1) == within
        both = sorted({3, 13, 40}, reverse=descending)
        assert everything(connection, Criteria((grant, type_), 1, HEAD, descending), 2) == both
        nobody = ((NameKind.GRANT, b"a\0"),)
        assert everything(connection, Criteria((nobody,), 1, HEAD, descending), 3) == []
        connection.rollback()


@pytest.mark.parametrize("descending", [False, True])
def test_uses_of_a_token_are_found_in_their_stream(engine: Engine, descending: bool) -> None:
    """Whether the index has them, too, or they were taken out of it."""
    token = b"0f" * 32
    with engine.connect() as connection:
        stream, uses = f"usage:{token.decode()}", enumerate((4, 9, 12, 30), 1)
        rows = [
            {"id": at, "originator_id": stream, "originator_version": version, "topic": "x", "state": "{}"}
            for version, at in uses
        ]
        connection.execute(insert(events), rows)
        event_index.add(connection, ((NameKind.SECRET, token, n) for n in (9, 20)))
        named = ((NameKind.SECRET, token),)
        every = sorted((4, 9, 12, 20, 30), reverse=descending)
        assert everything(connection, Criteria((named,), 1, HEAD, descending), 2) == every
        assert everything(connection, Criteria((named,), 5, 20, descending), 1) == [n for n in every if 5 <= n <= 20]
        # The index does not know how many there are.
        assert search.counted_by_index(connection, Criteria((named,), 1, HEAD)) is None
        assert search.most_of(connection, Criteria((named,), 1, HEAD), 10) == HEAD
        connection.rollback()


def test_archived_addresses_of_a_stretch_are_forgotten(engine: Engine) -> None:
    with engine.connect() as connection:
        standing = {b"a": [1, 5, 900, 70_000], b"b": [5], b"c": [4, 901, 65_536]}
        for kind in (NameKind.ADDRESS, NameKind.CLIENT):
            wide.add(connection, int(kind), standing, 1)
        removed = []
        while not removed or removed[-1]:
            removed.append(wide.forget_addresses(connection, 5, 900, 1))
        assert removed == [1, 1, 0]
        for key, positions in standing.items():
            left = [each for each in positions if not 5 <= each <= 900]
            for kind, expected in ((NameKind.ADDRESS, left), (NameKind.CLIENT, positions)):
                assert event_index.positions(connection, kind, key, 1, 90_000, 9, descending=False) == expected
        connection.rollback()


def test_a_rare_name_costs_little_beside_a_common_one(engine: Engine) -> None:
    with engine.connect() as connection:
        common, rare = (NameKind.TYPE, b"common"), (NameKind.CLIENT, b"rare")
        event_index.add(connection, ((*common, n) for n in range(1, 20_001)))
        event_index.add(connection, ((*rare, n) for n in range(5_000, 20_001, 5_000)))
        statements: list[str] = []
        reads = _count_reads(connection, statements)
        criteria = Criteria(((common,), (rare,)), 1, 20_000)
        assert everything(connection, criteria, 50) == [5_000, 10_000, 15_000, 20_000]
        assert reads() < 12
        connection.rollback()


def test_the_index_leaves_types_out_where_it_has_few_rows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log, whose rows are some hundred times as wide, is asked for the types of many events only where it has to
    be."""
    asked: list[Sequence[int]] = []

    def types_at(_: Connection, positions: Sequence[int]) -> dict[int, str]:
        asked.append(positions)
        return {n: "rare" if n % 100 == 0 else "often" if n > 10_000 else "kept" for n in positions}

    monkeypatch.setattr(search, "types_at", types_at)
    with engine.connect() as connection:
        for tag, stretch in (("rare", range(100, 10_001, 100)), ("often", range(10_001, 20_001))):
            event_index.add(connection, (((NameKind.TYPE, tag.encode(), n)) for n in stretch))
        left = search.not_of_types(connection, range(5, 20_001, 5), ("rare", "often"))
        assert left == [n for n in range(5, 10_001, 5) if n % 100]
        assert search.not_of_types(connection, range(10_000, 9_000, -2), ("rare",))[:3] == [9_998, 9_996, 9_994]
        assert asked == []
        # So few positions, so far from each other, that the index has more rows of these types between them.
        assert search.not_of_types(connection, (1, 9_000, 20_000), ("rare", "often")) == [1]
        # Neighbours, for which the index may not have been asked to follow.
        assert search.not_of_types(connection, range(9_999, 10_003), ("rare", "often")) == [9_999]
        assert list(map(len, asked)) == [3, 4]
        connection.rollback()


def _count_reads(connection: Connection, calls: list[str]) -> Any:
    original = event_index.positions
    patch = pytest.MonkeyPatch()

    def counted(*args: Any, **given: Any) -> list[int]:
        calls.append("read")
        return original(*args, **given)

    patch.setattr(event_index, "positions", counted)

    def reads() -> int:
        patch.undo()
        return len(calls)

    return reads


# Query plans ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full(engine: Engine) -> Iterator[Connection]:
    """An index that is large enough for a planner to have a choice."""
    with engine.connect() as connection:
        for kind in (
            NameKind.CLIENT,
            NameKind.ACCOUNT,
            NameKind.GRANT,
            NameKind.SECRET,
            NameKind.ADDRESS,
            NameKind.REQUEST,
            NameKind.TYPE,
        ):
            event_index.add(connection, ((kind, b"%d" % (n % 50), n) for n in range(1, 10_001)))
            every = {b"%d" % key: {n for n in range(1, 10_001) if n % 50 == key} for key in range(50)}
            wide.add(connection, int(kind), every | {b"rare-%d" % n: {n} for n in range(100, 9_000, 4)}, 1)
        for table in (event_index.TABLE, wide.TABLE):
            connection.execute(text(f"ANALYZE {table}"))
        yield connection
        for table in (event_index.TABLE, wide.TABLE):
            connection.execute(delete(table))
        connection.commit()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        NameKind.CLIENT,
        NameKind.ACCOUNT,
        NameKind.GRANT,
        NameKind.SECRET,
        NameKind.ADDRESS,
        NameKind.REQUEST,
        NameKind.TYPE,
    ],
)
def test_filter_reads_a_primary_key_range_and_sorts_nothing(full: Connection, kind: NameKind, descending: bool) -> None:
    statement = (event_index.DESCENDING if descending else event_index.ASCENDING).statement
    asked = {"b_kind": int(kind), "b_key": b"7", "b_low": 100, "b_high": 9_000, "b_wide_high": 9_000, "b_limit": 32}
    plan = plan_of(full, statement, asked)
    for table in ("event_positions", "archived_positions"):
        if full.dialect.name == "sqlite":
            within = r"USING PRIMARY KEY \(kind=\? AND key=\? AND position>\? AND position<\?\)"
            assert re.search(f"SEARCH {table} {within}", plan)
            assert f"SCAN {table}" not in plan
        else:
            assert re.search(f"Index (Only )?Scan( Backward)? using pk_{table}", plan)
            assert "Seq Scan" not in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_several_types_are_read_as_ranges_of_the_primary_key(full: Connection) -> None:
    given = {"b_keys": [b"7", b"8", b"9"], "b_low": 100, "b_high": 900, "b_limit": 32}
    plan = plan_of(full, search.OF_TYPES, given)
    if full.dialect.name == "sqlite":
        assert "PRIMARY KEY (kind=? AND key=? AND position>? AND position<?)" in plan
    else:
        assert re.search(r"Index (Only )?Scan using pk_event_positions", plan)
        assert re.search(r"Index Cond: .*kind.*key.*ANY.*position. >=.*position. <=", plan)


MILLION = 1_000_000
LIVES: dict[str, Callable[[int], int]] = {
    "even": lambda position: position // 2 * 1_000,
    "crowds": lambda position: position // 200 * 60_000_000,
    "growing": lambda position: isqrt(position) * 1_000_000,
    "a pause": lambda position: position + (position > 700_000) * 10**12,
}
"""Microseconds from the first event on, by position."""


@cases("life", LIVES)
def test_a_moment_in_the_table_is_found_in_few_reads(life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = LIVES[life]
    reads: list[Sequence[int]] = []

    def times_at(_: Any, positions: Sequence[int], *, in_place: bool = False) -> dict[int, int]:
        reads.append(positions)
        return {each: time(each) for each in positions}

    monkeypatch.setattr(search, "times_at", times_at)
    everything, last, none = range(1, MILLION + 1), time(MILLION), cast(Any, None)
    for moment in [0, *(last * each // 48 for each in range(49)), time(400_000), last + 1]:
        reads.clear()
        assert search.first_at(none, moment, MILLION) == 1 + bisect_left(everything, moment, key=time)
        # One after the other there would be seventeen.
        assert len(reads) <= 8


@cases("life", LIVES)
def test_moments_are_found_together_in_few_reads(life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = LIVES[life]
    reads: list[Sequence[int]] = []

    def times_at(_: Any, positions: Sequence[int], *, in_place: bool = False) -> dict[int, int]:
        # What is not at its place may be away, so these are the reads that count; every third is.
        if not in_place:
            reads.append(positions)
        return {each: time(each) for each in positions if not in_place or each % 3}

    monkeypatch.setattr(search, "times_at", times_at)
    everything = range(1, MILLION + 1)
    last = time(MILLION)
    moments = [0, *(last * each // 48 for each in range(49)), time(400_000), time(400_000) + 1, last + 1]
    none: Any = None
    found = search.first_at_each(none, sorted(moments), MILLION)
    assert found == [1 + bisect_left(everything, moment, key=time) for moment in sorted(moments)]
    # Each by itself would take twenty.
    assert len(reads) <= 16
    assert sum(map(len, reads)) <= 22 * len(moments)
    reads.clear()
    assert search.first_at(none, time(400_000), MILLION) == 1 + bisect_left(everything, time(400_000), key=time)
    # One moment is sought with as few positions as can be: each may stand in a segment that is away.
    assert sum(map(len, reads)) <= 20
    assert search.first_at_each(none, [0, 1], 0) == [1, 1]


def test_the_rarest_filter_says_how_many_match_at_most(full: Connection) -> None:
    def most(*filters: tuple[SearchName, ...], enough: int = 10_000) -> int:
        return search.most_of(full, Criteria(filters, 1, 10_000), enough)

    rare, often = (NameKind.CLIENT, b"7"), (NameKind.TYPE, b"7")
    assert most() == 10_000
    assert most((rare,), (often,)) == min(most((rare,)), most((often,))) > 0
    assert most((rare, often)) == most((rare,)) + most((often,))
    assert 100 < most((often,), enough=100) < 10_000 == most(enough=100)
    # What stands in a grant's own stream is in no index.
    assert most(((NameKind.GRANT, b"7"),)) == 10_000
