"""Cases that share their fixtures are all run, and those that fail are named."""

import asyncio
import inspect
from typing import Any

import pytest

from tests.cases import cases


def test_each_is_run_with_the_same_fixtures() -> None:
    seen: list[tuple[str, int]] = []

    @cases("number", [1, 2])
    async def one(server: str, number: int) -> None:
        seen.append((server, number))

    assert list(inspect.signature(one).parameters) == ["server"]
    asyncio.run(one(server="here"))
    assert seen == [("here", 1), ("here", 2)]


def test_all_that_fail_are_told_by_their_names() -> None:
    @cases(("left", "right"), [(1, 1), pytest.param(1, 2, id="unequal"), (3, 4)], ids=["one", "two", "three"])
    def alike(left: int, right: int) -> None:
        assert left == right

    with pytest.raises(ExceptionGroup, match="2 cases failed") as failed:
        alike()
    assert [each.__notes__ for each in failed.value.exceptions] == [["with two"], ["with three"]]


def test_one_that_fails_is_told_as_it_failed() -> None:
    @cases("value", ["as it was", {"told": "in full"}])
    def plain(value: Any) -> None:
        assert isinstance(value, str)

    with pytest.raises(AssertionError) as failed:
        plain()
    assert failed.value.__notes__ == ["with value={'told': 'in full'}"]
