"""Who is let in while others wait: by the time that the wait would take, as the server's own pace tells it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.http import load_shedding
from api.http.load_shedding import FEW, HELD_BACK, KEY, LONGEST_WAIT, TOGETHER, HeldBack, Line, LoadShedding, Slot, away
from api.http.middleware import Middleware
from api.http.responses import RawResponse

TOKEN = "/oauth/token"  # noqa: S105 - a path


class Watch:
    """A clock of seconds that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Crowd:
    """Requests in one line, of which the first is answered when a test says so."""

    def __init__(self, bound: int = 10_000) -> None:
        self.watch = Watch()
        self.places = LoadShedding(bound, (TOKEN,), self.watch)
        self.line: Line = self.places.lines[TOKEN]
        self.waiting: list[Slot] = []

    def lets_in(self) -> bool:
        return not self.places.are_short(self.line)

    def come(self, count: int) -> None:
        for _ in range(count):
            self.waiting.append(Slot(self.places, self.line))

    def answer(self, count: int, seconds: float) -> None:
        """So many are answered, one every so many seconds, and as many come."""
        for _ in range(count):
            self.watch.now += seconds
            self.waiting.pop(0).end()
            self.come(1)


@pytest.mark.parametrize("seconds", [0.0002, 0.0005, 0.001])
def test_as_many_wait_as_are_answered_in_the_longest_wait(seconds: float) -> None:
    crowd = Crowd()
    crowd.come(64)
    crowd.answer(20_000, seconds)
    assert crowd.lets_in()
    crowd.come(int(LONGEST_WAIT / seconds) - 64 - 2)
    assert crowd.lets_in()
    crowd.come(4)
    assert not crowd.lets_in()
    for _ in range(4):
        crowd.waiting.pop().end()
    assert crowd.lets_in()


def test_limit_follows_a_server_that_slows_down_and_recovers() -> None:
    crowd = Crowd()
    crowd.come(200)
    crowd.answer(20_000, 0.0001)
    assert crowd.lets_in()
    crowd.answer(20_000, 0.002)
    assert not crowd.lets_in()
    crowd.answer(20_000, 0.0001)
    assert crowd.lets_in()


def test_a_few_are_let_in_however_slow_the_server_is() -> None:
    crowd = Crowd()
    crowd.come(FEW + 1)
    crowd.answer(20_000, 5.0)
    assert not crowd.lets_in()
    crowd.waiting.pop().end()
    assert crowd.lets_in()


def test_one_pause_sends_nobody_away() -> None:
    crowd = Crowd()
    crowd.come(64)
    crowd.answer(20_000, 0.0003)
    crowd.watch.now += 30
    for _ in range(20_000):
        assert crowd.lets_in()
        crowd.answer(1, 0.0003)


def test_slow_sequential_answers_do_not_count_as_queueing() -> None:
    crowd = Crowd()
    for _ in range(20_000):
        crowd.come(1)
        crowd.watch.now += 10
        crowd.waiting.pop().end()
    crowd.come(1_000)
    assert crowd.lets_in()


def test_all_places_together_have_a_bound_of_their_own() -> None:
    crowd = Crowd(bound=50)
    crowd.come(49)
    assert crowd.lets_in()
    crowd.come(1)
    assert not crowd.lets_in()
    assert crowd.places.are_short(None)


@pytest.mark.anyio
async def test_who_waits_for_a_password_takes_no_place_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_shedding, "BODY_WITHIN", 0)
    crowd = Crowd(bound=1)
    crowd.come(1)
    with away({KEY: crowd.waiting[0]}):
        assert not crowd.lets_in()
        while not crowd.lets_in():
            await asyncio.sleep(0)
        crowd.come(1)
    # It was let in before, so it goes on.
    assert (crowd.places.taken, crowd.line.taken) == (2, 2)
    for place in crowd.waiting:
        place.end()
    assert (crowd.places.taken, crowd.line.taken) == (0, 0)


def test_a_request_that_nobody_let_in_can_be_away_too() -> None:
    with away({}):
        pass


@pytest.mark.anyio
async def test_who_is_sent_away_hears_it_later_and_in_groups() -> None:
    timers: list[tuple[float, Callable[[], Any]]] = []
    places = LoadShedding(0, later=lambda seconds, call: timers.append((seconds, call)))

    async def sent_away() -> asyncio.Task[None]:
        task = asyncio.create_task(places.hold_back())
        await asyncio.sleep(0)
        return task

    first, second = await sent_away(), await sent_away()
    (together, no_more), (held_back, tell) = timers
    assert (together, held_back) == (TOGETHER, HELD_BACK)
    no_more()
    third = await sent_away()
    assert len(timers) == 4
    first.cancel()
    tell()
    await second
    assert not third.done()
    timers[3][1]()
    await third


@pytest.mark.anyio
async def test_so_many_are_held_back_and_all_others_hear_it_at_once() -> None:
    timers: list[Callable[[], Any]] = []
    places = LoadShedding(0, later=lambda _, call: timers.append(call), held=HeldBack(2))
    held = [asyncio.create_task(places.hold_back()) for _ in range(3)]
    await asyncio.sleep(0)
    assert [each.done() for each in held] == [False, False, True]
    held[0].cancel()
    await asyncio.sleep(0)
    held.append(asyncio.create_task(places.hold_back()))
    await asyncio.sleep(0)
    assert not held[3].done()
    timers[1]()
    await asyncio.gather(*held[1:])


@pytest.mark.anyio
async def test_a_long_line_is_told_to_come_back_and_nobody_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_shedding, "HELD_BACK", 0)
    asked: list[str] = []

    async def token(scope: Any, receive: Any) -> RawResponse:
        asked.append(scope["path"])
        return RawResponse(200, (), b"")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    counted: list[Any] = []
    wrapper = Middleware(
        app,
        in_flight=10_000,
        direct={TOKEN: token},
        log_requests=False,
        make_id=iter("abcdefgh").__next__,
        measure=lambda *given: counted.append(given[:3]),
    )
    line = wrapper.load.lines[TOKEN]
    line.pace, line.taken = LONGEST_WAIT / 100, 101
    first, second = await ask(wrapper, "POST", TOKEN), await ask(wrapper, "POST", TOKEN)
    assert asked == []
    assert first[0]["status"] == second[0]["status"] == 503
    headers, others = dict(first[0]["headers"]), dict(second[0]["headers"])
    assert headers[b"retry-after"] == b"1"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert (headers.pop(b"x-request-id"), others.pop(b"x-request-id")) == (b"a", b"b")
    assert headers == others
    assert b'"error":"temporarily_unavailable"' in first[1]["body"]
    assert (await ask(wrapper, "HEAD", TOKEN))[1]["body"] == b""
    assert (await ask(wrapper, "GET", "/admin/clients"))[0]["status"] == 200
    line.taken = 99
    assert (await ask(wrapper, "POST", TOKEN))[0]["status"] == 200
    assert asked == [TOKEN]
    assert counted[0] == (TOKEN, "POST", 503)


@pytest.mark.anyio
async def test_shed_request_with_an_unread_body_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_shedding, "HELD_BACK", 0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was let in")

    wrapper = Middleware(app, in_flight=0, log_requests=False)
    large = await ask(wrapper, "POST", TOKEN, (b"content-length", b"60000"))
    small = await ask(wrapper, "POST", TOKEN, (b"content-length", b"60"))
    assert (b"connection", b"close") in large[0]["headers"]
    assert (b"connection", b"close") not in small[0]["headers"]


async def ask(wrapper: Middleware, method: str, path: str, *headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
        "client": ("192.0.2.7", 5),
    }
    await wrapper(scope, receive, send)
    return sent
