"""Months end after their retention unless something keeps them, and holds are placed and released."""

import pytest

from domain import hold as hold_page
from domain import origin_month as month_page
from domain.decision import Conflict, InvalidRequest, NotFound
from domain.hold import HoldPlaced, HoldReleased
from domain.origin_month import DAY, MonthDestroyed
from tests.domain.history import NOW, given, loosely

hold, origin_month = loosely(hold_page), loosely(month_page)
FACTS = {"month": "2026-01", "ended_at": NOW - 400 * DAY, "retention_days": 400, "waits_for": None}
DESTROYED = MonthDestroyed(month="2026-01", reason="retention", retention_days=400)


def test_a_month_ends_when_all_of_it_is_older_than_the_retention() -> None:
    assert origin_month.destroy(origin_month.INITIAL, now=NOW, **FACTS).events == (DESTROYED,)
    early = origin_month.destroy(origin_month.INITIAL, now=NOW - 1, **FACTS)
    assert (early.events, early.refusal.reason) == ((), Conflict.IN_USE)


def test_a_month_that_something_names_waits() -> None:
    waits = origin_month.destroy(origin_month.INITIAL, now=NOW, **FACTS | {"waits_for": "the hold h names this month"})
    assert (waits.events, waits.refusal.reason) == ((), Conflict.IN_USE)
    assert waits.refusal.detail == "the hold h names this month"


def test_a_month_ends_once() -> None:
    state = given(origin_month, origin_month.stream("2026-01"), DESTROYED)
    assert state.destroyed_at == NOW
    again = origin_month.destroy(state, now=NOW, **FACTS | {"waits_for": "a hold that came too late"})
    assert (again.events, again.refusal) == ((), None)


def after(*events):
    return given(hold, hold.STREAM, *events)


def facts(**changes):
    return {"hold_id": "h", "first": "2025-11", "last": "2026-02", "reason": "a court asked"} | changes


def test_a_hold_is_over_the_months_of_its_span() -> None:
    placed = hold.place(hold.INITIAL, now=NOW, **facts())
    assert placed.events == (HoldPlaced(**facts()),)
    state = after(*placed.events)
    kept = ["2025-11", "2025-12", "2026-01", "2026-02"]
    assert [state.over(month) for month in ("2025-10", *kept, "2026-03")] == [None, "h", "h", "h", "h", None]
    assert state.holds["h"].reason.text == "sealed:a court asked"


def test_a_released_hold_keeps_nothing() -> None:
    state = after(HoldPlaced(**facts()), HoldPlaced(**facts(hold_id="other", first="2026-01")))
    assert hold.release(state, now=NOW, hold_id="h").events == (HoldReleased(hold_id="h"),)
    state = after(
        HoldPlaced(**facts()), HoldPlaced(**facts(hold_id="other", first="2026-01")), HoldReleased(hold_id="h")
    )
    assert (state.over("2025-12"), state.over("2026-01")) == (None, "other")
    assert hold.release(state, now=NOW, hold_id="h").refusal.reason is NotFound.UNKNOWN


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"first": "2025-13"}, "first"),
        ({"first": "2025-1"}, "first"),
        ({"last": "next year"}, "last"),
        ({"last": "٢٠٢٦-01"}, "last"),
        ({"last": "2025-10"}, "last"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
    ],
)
def test_a_hold_says_which_months_and_why(change, field) -> None:
    refused = hold.place(hold.INITIAL, now=NOW, **facts(**change))
    assert (refused.events, refused.refusal.reason, refused.refusal.field) == ((), InvalidRequest.MALFORMED, field)


def test_there_are_not_too_many_holds() -> None:
    state = after(*(HoldPlaced(**facts(hold_id=str(number))) for number in range(hold.HELD_AT_ONCE)))
    assert hold.place(state, now=NOW, **facts()).refusal.field == "hold"
