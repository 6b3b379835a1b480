"""Everybody can read every page of the console, on a desk and on a phone. They are alike on both databases."""

from domain.rules.registration import CLIENT_NAME_MAXIMUM
from tests.browser.accessibility import DESK, PHONE, barriers
from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo
from tests.browser.test_console import enter

PLACES = "[...document.querySelectorAll('.places a')].map(each => each.getAttribute('href'))"


def further(demo: Demo) -> list[str]:
    """A page of each kind that the navigation does not lead to, of somebody and something that the demo has."""
    client = demo.made["third_party"]["client_id"]
    (paul,) = demo.call("GET", "/admin/people?username=paul&realm=platform")["items"]
    return [
        *("/console/events/1", f"/console/tokens/{'0' * 64}"),
        *("/console/clients?sort=risk", f"/console/clients/{client}", f"/console/clients/{client}?at=1&from=1"),
        *(f"/console/people/{paul['id']}", f"/console/people/{paul['id']}?show=1"),
    ]


async def test_every_page_can_be_read_by_everybody(visit: Visit, demo: Demo) -> None:
    """Also where something has the longest name that there is, of one word, or is called from right to left."""
    for name in ("W" * CLIENT_NAME_MAXIMUM, "متجر الصور"):
        demo.call("POST", "/admin/clients", {"client_name": name, "grant_types": ["client_credentials"]})
    told = {"kind": "slack", "url": "https://hooks.example.com/", "types": ["security", "incident.*"]}
    demo.call("PUT", "/admin/notifications/destinations/the-security-team", told)
    visitor = await visit()
    await enter(visitor)
    page, faults = visitor.page, {}
    visitor.refused = {404}
    addresses = [*(await page.evaluate(PLACES)), *further(demo)]
    assert len(addresses) > 15
    for address in addresses:
        await page.goto(demo.issuer + address)
        if found := await barriers(page, DESK, PHONE):
            faults[address] = found
        if address == "/console/roles":
            # Names of roles stand in a line, and what does not fit is scrolled to.
            cell = await page.locator(".matrix td").first.bounding_box()
            assert cell is not None
            assert cell["height"] < 80
    assert faults == {}
    await page.click(".me > summary")
    menu = await page.locator(".me > .menu").bounding_box()
    assert menu is not None
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= PHONE["width"]


async def test_drawings_are_there_in_colours_of_somebodys_own(visit: Visit, demo: Demo) -> None:
    visitor = await visit(forced_colors="active")
    await enter(visitor, f"/console/clients/{demo.made['third_party']['client_id']}")
    drawn = "[...document.querySelectorAll('.bars rect')].map(each => getComputedStyle(each).fill)"
    fills = set(await visitor.page.evaluate(drawn))
    assert fills
    assert await visitor.page.evaluate("getComputedStyle(document.body).backgroundColor") not in fills
