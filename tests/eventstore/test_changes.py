"""What counts as a change, whoever tells of it and in whichever order."""

from eventstore.changes import Changes


def test_a_change_that_was_told_of_stands_when_an_older_one_is_told_of_later() -> None:
    """A commit is heard of by the reader, with what another process wrote behind it, before its writer notes it."""
    changes = Changes(0, erased=lambda _: None)
    changes.note("grant:a", 9)
    changes.note("grant:a", 7)
    changes.advance(9)
    assert not changes.holds(8, "grant:a")
    assert changes.holds(9, "grant:a")
