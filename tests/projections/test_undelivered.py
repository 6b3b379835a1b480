"""What has not been delivered of events is said of each, whatever happens meanwhile."""

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from projections import outbox


class Distributing:
    """A connection on which the event is distributed between one question and the next, as on PostgreSQL it may be."""

    def __init__(self) -> None:
        self._asked = 0

    def execute(self, query: sa.Select[Any]) -> list[SimpleNamespace]:
        self._asked += 1
        (table,) = query.get_final_froms()
        if table is outbox.TABLE:
            return [SimpleNamespace(position=7)] if self._asked == 1 else []
        return [] if self._asked == 1 else [SimpleNamespace(position=7, destination="pager", dead=0)]


def test_what_is_distributed_meanwhile_is_not_delivered() -> None:
    found = outbox.undelivered_of(Distributing(), [7])  # type: ignore[arg-type]
    assert found[7, "pager"] is False
