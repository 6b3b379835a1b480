"""A request's body on its way: who sends slowly holds no place that others wait for, and not for ever."""

import asyncio
from typing import Any, Protocol

from api.answers import Receive
from api.problems import Problem

SECONDS = 30
"""How long a whole body may take to come. A megabyte does in that time over any line that people still use."""


class TooSlow(Problem):
    """408, and the connection ends with it (RFC 9110 §15.5.9)."""

    status = 408
    error = "invalid_request"

    def __init__(self) -> None:
        super().__init__("The request body did not come in time.")


class Place(Protocol):
    """A request's place among those that the server is working on."""

    def leave(self) -> None:
        """Gives it back."""

    def come_back(self) -> None:
        """Takes it again, however many there are by now: this request was let in before."""


class Arriving:
    """The `receive` of one request. Waiting for the client is no work, so the place is free meanwhile.

    Otherwise a few connections that announce a body and send nothing would use up all places there are. Raises TooSlow.
    """

    __slots__ = ("_complete", "_deadline", "_place", "_receive")

    def __init__(self, receive: Receive, place: Place) -> None:
        self._receive = receive
        self._place = place
        self._deadline: float | None = None
        self._complete = False

    async def __call__(self) -> Any:
        # After the body all that can come is the news that the client has gone, and that may take as long as it likes.
        if self._complete:
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + SECONDS
        self._place.leave()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow() from None
        finally:
            self._place.come_back()
        self._complete = not message.get("more_body", False)
        return message
