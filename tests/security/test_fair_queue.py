"""Whose turn it is, and who has to go: the same for the same callers, whatever thread is the fastest."""

from collections import Counter
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from security.fair_queue import Asker, FairQueue

T = TypeVar("T")


def queue(running: int = 2, share: int = 1, room: int = 64) -> FairQueue[str]:
    return FairQueue(running=running, share=share, room=room)


def order(waiting: FairQueue[T]) -> list[T]:
    """Who has a turn, one after the other, each done before the next."""
    found = []
    while (turn := waiting.take()) is not None:
        asker, item = turn
        waiting.done(asker)
        found.append(item)
    return found


def test_addresses_have_turns_and_within_each_the_people():
    waiting = queue()
    for n in range(3):
        assert waiting.put(Asker("a", "paul"), f"a paul {n}") is None
    waiting.put(Asker("a", "ada"), "a ada 0")
    for n in range(2):
        waiting.put(Asker("b", "paul"), f"b paul {n}")
    waiting.put(Asker("c", "eve"), "c eve 0")
    assert waiting.waiting == 7
    assert order(waiting) == ["a paul 0", "b paul 0", "c eve 0", "a ada 0", "b paul 1", "a paul 1", "a paul 2"]
    assert waiting.is_idle


def test_one_address_has_no_more_than_its_share_at_a_time():
    waiting = queue(running=4, share=2)
    for n in range(5):
        waiting.put(Asker("a", str(n)), f"a{n}")
    waiting.put(Asker("b", ""), "b")
    first = [waiting.take() for _ in range(4)]
    assert [turn and turn[1] for turn in first] == ["a0", "b", "a1", None]
    waiting.done(Asker("b", ""))
    assert waiting.take() is None
    waiting.done(Asker("a", "0"))
    assert waiting.take() == (Asker("a", "2"), "a2")
    assert not waiting.is_idle


def test_a_full_room_makes_way_at_the_cost_of_the_longest_queue():
    waiting = queue(running=1, room=4)
    running = Asker("z", "")
    waiting.put(running, "running")
    waiting.take()
    for n in range(3):
        waiting.put(Asker("storm", "paul"), f"storm paul {n}")
    waiting.put(Asker("storm", "ada"), "storm ada")
    # Who storms goes on with what they have.
    assert waiting.put(Asker("storm", "paul"), "storm paul 3") == "storm paul 3"
    # Whoever comes from elsewhere gets in.
    assert waiting.put(Asker("home", "paul"), "home") == "storm paul 2"
    assert waiting.put(Asker("work", "eve"), "work") == "storm paul 1"
    assert waiting.put(Asker("cafe", "zoe"), "cafe") == "storm ada"
    # Nobody goes for one who waits in as long a queue.
    assert waiting.put(Asker("five", "paul"), "five") == "five"
    assert waiting.put(Asker("five", "bob"), "bob") == "home"
    waiting.done(running)
    assert order(waiting) == ["storm paul 0", "work", "cafe", "bob"]


def test_who_goes_away_leaves_room():
    waiting = queue(running=1, room=1)
    waiting.put(Asker("a"), "a")
    waiting.take()
    waiting.put(Asker("b"), "b")
    assert waiting.put(Asker("c"), "c") == "c"
    waiting.remove("b")
    waiting.remove("b")
    assert waiting.put(Asker("c"), "c") is None
    waiting.done(Asker("a"))
    assert order(waiting) == ["c"]


ASKERS = st.builds(Asker, st.sampled_from("abc"), st.sampled_from("xyz"))


@given(st.lists(st.one_of(ASKERS, st.none(), st.just(0)), max_size=80), st.integers(1, 4), st.integers(0, 6))
def test_nobody_is_forgotten_and_no_bound_is_exceeded(steps, running, room):
    """A step is a caller, None for a turn, 0 for the oldest one's end."""
    share = max(1, running // 2)
    waiting = FairQueue[int](running=running, share=share, room=room)
    inside, active, gone, served = set(), [], set(), []
    for n, step in enumerate(steps):
        if step is None:
            if (turn := waiting.take()) is not None:
                active.append(turn[0])
                served.append(turn[1])
        elif step == 0:
            if active:
                waiting.done(active.pop(0))
        else:
            inside.add(n)
            if (leaving := waiting.put(step, n)) is not None:
                gone.add(leaving)
        assert len(active) <= running
        assert waiting.waiting <= room + running
        assert max(Counter(asker.address for asker in active).values(), default=0) <= share
    for asker in active:
        waiting.done(asker)
    served += order(waiting)
    assert sorted(served) == sorted(inside - gone)
    assert waiting.is_idle
