"""What the present is made of is read together where there is much of it."""

from typing import Any

import pytest

from domain import scope
from eventstore import present
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder
from tests.any_command import any_command
from tests.eventstore.conftest import HERE

pytestmark = pytest.mark.anyio

HELD = frozenset({"orders:0"})


async def test_the_scopes_of_a_log_that_was_opened_are_read_together(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"orders:{each}" for each in range(5)]
    for name in names:
        await ledger.execute(
            any_command(scope.stream(name), scope.put, {"name": name, "description": "Orders", "caller_scope": HELD}),
            origin=HERE,
        )
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
