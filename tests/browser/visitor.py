"""A browser of somebody's own: where it goes, what it sends and receives, and everything that it complains about."""

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Error, Page, Request, Response, WebError

from tests.browser.demonstration import Demo, Person

REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
"""What Chromium itself says about every answer of 400 and above."""

PATIENCE = 60_000
"""Milliseconds. Far more than any step takes; a machine that is busy with other tests needs a multiple of it."""

TABS = 30
FOCUS = """selector => {
    const element = document.activeElement, style = getComputedStyle(element);
    return {
        there: element.matches(selector),
        what: element.outerHTML.slice(0, 80),
        outline: element === document.body ? 99 : style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    };
}"""


@dataclass(frozen=True)
class Traffic:
    """One request and its answer, as far as they left the browser: lines of headers, and bodies."""

    url: str
    sent: bytes
    received: bytes


@dataclass
class Visitor:
    """`refused` are the statuses that the visit is meant to meet; a browser mentions each in its console.

    `traffic` is kept where it is `recorded`, since the browser is asked three times about each answer then.
    """

    demo: Demo
    context: BrowserContext
    page: Page
    recorded: bool = False
    refused: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    traffic: list[Traffic] = field(default_factory=list)
    listening: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    async def arrive(cls, demo: Demo, context: BrowserContext, recorded: bool = False) -> "Visitor":
        visitor = cls(demo, context, await context.new_page(), recorded)
        context.on("console", visitor._hear)
        context.on("weberror", visitor._see)
        context.on("request", visitor._count)
        if recorded:
            context.on("response", visitor._receive)
        return visitor

    async def leave(self) -> None:
        """Closes the browser; fails when a page complained or talked to somebody else."""
        if self.recorded:
            await self.heard()
            # What a page still fetches from here on is nobody's business, and could not be asked for once it is closed.
            self.context.remove_listener("response", self._receive)
            await self.heard()
        await self.context.close()
        assert not self.complaints, self.complaints
        assert self.hosts <= self.demo.hosts

    async def heard(self) -> list[Traffic]:
        """All traffic so far, of a visit that is recorded."""
        assert self.recorded, "of what was not recorded everything could be said"
        async with asyncio.timeout(PATIENCE / 1000):
            while self.listening:
                await asyncio.gather(*self.listening)
        return self.traffic

    # --- What people do -----------------------------------------------------------------------------------------------

    async def connect(self, person: Person) -> None:
        """From the application's button to the question what it may do, by way of the sign-in."""
        await self.page.goto(self.demo.application)
        await self.page.click("#connect")
        await self.sign_in(person)
        await self.page.wait_for_selector("button[name=decision]")

    async def sign_in(self, person: Person) -> None:
        """Fills the form in that is open, whichever of the pages it stands on."""
        await self.page.fill("#username", person.username)
        await self.page.fill("#password", person.password)
        await self.page.click("main form button[type=submit]")

    async def decide(self, decision: str) -> None:
        await self.page.click(f"button[name=decision][value={decision}]")
        await self.page.wait_for_url(f"{self.demo.application}/")

    async def text(self, selector: str) -> str:
        """What the first element of that kind says; waits until it is there."""
        return (await self.page.locator(selector).first.inner_text()).strip()

    async def introspected(self, member: str = "access_token") -> str:
        """What the server says about a token of the application, by the application's own button."""
        await self.page.click(f"#introspect-{member}")
        return await self.text("#answer-active")

    async def tab_to(self, selector: str) -> None:
        """Presses Tab until that element has the focus; every stop on the way must show that it has it."""
        # An element may be there before the style sheet that shows the focus is.
        await self.page.wait_for_load_state("load")
        stops = []
        for _ in range(TABS):
            await self.page.keyboard.press("Tab")
            stop = await self.page.evaluate(FOCUS, selector)
            assert stop["outline"] >= 2, f"the focus cannot be seen on {stop['what']}"
            if stop["there"]:
                return
            stops.append(stop["what"])
        raise AssertionError(f"the keyboard does not reach {selector}, only {stops}")

    # --- What the browser tells ---------------------------------------------------------------------------------------

    def _hear(self, message: ConsoleMessage) -> None:
        status = REFUSED.match(message.text)
        if status is None or int(status.group(1)) not in self.refused:
            self.complaints.append(f"{message.type}: {message.text}")

    def _see(self, error: WebError) -> None:
        self.complaints.append(f"uncaught: {error.error}")

    def _count(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)

    def _receive(self, response: Response) -> None:
        self._listen(self._record(response))

    def _listen(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.listening.add(task)
        task.add_done_callback(self.listening.discard)

    async def _record(self, response: Response) -> None:
        request = response.request
        sent = _lines(await request.headers_array()) + (request.post_data_buffer or b"")
        received = _lines(await response.headers_array())
        if not 300 <= response.status < 400 and response.status != 204:
            received += await _body(response)
        self.traffic.append(Traffic(request.url, f"{request.method} {request.url}\n".encode() + sent, received))


def _lines(headers: Any) -> bytes:
    return "".join(f"{each['name']}: {each['value']}\n" for each in headers).encode()


async def _body(response: Response) -> bytes:
    try:
        return await response.body()
    except Error:
        # The browser forgets the body of a page that it has already left.
        return b""
