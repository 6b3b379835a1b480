"""What the present is made of is read together where there is much of it."""

from typing import Any

import pytest

from domain import scope
from eventstore import present
from eventstore.command import Command
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder
from eventstore.view import View
from tests.any_command import any_command
from tests.eventstore.conftest import HERE

pytestmark = pytest.mark.anyio

HELD = frozenset({"orders:0"})


def put(name: str) -> Command[scope.State]:
    facts = {"name": name, "description": "Orders", "caller_scope": HELD}
    return any_command(scope.stream(name), scope.put, facts)


async def test_the_scopes_of_a_log_that_was_opened_are_read_together(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"orders:{each}" for each in range(5)]
    for name in names:
        await ledger.execute(put(name), origin=HERE)
    await ledger.settled()
    ledger._states._kept.clear()
    read: list[Any] = []
    together = LogRecorder.select_events_of

    def many(self: LogRecorder, streams: Any, **how: Any) -> Any:
        read.append([*streams])
        return together(self, streams, **how)

    monkeypatch.setattr(LogRecorder, "select_events_of", many)
    assert set(names) <= {*await ledger.look(present.all_scopes)}
    assert read == [[scope.stream(each) for each in names]]
    assert set(names) <= {*await ledger.look(present.all_scopes)}
    assert len(read) == 1


async def test_what_was_read_together_and_never_committed_is_not_there(ledger: Ledger) -> None:
    seen: list[bool] = []

    def look(view: View, _: object) -> None:
        seen.append("orders:1" in view.look(present.all_scopes))
        raise LookupError

    with pytest.raises(LookupError):
        await ledger.execute(put("orders:1"), origin=HERE, then=look)
    assert seen == [True]
    assert not (await ledger.state(scope.stream("orders:1"))).exists
    await ledger.execute(put("orders:1"), origin=HERE)
    assert (await ledger.state(scope.stream("orders:1"))).exists
