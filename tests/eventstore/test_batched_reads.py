"""Keys that are asked for together are read together, and nobody is answered by a read that began before they asked."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from eventstore.reading import MOST, BatchedReads
from eventstore.unavailable import ArchiveAway, DatabaseAway

pytestmark = pytest.mark.anyio

AT_ONCE = 4


class Reads:
    """What was read, and a read that waits until it may go on."""

    def __init__(self) -> None:
        self.keys: list[list[int]] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def read(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.keys.append(list(keys))
        self.begun.set()
        await self.may_end.wait()
        if self.error is not None and 13 in keys:
            raise self.error
        return {key: f"value {key}" for key in keys if key % 2}


async def test_who_asks_together_is_answered_by_one_read() -> None:
    reads = Reads()
    gathering = BatchedReads(reads.read, AT_ONCE)
    assert await asyncio.gather(*(gathering.find(key) for key in (1, 2, 3, 1))) == [
        "value 1",
        None,
        "value 3",
        "value 1",
    ]
    assert reads.keys == [[1, 2, 3, 1]]
    assert await gathering.find(5) == "value 5"


async def test_read_asked_during_a_batch_waits_for_the_next_one() -> None:
    reads = Reads()
    gathering = BatchedReads(reads.read, AT_ONCE)
    reads.may_end.clear()
    asking = []
    for _ in range(AT_ONCE):
        asking.append(asyncio.create_task(gathering.find(1)))
        await reads.begun.wait()
        reads.begun.clear()
    asking += [asyncio.create_task(gathering.find(key)) for key in (1, 3)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert reads.keys == [[1]] * AT_ONCE
    reads.may_end.set()
    assert await asyncio.gather(*asking) == ["value 1"] * (AT_ONCE + 1) + ["value 3"]
    assert reads.keys == [*[[1]] * AT_ONCE, [1, 3]]


async def test_a_read_is_for_so_many_at_most() -> None:
    reads = Reads()
    gathering = BatchedReads(reads.read, AT_ONCE)
    await asyncio.gather(*(gathering.find(key) for key in range(MOST + 1)))
    assert [len(each) for each in reads.keys] == [MOST, 1]


async def test_what_is_wrong_with_one_key_harms_nobody_else() -> None:
    reads = Reads()
    gathering = BatchedReads(reads.read, AT_ONCE)
    for reads.error in (ValueError("thirteen"), ArchiveAway("a", 1, 9, "there is no such file")):
        found = await asyncio.gather(*(gathering.find(key) for key in (11, 13, 15)), return_exceptions=True)
        assert found == ["value 11", reads.error, "value 15"]


async def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    reads = Reads()
    reads.error = DatabaseAway("gone")
    gathering = BatchedReads(reads.read, AT_ONCE)
    found = await asyncio.gather(*(gathering.find(key) for key in (11, 13)), return_exceptions=True)
    assert found == [reads.error, reads.error]
    assert reads.keys == [[11, 13]]
    reads.error = None
    assert await gathering.find(13) == "value 13"


async def test_who_goes_away_leaves_the_others_their_answers() -> None:
    reads = Reads()
    gathering = BatchedReads(reads.read, AT_ONCE)
    reads.may_end.clear()
    asking = [asyncio.create_task(gathering.find(key)) for key in (1, 3)]
    await reads.begun.wait()
    asking[0].cancel()
    reads.may_end.set()
    assert await asking[1] == "value 3"


async def test_nobody_is_forgotten_who_asks_just_as_all_reads_end() -> None:
    reads = Reads()
    gathering = BatchedReads(reads.read, AT_ONCE)
    reads.may_end.clear()

    async def twice() -> list[str | None]:
        return [await gathering.find(1), await gathering.find(3)]

    asking_again = asyncio.create_task(twice())
    others = []
    for _ in range(AT_ONCE):
        await reads.begun.wait()
        reads.begun.clear()
        if len(others) < AT_ONCE - 1:
            others.append(asyncio.create_task(gathering.find(5)))
    reads.may_end.set()
    async with asyncio.timeout(60):
        assert await asking_again == ["value 1", "value 3"]
        assert await asyncio.gather(*others) == ["value 5"] * (AT_ONCE - 1)
