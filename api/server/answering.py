"""Whole requests to the busiest endpoints: each is handed to a coroutine, without messages to and fro, and without a
turn of the event loop for each of its parts.

Those that came in one turn of the loop are begun together, right behind it. So whoever asks whether the log has changed
asks for all of them, and had all of them before the question.
"""

import asyncio
from asyncio import CancelledError
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from typing import Any, Protocol, cast

import structlog

from api.http.log_lines import trace
from api.http.request_context import Scope
from api.http.responses import WrittenResponse

log = structlog.get_logger("server")


class WholeRequest(Protocol):
    """What is worked on: a request that has come to its end."""

    scope: Scope

    def body(self) -> bytes:
        """Takes what came with its head."""

    def answer(self, given: WrittenResponse) -> None:
        """Sends the answer."""

    def break_off(self) -> None:
        """Ends the connection without one."""


class Answering(asyncio.Future[None]):
    """Drives the coroutine of one request. It is a task to the loop and to whatever asks for the current one, as the
    standard library lets others make them ("Extending asyncio"); the first of its steps is taken at once, where the
    library's own would wait for the next turn. Most requests need no further one."""

    def __init__(
        self,
        request: WholeRequest,
        coroutine: Coroutine[Any, Any, WrittenResponse],
        under_way: set[Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop=loop)
        self._request = request
        self._coroutine = coroutine
        self._under_way = under_way
        self._context = copy_context()
        self._waits_for: Any = None
        self._cancels = 0
        self._throws = False

    def begin(self) -> None:
        """Takes the first step. On the event loop's thread, outside of any task."""
        self._context.run(self._step)
        if not self.done():
            self._under_way.add(self)

    def cancel(self, msg: Any = None) -> bool:
        """Has `CancelledError` raised where the coroutine waits, or will wait."""
        if self.done():
            return False
        self._cancels += 1
        if self._waits_for is None or not self._waits_for.cancel(msg):
            self._throws = True
        return True

    def uncancel(self) -> int:
        """Takes one such wish back; how many are left."""
        self._cancels = max(0, self._cancels - 1)
        if self._cancels == 0:
            self._throws = False
        return self._cancels

    def cancelling(self) -> int:
        """How many such wishes there are."""
        return self._cancels

    def get_coro(self) -> Coroutine[Any, Any, WrittenResponse]:
        """What is driven."""
        return self._coroutine

    def _step(self, _: object = None) -> None:
        self._waits_for = None
        loop, task = self.get_loop(), cast("asyncio.Task[Any]", self)
        _enter_task(loop, task)
        try:
            if self._throws:
                self._throws = False
                waits_for = self._coroutine.throw(CancelledError())
            else:
                waits_for = self._coroutine.send(None)
        except StopIteration as ended:
            self._end(ended.value)
        except (Exception, CancelledError) as error:
            if not isinstance(error, CancelledError):
                log.error("request failed", **trace(error))
            self._end(None)
        else:
            self._wait(waits_for)
        finally:
            _leave_task(loop, task)

    def _wait(self, waits_for: Any) -> None:
        if waits_for is None:
            # It leaves the loop to others for a turn.
            self.get_loop().call_soon(self._step, context=self._context)
            return
        # What `await` has set on a future, for whoever drives the coroutine to take back (PEP 3156's protocol).
        waits_for._asyncio_future_blocking = False
        waits_for.add_done_callback(self._step, context=self._context)
        self._waits_for = waits_for
        if self._throws and waits_for.cancel():
            self._throws = False

    def _end(self, given: WrittenResponse | None) -> None:
        self._under_way.discard(self)
        self.set_result(None)
        if given is None:
            self._request.break_off()
        else:
            self._request.answer(given)


class WholeRequests:
    """Those of one worker. `paths` are the targets whose requests the app takes, and their paths; none until `serve`.
    What takes more than a turn of the loop is among the `tasks` until it is over."""

    def __init__(self, tasks: set[Any]) -> None:
        self.paths: Mapping[bytes, str] = {}
        self._tasks = tasks
        self._waiting: list[WholeRequest] = []
        self._answer: Callable[[Scope, bytes], Coroutine[Any, Any, WrittenResponse]] | None = None

    def serve(self, app: Any) -> None:
        """Has this app answer them, as far as it takes any (`Middleware.answer_whole`)."""
        if hasattr(app, "answer_whole"):
            self._answer, self.paths = app.answer_whole, app.whole

    def begin_soon(self, request: WholeRequest) -> None:
        """Begins the work on a request, together with what else has come in this turn of the loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        self._waiting.append(request)

    def _begin(self) -> None:
        requests, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        if self._answer is None:
            raise AssertionError("no app takes whole requests")
        for each in requests:
            try:
                Answering(each, self._answer(each.scope, each.body()), self._tasks, loop).begin()
            except Exception as error:
                # Whatever is wrong with one of them harms no other.
                log.error("request failed", **trace(error))
                each.break_off()
