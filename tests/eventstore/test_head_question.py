"""The question for the log's head has an end, whatever the network does with it."""

import asyncio
import contextlib
import struct
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop
from psycopg import AsyncConnection
from sqlalchemy.engine import make_url

from eventstore.reading import HeadQuestion
from eventstore.unavailable import DatabaseAway
from tests.relay import relayed

FAR_TOO_LONG = 30
"""Seconds after which a question that should have ended at once counts as one that never ends."""


def notice(words: str) -> bytes:
    """A NoticeResponse of PostgreSQL's protocol."""
    fields = b"SNOTICE\0C00000\0M" + words.encode() + b"\0\0"
    return b"N" + struct.pack("!i", len(fields) + 4) + fields


def on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """As a server's worker runs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def test_connection_reset_while_asking_ends_the_question(postgresql_url: str) -> None:
    """The event loop is told once of an error that comes together with data, and the data may be no answer."""

    async def ask(url: str) -> None:
        question = HeadQuestion(make_url(url))
        assert await question.ask() == 0
        for _ in range(10):
            relay.last_words = notice("the server goes down")
            with pytest.raises(DatabaseAway):
                await asyncio.wait_for(question.ask(), FAR_TOO_LONG)
            assert await question.ask() == 0
        question.close()

    with relayed(postgresql_url) as (relay, url):
        on_uvloop(ask(url))


def test_cancelled_question_ends_and_the_next_asks_elsewhere(postgresql_url: str) -> None:
    async def ask(url: str) -> None:
        question = HeadQuestion(make_url(url))
        assert await question.ask() == 0
        relay.swallows = True
        asked = asyncio.ensure_future(question.ask())
        await asyncio.to_thread(relay.swallowed.wait, FAR_TOO_LONG)
        question.give_up()
        relay.swallows = False
        assert await question.ask() == 0
        with pytest.raises(DatabaseAway):
            await asyncio.wait_for(asked, FAR_TOO_LONG)
        assert await question.ask() == 0
        question.close()

    with relayed(postgresql_url) as (relay, url):
        on_uvloop(ask(url))


def test_a_connection_that_came_too_late_is_closed(postgresql_url: str) -> None:
    """Whoever asked meanwhile has another one."""

    async def ask(url: str) -> None:
        question = HeadQuestion(make_url(url))
        late = asyncio.ensure_future(question.ask())
        await asyncio.sleep(0)
        question.give_up()
        assert await question.ask() == 0
        with pytest.raises(DatabaseAway):
            await late
        assert question.connections == 1
        question.close()

    on_uvloop(ask(postgresql_url))


def test_connection_given_up_while_idle_is_closed_at_once(postgresql_url: str) -> None:
    async def ask(url: str) -> None:
        question = HeadQuestion(make_url(url))
        assert await question.ask() == 0
        former = question._connection
        question.give_up()
        assert former is not None
        assert former.closed
        assert await question.ask() == 0
        question.close()

    on_uvloop(ask(postgresql_url))


@pytest.mark.parametrize("ending", ["given up", "cancelled"])
def test_connection_whose_answer_nobody_awaits_is_closed(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The answer is there already, and is not read yet."""
    asked: list[AsyncConnection] = []
    waits = AsyncConnection.wait

    async def ask(url: str) -> None:
        question = HeadQuestion(make_url(url))
        assert await question.ask() == 0

        async def wait(connection: AsyncConnection, generator: Any) -> Any:
            answer = await waits(connection, generator)
            asked.append(connection)
            if ending == "cancelled":
                raise asyncio.CancelledError
            question.give_up()
            return answer

        with monkeypatch.context() as patch, contextlib.suppress(asyncio.CancelledError):
            patch.setattr(AsyncConnection, "wait", wait)
            assert await question.ask() == 0
        assert [each.closed for each in asked] == [True]
        assert await question.ask() == 0
        question.close()

    on_uvloop(ask(postgresql_url))
