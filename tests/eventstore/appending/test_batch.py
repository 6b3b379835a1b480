"""What callers of one transaction do to a grant that one of them began."""

import asyncio
from typing import Any

import pytest

from domain.decision import accept
from domain.grant import is_alone
from eventstore.command import Command
from eventstore.ledger import Ledger
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
