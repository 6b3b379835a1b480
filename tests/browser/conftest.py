"""Chromium over a demo that runs as a process; every visit ends with the question whether a page complained."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.demonstration import Demo, demonstration
from tests.browser.visitor import PATIENCE, Visitor
from tests.databases import Databases

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No name leads anywhere, so that a page which asks another host fails here as it would without a network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
Visit = Callable[..., Awaitable[Visitor]]


@pytest.fixture(scope="module")
def demo(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """One demo for the tests of a module: on a file, or on the database that the module asks for."""
    if getattr(request, "param", "sqlite") == "sqlite":
        with demonstration(tmp_path_factory.mktemp("demo")) as made:
            yield made
        return
    url = databases.create("postgresql")
    with demonstration(tmp_path_factory.mktemp("demo"), url) as made:
        yield made
    databases.drop(url)


@pytest.fixture(scope="package")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One for all modules that a process has of this room: to start one takes as long as a short visit."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        await opened.close()


@pytest.fixture
async def visit(browser: Browser, demo: Demo) -> AsyncIterator[Visit]:
    """Opens browsers that know nothing of each other; further options are those of Playwright's `new_context`."""
    visitors: list[Visitor] = []

    async def arrive(*, recorded: bool = False, **options: object) -> Visitor:
        context = await browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        visitors.append(await Visitor.arrive(demo, context, recorded))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        await visitor.leave()
