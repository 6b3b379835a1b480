"""What a process remembers of its own appends is what the log holds, without a gap."""

from typing import Any

import pytest

from domain.event import ANONYMOUS, Recorded
from domain.scope import ScopeDefined
from eventstore.recorder import Recent
from eventstore.sealed.log_rows import EventRow, rows_of


def recorded(*positions: int) -> list[Recorded]:
    event = ScopeDefined(name="read", description="Read")
    return [Recorded(n, f"e{n}", "scope:read", n, n, ANONYMOUS, None, None, None, event) for n in positions]


def rows(*positions: int) -> list[EventRow]:
    return rows_of([(n, "scope:read", n, ScopeDefined.type, b"{%d}" % n) for n in positions])


def add(recent: Recent, *positions: int) -> None:
    recent.add(recorded(*positions), rows(*positions))


def test_a_stretch_is_known_as_a_whole_or_not_at_all() -> None:
    recent = Recent()
    assert recent.between(0, 1) is None
    add(recent, 5, 6)
    add(recent, 7)
    assert recent.between(4, 7) == recorded(5, 6, 7)
    assert recent.between(5, 6) == recorded(6)
    assert recent.between(3, 7) is None
    assert recent.between(5, 8) is None


def test_what_another_process_wrote_between_is_a_gap() -> None:
    recent = Recent()
    add(recent, 1, 2)
    add(recent, 4, 5)
    assert recent.between(0, 2) is None
    assert recent.between(1, 5) is None
    assert recent.between(3, 5) == recorded(4, 5)


def test_the_oldest_are_forgotten() -> None:
    recent = Recent(kept=3)
    for position in range(1, 9):
        add(recent, position)
    assert recent.between(0, 8) is None
    assert recent.between(5, 8) == recorded(6, 7, 8)


def test_who_has_a_stretch_keeps_it() -> None:
    recent = Recent(kept=1)
    add(recent, 1, 2)
    known = recent.between(0, 2)
    add(recent, 3)
    add(recent, 4)
    assert known == recorded(1, 2)


def test_rows_are_its_own_where_every_octet_is() -> None:
    recent = Recent(kept=2)
    add(recent, 1, 2)
    add(recent, 4)
    assert recent.others(rows(1, 2, 3, 4, 5)) == [2, 4]
    add(recent, 6)
    add(recent, 7)
    # The oldest are forgotten.
    assert recent.others(rows(1, 2, 4, 6, 7)) == [0, 1]


@pytest.mark.parametrize(
    "changed",
    [
        (2, "scope:write", 2, ScopeDefined.type, b"{2}"),
        (2, "scope:read", 3, ScopeDefined.type, b"{2}"),
        (2, "scope:read", 2, "scope.changed", b"{2}"),
        (2, "scope:read", 2, ScopeDefined.type, b"{2} "),
    ],
    ids=("stream", "version", "type", "form"),
)
def test_a_row_that_was_changed_is_another(changed: tuple[Any, ...]) -> None:
    recent = Recent()
    add(recent, 1, 2, 3)
    assert recent.others([*rows(1), *rows_of([changed]), *rows(3)]) == [1]
