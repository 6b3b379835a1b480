"""The search page in Chromium, on both databases: one visit does with mouse and keyboard what it is for."""

import asyncio
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.accessibility import DESK, PHONE, barriers
from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo
from tests.browser.test_console import enter
from tests.browser.visitor import PATIENCE

pytestmark = pytest.mark.parametrize("demo", ["sqlite", "postgresql"], indirect=True)

FOCUSED = "document.activeElement.getAttribute('href')"
ROWS = "[...document.querySelectorAll('.row .at')].map(each => each.getAttribute('href'))"
ASKED = ".foot .asked > li"
HEAD = "document.activeElement.closest('#beside') && document.activeElement.textContent"


def asked_by(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


async def test_event_stands_beside_the_list_and_the_list_is_kept(visit: Visit, demo: Demo) -> None:
    visitor = await visit(viewport=DESK)
    await enter(visitor, "/console/audit?range=all&order=asc")
    page = visitor.page
    # By keyboard alone: to the third row, beside the list, on to the next, and back to where one was.
    questions = await page.locator(ASKED).count()
    for key in "jjjo":
        await page.keyboard.press(key)
    await page.wait_for_selector("#beside article")
    rows = await page.evaluate(ROWS)
    assert await page.evaluate(HEAD) == f"Event {rows[2].rpartition('/')[2]}"
    assert await page.locator(ASKED).count() == questions + 1
    assert await page.locator("#questions").inner_text() == f"{questions + 1} questions"
    (read,) = await page.locator(f"{ASKED}:last-child a").all_text_contents()
    told = demo.call("GET", f"/audit/events/{read}")
    assert (told["type"], told["actor"]["kind"]) == ("audit.read", "person")
    assert await barriers(page, DESK, PHONE) == []
    await page.set_viewport_size(DESK)
    await page.keyboard.press("j")
    assert await page.evaluate(FOCUSED) == rows[3]
    assert await page.locator(ASKED).count() == questions + 1, "nothing is asked for that nobody opens"
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"#beside a[href='{rows[3]}']")
    await page.keyboard.press("Escape")
    assert await page.evaluate(FOCUSED) == rows[3]
    assert not await page.locator("#beside").is_visible()
    # Whoever comes back from an event has the same rows, the same place, and the focus where it was.
    for _ in range(30):
        await page.keyboard.press("j")
    left, place = await page.evaluate(FOCUSED), await page.evaluate("scrollY")
    assert place > 0
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{left}")
    demo.person()
    await page.go_back()
    await page.wait_for_selector(f".row a[href='{left}']:focus")
    async with asyncio.timeout(PATIENCE / 1000):
        while abs(await page.evaluate("scrollY") - place) > 50:
            await asyncio.sleep(0.05)
    assert await page.evaluate(ROWS) == rows
    # On a wide screen the list and the event stand side by side.
    await page.set_viewport_size({"width": 1920, "height": 1080})
    await page.click(f"a.at[href='{rows[40]}']")
    await page.wait_for_selector(f"#beside a[href='{rows[40]}']")
    side, beside = await page.locator(".rows").bounding_box(), await page.locator("#beside").bounding_box()
    assert side is not None
    assert beside is not None
    assert side["x"] + side["width"] <= beside["x"]
    assert await barriers(page) == []


async def test_dragging_over_the_histogram_narrows_the_time(visit: Visit, demo: Demo) -> None:
    visitor = await visit(viewport=DESK, has_touch=True)
    await enter(visitor, "/console/audit?range=7d")
    page = visitor.page
    box = await page.locator("#histogram").bounding_box()
    bars = await page.locator("#histogram a").count()
    axis = await page.locator(".axis").bounding_box()
    assert box is not None
    assert axis is not None
    assert axis["width"] == box["width"]
    wide, middle = box["width"] / bars, box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + 2.5 * wide, middle)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 4.5 * wide, middle, steps=3)
    said = await page.locator("#stretch").inner_text()
    await page.mouse.up()
    await page.wait_for_url("**since=**")
    given = asked_by(page.url)
    (since,), (until,) = given["since"], given["until"]
    assert said == f"From {since[:19]} up to {until[:19]}"
    bar = 7 * 86_400 / bars
    stretch = (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
    assert abs(stretch - 3 * bar) < bar / 4
    assert "range" not in given
    # The fields say the same, and both ends belong to it, to the second.
    assert since[:19].startswith(await page.input_value("#since"))
    assert await page.input_value("#until") < until[:19]
    await page.keyboard.press("[")
    await page.wait_for_url(lambda url: asked_by(url).get("until") == [since])
    await page.keyboard.press("]")
    await page.wait_for_url(lambda url: asked_by(url).get("since") == [since])
    assert asked_by(page.url)["until"] == [until]
    (registered,) = demo.call("GET", "/audit/events?type=client.registered&limit=1")["items"]
    day = registered["time"][:10]
    await page.fill("#line", f"type:client.registered since:{day} until:{day}")
    await page.press("#line", "Enter")
    await page.wait_for_url("**type=client.registered**")
    assert await page.locator(".row").count() > 0


async def test_line_is_completed_by_keyboard_and_searches_are_kept(visit: Visit, demo: Demo) -> None:
    visitor = await visit(viewport=DESK)
    await enter(visitor, "/console/audit?range=all")
    page = visitor.page
    name = "Paperboat"
    questions = await page.locator(ASKED).count()
    # Words of the line, types by their sentence, clients by name: all of it without the mouse.
    await page.focus("#line")
    await page.keyboard.type("typ")
    await page.keyboard.press("ArrowDown")
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).textContent"
    assert (await page.evaluate(active)).startswith("type:")
    assert await barriers(page) == []
    await page.keyboard.press("Enter")
    await page.keyboard.type("client.regi")
    await page.keyboard.press("ArrowDown")
    assert "A client came into being." in await page.evaluate(active)
    await page.keyboard.press("Enter")
    assert await page.input_value("#line") == "type:client.registered "
    assert await page.locator(ASKED).count() == questions, "typing asks nothing"
    await page.keyboard.type(f"client:{name[:4]}")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"{ASKED}:nth-child({questions + 1})", state="attached")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    assert name in await page.input_value("#line")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**client_id=**")
    assert await page.locator(".row").count() == 1
    assert name not in page.url
    # It is kept in this browser under a name, found again where nothing is found, renamed and deleted.
    address = page.url
    await page.click("#saved > summary")
    await page.fill("#search-name", "Boats")
    await page.keyboard.press("Enter")
    await page.goto(f"{demo.issuer}/console/audit?type=no.such&show=1")
    await page.click(".own a:text('Boats')")
    await page.wait_for_url(address)
    await page.click("#saved > summary")
    await page.click("button[aria-label='Rename Boats']")
    await page.fill("#search-name", "Ships")
    await page.keyboard.press("Enter")
    assert await page.locator(".own a").all_text_contents() == ["Ships"]
    assert await barriers(page, DESK, PHONE) == []
    await page.reload()
    await page.click("#saved > summary")
    await page.click("button[aria-label='Delete Ships']")
    assert await page.locator(".own a").count() == 0
    assert await page.evaluate("localStorage.getItem('grantlog-console-searches')") == "[]"


async def test_names_pages_totals_and_reads_are_what_the_log_says(visit: Visit, demo: Demo) -> None:
    visitor = await visit(viewport=DESK)
    paul = demo.call("GET", "/admin/people?username=paul&realm=platform")["items"][0]["id"]
    events = len(demo.call("GET", "/audit/events?limit=100&not_type=audit.*")["items"])
    # A second page of the list takes more than a hundred.
    for _ in range(101 - events):
        demo.person()
    await enter(visitor, "/console/audit?range=all")
    page = visitor.page
    # The second page is of the log as it was, whatever happens meanwhile.
    total = int((await page.locator("strong.figures").inner_text()).replace(",", ""))
    first = await page.evaluate(ROWS)
    assert (len(first), total > 100) == (100, True)
    demo.person()
    await page.click("a[rel=next]")
    await page.wait_for_selector("a[rel=first]")
    second = await page.evaluate(ROWS)
    assert int(second[0].rpartition("/")[2]) < int(first[-1].rpartition("/")[2])
    assert set(first).isdisjoint(second)
    # Reads of the log are hidden by a chip, and can be counted.
    await page.goto(f"{demo.issuer}/console/audit?range=all&not_type=account.*")
    hidden = int((await page.locator("strong.figures").inner_text()).replace(",", ""))
    export = await page.get_attribute("a[data-export]", "href")
    file = await page.context.request.get(f"{demo.issuer}{export}")
    # Events that are no reads may come meanwhile: the file has what was there between two looks.
    await page.reload()
    later = int((await page.locator("strong.figures").inner_text()).replace(",", ""))
    assert hidden <= len((await file.text()).splitlines()) - 1 <= later
    await page.click(".chip.on")
    await page.wait_for_url("**reads=1**")
    assert int((await page.locator("strong.figures").inner_text()).replace(",", "")) > hidden
    assert await page.locator(".row:has-text('Somebody searched the log')").count() > 0
    # A name is typed, and the address has an id.
    await page.fill("#line", "person:paul")
    await page.press("#line", "Enter")
    await page.wait_for_url(f"**account_id={paul}**")
    assert "=paul" not in page.url
    assert await page.locator(".row").count() > 0
