"""Proofs on the console's pages, as far as the server writes them."""

from eventstore.transparency.published import Diverged
from tests.scenarios.consoles import at_console
from tests.scenarios.test_transparency import followed, resting
from tests.scenarios.world import World

READER = ("audit:read", "audit:personal")


async def test_event_has_its_receipt_or_says_why_not(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    await followed(world)
    page = await browser.open("/console/events/1")
    receipt = page.text.partition("<code data-receipt>")[2].partition("</code>")[0]
    assert receipt.startswith("c2sp.org/tlog-proof@v1\nextra ")
    proofs = [each.event for each in await world.events("audit.read") if each.event.question == "proof"]
    assert [each.parameters for each in proofs] == [{"position": "1"}]
    resting(world)
    await world.define_scopes("made:unsigned")
    page = await browser.open(f"/console/events/{await world.head()}")
    assert "Not yet signed" in page.text
    assert "data-receipt" not in page.text


async def test_a_log_that_differs_is_told_on_every_page(world: World) -> None:
    browser, page = await at_console(world, *READER)
    assert "diverged" not in page.text
    found = Diverged.at(3)
    await world.services.transparency.diverge(found)
    for path in ("/console/", "/console/audit", "/console/events/1"):
        page = await browser.open(path)
        assert f"✕ The log is not the one that was signed: {found}" in page.text
