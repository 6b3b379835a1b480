"""How a command ends that a signal tells to."""

import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cli.ending import TOLD, ToldToEnd, ending_in_order


@pytest.fixture(params=TOLD)
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """One of the signals, which nobody else heeds."""
    told: signal.Signals = request.param
    former = signal.signal(told, signal.SIG_DFL)
    yield told
    signal.signal(told, former)


def test_who_is_told_once_more_tidies_up_undisturbed(number: signal.Signals) -> None:
    done = []

    @ending_in_order()
    def tidy_up() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            done.append("all of it")

    with pytest.raises(ToldToEnd):
        tidy_up()
    assert done == ["all of it"]


def test_who_was_told_where_that_is_dropped_is_told_again(number: signal.Signals) -> None:
    """As in `input`, which drops what is raised while it writes out its prompt."""

    @ending_in_order()
    def drop_it() -> None:
        for _ in range(2):
            with suppress(ToldToEnd):
                signal.raise_signal(number)
        signal.raise_signal(number)

    with pytest.raises(ToldToEnd):
        drop_it()
