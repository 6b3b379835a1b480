"""What callers of one transaction do to a grant that one of them began."""

import asyncio
from typing import Any

import pytest

from domain.decision import accept
from domain.grant import is_alone
from domain.scope import ScopeDefined, stream
from eventstore.command import Command
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder
from tests.domain.story import SERVICE, Story, parties
from tests.eventstore.conftest import HERE

pytestmark = pytest.mark.anyio


async def test_a_grant_of_one_token_is_known_to_all_who_come_after(ledger: Ledger) -> None:
    """Also to those after one who decided several things together, of which a preview is made."""
    story = Story()
    story.credentials(parties(SERVICE))
    begun = story.recorded[0]
    assert is_alone(begun.event)
    seen: list[Any] = []

    def begin(state: Any, view: Any) -> Any:
        return accept(begun.event)

    def look(state: Any, view: Any) -> Any:
        seen.append(state.position)
        return accept()

    first, known = Command(begun.stream, begin, starts=True), Command(begun.stream, look)
    executed = await asyncio.gather(
        ledger.execute(first, origin=HERE),
        ledger.execute(known, known, origin=HERE),
        ledger.execute(known, origin=HERE),
    )
    assert seen == [executed[0].recorded[0].position] * 3


async def test_what_begins_a_stream_is_not_looked_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when it is decided together with something else, nor when that is recorded."""
    story = Story()
    story.credentials(parties(SERVICE))
    begun = story.recorded[0]
    asked: list[str] = []
    select = LogRecorder.select_events

    def noted(self: LogRecorder, stream: str, *given: Any, **named: Any) -> Any:
        asked.append(stream)
        return select(self, stream, *given, **named)

    monkeypatch.setattr(LogRecorder, "select_events", noted)
    beside = Command("grant:beside", lambda state, view: accept())
    started = Command(begun.stream, lambda state, view: accept(begun.event), starts=True)
    executed = await ledger.execute(beside, started, origin=HERE)
    assert [each.stream for each in executed.recorded] == [begun.stream]
    assert "grant:beside" in asked
    assert begun.stream not in asked


async def test_several_folds_are_asked_for_at_once(ledger: Ledger) -> None:
    """What is cached, what is not, what this very transaction made, and what was never there."""
    story = Story()
    story.credentials(parties(SERVICE))
    begun = story.recorded[0]
    defined = ScopeDefined(name="orders:read", description="Read orders")
    await ledger.execute(Command(stream("orders:read"), lambda state, view: accept(defined)), origin=HERE)
    seen: list[Any] = []

    def look(state: Any, view: Any) -> Any:
        seen.append(view.states((begun.stream, stream("orders:read"), stream("none"), begun.stream)))
        assert seen[-1] == [view.state(each) for each in (begun.stream, stream("orders:read"), stream("none"))] + [
            state
        ]
        return accept()

    first = Command(begun.stream, lambda state, view: accept(begun.event), starts=True)
    await ledger.execute(first, Command(begun.stream, look), origin=HERE)
    await ledger.execute(Command(begun.stream, look), origin=HERE)
    assert [[each.exists for each in states] for states in seen] == [[True, True, False, True]] * 2
