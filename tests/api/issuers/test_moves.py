"""A schema's move to another node that nobody ends is gone on with by a server, or taken back."""

from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from api.environment import load
from api.issuers.moves import UnfinishedMoves, go_on
from api.issuers.registry import IssuerEntry, IssuerPlace, IssuerRegistry
from eventstore.database import citus
from eventstore.database.citus import CitusNode, MoveUnderWay
from eventstore.database.moving import NotMovable
from security.clock import ManualClock

pytestmark = pytest.mark.anyio

HERE = IssuerPlace("postgresql://somewhere.example/grantlog", schema="tenant", citus=True, node="db-1:5432")
THERE = replace(HERE, node="db-2:5432")


async def test_a_move_that_nobody_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, clock = load({}, None, environment="demo", data_dir=tmp_path), ManualClock()
    registry = IssuerRegistry.of(settings)
    moves = UnfinishedMoves(settings, registry, registry.entries, clock)
    begun = IssuerEntry("a" * 32, "https://a.example", "enabled", HERE, moving_to=THERE)
    asked: list[CitusNode] = []
    outcome: list[Exception] = []

    def move(url: str, name: str, node: CitusNode) -> None:
        asked.append(node)
        if outcome:
            raise outcome.pop()

    async def after_a_while(*raised: Exception) -> tuple[IssuerPlace, IssuerPlace | None]:
        outcome.extend(raised)
        clock.advance(31)
        await moves.look()
        (entry,) = registry.entries()
        return entry.place, entry.moving_to

    monkeypatch.setattr(citus, "move", move)
    registry.put(begun)
    # It is its command's own for a while.
    await moves.look()
    assert asked == []
    for refused in (MoveUnderWay(), ConnectionRefusedError()):
        assert await after_a_while(refused) == (HERE, THERE)
    assert await after_a_while() == (THERE, None)
    registry.put(begun)
    await moves.look()
    assert await after_a_while(NotMovable("it is spread over several")) == (HERE, None)
    assert asked == [CitusNode("db-2", 5432)] * 4
    assert await after_a_while() == (HERE, None)
    assert len(asked) == 4


@pytest.mark.parametrize("refused", [None, NotMovable("it is spread over several")])
async def test_what_is_changed_while_it_moves_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Exception | None
) -> None:
    settings = load({}, None, environment="demo", data_dir=tmp_path)
    registry = IssuerRegistry.of(settings)
    begun = IssuerEntry("a" * 32, "https://a.example", "enabled", HERE, moving_to=THERE)
    registry.put(begun)

    def move(url: str, name: str, node: CitusNode) -> None:
        IssuerRegistry.of(settings).put(replace(begun, standing="disabled"))
        if refused is not None:
            raise refused

    monkeypatch.setattr(citus, "move", move)
    with suppress(NotMovable):
        go_on(settings, registry, begun)
    place = THERE if refused is None else HERE
    assert registry.entries() == (replace(begun, standing="disabled", place=place, moving_to=None),)
