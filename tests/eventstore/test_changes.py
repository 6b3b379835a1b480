"""What counts as a change, whoever tells of it and in whichever order."""

from collections import OrderedDict

from eventstore.repository import Changes


def test_told_change_stands_when_an_older_one_is_told_later() -> None:
    """A commit is heard of by the reader, with what another process wrote behind it, before its writer notes it."""
    changes = Changes(0, destroyed=lambda _: None)
    changes.note("grant:a", 9)
    changes.note("grant:a", 7)
    changes.advance(9, None)
    assert not changes.holds(8, "grant:a")
    assert changes.holds(9, "grant:a")


def test_nobody_else_tells_of_a_change_in_the_middle_of_telling() -> None:
    """The writer's thread and those that read tell of changes; a newer one must not be lost to an older one."""
    changes, alone = Changes(0, destroyed=lambda _: None), []

    class Told(OrderedDict[str, int]):
        def get(self, *given: object) -> int:
            alone.append(changes._lock.locked())
            return super().get(*given)  # type: ignore[call-overload, no-any-return]

    changes._changed = Told()
    changes.note("grant:a", 9)
    assert alone == [True]


def test_what_is_forgotten_has_raised_the_floor_before_it_goes() -> None:
    """Whoever asks meanwhile finds that it changed, one way or the other."""
    changes, held = Changes(0, destroyed=lambda _: None, remembered=1), []

    class Told(OrderedDict[str, int]):
        def __delitem__(self, stream: str) -> None:
            super().__delitem__(stream)
            held.append(changes.holds(6, stream))

    changes._changed = Told()
    changes.note("grant:a", 7)
    changes.note("grant:b", 8)
    assert held == [False]
