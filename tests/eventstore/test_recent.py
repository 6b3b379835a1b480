"""What a process remembers of its own appends is what the log holds, without a gap."""

from domain.event import ANONYMOUS, Recorded
from domain.scope import ScopeDefined
from eventstore.recorder import Recent


def recorded(*positions: int) -> list[Recorded]:
    event = ScopeDefined(name="read", description="Read")
    return [Recorded(n, f"e{n}", "scope:read", n, n, ANONYMOUS, None, None, None, event) for n in positions]


def test_a_stretch_is_known_as_a_whole_or_not_at_all() -> None:
    recent = Recent()
    assert recent.between(0, 1) is None
    recent.add(recorded(5, 6))
    recent.add(recorded(7))
    assert recent.between(4, 7) == recorded(5, 6, 7)
    assert recent.between(5, 6) == recorded(6)
    assert recent.between(3, 7) is None
    assert recent.between(5, 8) is None


def test_what_another_process_wrote_between_is_a_gap() -> None:
    recent = Recent()
    recent.add(recorded(1, 2))
    recent.add(recorded(4, 5))
    assert recent.between(0, 2) is None
    assert recent.between(1, 5) is None
    assert recent.between(3, 5) == recorded(4, 5)


def test_the_oldest_are_forgotten() -> None:
    recent = Recent(kept=3)
    for position in range(1, 9):
        recent.add(recorded(position))
    assert recent.between(0, 8) is None
    assert recent.between(5, 8) == recorded(6, 7, 8)


def test_who_has_a_stretch_keeps_it() -> None:
    recent = Recent(kept=1)
    recent.add(recorded(1, 2))
    known = recent.between(0, 2)
    recent.add(recorded(3))
    recent.add(recorded(4))
    assert known == recorded(1, 2)
