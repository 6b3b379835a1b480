"""Facts that repeat: the first at once, the others as one count for each interval, whoever is in a hurry."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from api.throttling import windowed_counter
from api.throttling.windowed_counter import DueCount, Grouping
from domain.event import SECOND


def told(found: Grouping[str], now: int, limit: int = 100) -> list[tuple[str, int, int]]:
    """Everything that is due at a second, in portions."""
    all_of_it: list[DueCount[str]] = []
    more = True
    while more:
        due, more = found.take(now * SECOND, limit)
        assert len(due) <= limit
        all_of_it += due
    return [(each.thing, each.number, each.seconds) for each in all_of_it]


def happened(found: Grouping[str], thing: str) -> None:
    try:
        found.counts[hash(thing)] += 1
    except KeyError:
        found.begin(hash(thing), thing)


def made(interval: int = 10, forget: int = 10, kept: int = 100) -> Grouping[str]:
    return Grouping(interval, forget, kept)


def test_first_is_told_at_once_the_others_after_the_interval() -> None:
    found = made()
    for _ in range(5):
        happened(found, "a")
    assert told(found, 100) == [("a", 1, 0)]
    assert told(found, 109) == []
    assert told(found, 110) == [("a", 4, 10)]
    happened(found, "a")
    assert told(found, 119) == []
    assert told(found, 123) == [("a", 1, 13)]


def test_what_rests_for_an_interval_is_new_again() -> None:
    found = made()
    happened(found, "a")
    assert told(found, 100) == [("a", 1, 0)]
    assert told(found, 110) == []
    happened(found, "a")
    assert told(found, 111) == [("a", 1, 0)]


def test_what_is_to_be_remembered_for_longer_is() -> None:
    found = made(forget=30)
    happened(found, "a")
    assert told(found, 100) == [("a", 1, 0)]
    assert told(found, 115) == []
    happened(found, "a")
    # Its interval began anew when it was looked at and had nothing to tell.
    assert told(found, 124) == []
    assert told(found, 125) == [("a", 1, 25)]
    assert told(found, 135) == told(found, 145) == told(found, 155) == []
    happened(found, "a")
    assert told(found, 156) == [("a", 1, 0)]


def test_whoever_is_in_a_hurry_waits_for_nobody_else() -> None:
    found = made()
    for thing in ("a", "b"):
        happened(found, thing)
    assert told(found, 100) == [("a", 1, 0), ("b", 1, 0)]
    for thing in ("a", "b", "c", "d", "d"):
        happened(found, thing)
    found.hurry(103 * SECOND, lambda thing: thing in ("b", "d"))
    hurried = found.in_a_hurry
    due, more = found.take(103 * SECOND, 3)
    assert [(each.thing, each.number, each.seconds) for each in due] == [("d", 1, 0), ("b", 1, 3), ("d", 1, 1)]
    assert (hurried, found.in_a_hurry, more) == (True, False, True)
    assert told(found, 103) == [("c", 1, 0)]
    assert told(found, 110) == [("a", 1, 10)]


def test_what_could_not_be_told_comes_first_next_time() -> None:
    found = made()
    for thing in ("a", "b", "c"):
        happened(found, thing)
    due, _ = found.take(100 * SECOND, 2)
    found.give_back(due)
    assert told(found, 101) == [("a", 1, 0), ("b", 1, 0), ("c", 1, 0)]


def test_beyond_its_capacity_the_oldest_is_told_and_counts_anew() -> None:
    found = made(kept=3)
    for thing in ("a", "a", "b", "c"):
        happened(found, thing)
    assert told(found, 100) == [("a", 1, 0), ("b", 1, 0), ("c", 1, 0)]
    for thing in ("d", "e", "f"):
        happened(found, thing)
    assert len(found.counts) == 3
    # A's further use is not lost; b and c had none.
    assert sorted(told(found, 101)) == [("a", 1, 10), ("d", 1, 0), ("e", 1, 0), ("f", 1, 0)]
    for number in range(10):
        happened(found, f"new {number}")
    assert len(found.counts) == 3
    assert [thing for thing, _, _ in told(found, 102)] == ["new 7", "new 8", "new 9"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 7)), max_size=60),
    st.integers(1, 3),
    st.sampled_from([1, 2, 2_000]),
    st.sampled_from([5, 20]),
)
def test_everything_is_told_once(uses: list[tuple[str, int]], limit: int, at_a_time: int, forget: int) -> None:
    found, now = made(5, forget), 100
    counted: Counter[str] = Counter()
    former, windowed_counter.LOOKED_AT = windowed_counter.LOOKED_AT, at_a_time
    try:
        for thing, later in uses:
            now += later
            happened(found, thing)
            for name, number, _ in told(found, now, limit):
                counted[name] += number
        found.hurry(now * SECOND)
        for name, number, _ in told(found, now, limit):
            counted[name] += number
    finally:
        windowed_counter.LOOKED_AT = former
    assert counted == Counter(thing for thing, _ in uses)
    assert (told(found, now + 50, limit), found.counts) == ([], {})
