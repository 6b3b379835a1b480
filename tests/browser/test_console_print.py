"""What the console prints, read out of the PDF: what was asked for, the checkpoint, receipts, and who printed it."""

import hashlib
import io
import re
from unicodedata import normalize

from pypdf import PdfReader

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo
from tests.browser.test_console_leaks import at_desk, leaking
from tests.browser.visitor import Visitor


async def printed(visitor: Visitor, path: str = "") -> list[str]:
    """The pages of what is printed, each with one blank between its words and without ligatures."""
    page = visitor.page
    if path:
        await page.goto(visitor.demo.issuer + path)
    read = PdfReader(io.BytesIO(await page.pdf(format="A4")))
    return [re.sub(r"\s+", " ", normalize("NFKC", each.extract_text())) for each in read.pages]


async def complete(visitor: Visitor, found: list[str]) -> str:
    """All of it; each page says which of how many it is, and the end who printed it, when, where, and by what
    checkpoint."""
    for number, text in enumerate(found, start=1):
        assert f"page {number} of {len(found)}" in text
    whole = " ".join(found)
    assert re.search(r"Printed by \S.* at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", whole)
    note = await visitor.page.text_content(".printed pre")
    assert note is not None
    origin, size, root = note.split("\n")[:3]
    assert f"{int(size):,} events signed" in whole
    squeezed = whole.replace(" ", "")
    assert origin + size + root in squeezed
    assert visitor.page.url.replace("http://", "") in squeezed
    return whole


async def test_list_is_printed_with_what_it_was_asked_for(demo: Demo, visit: Visit) -> None:
    visitor = await at_desk(visit, demo)
    whole = await complete(visitor, await printed(visitor, "/console/audit?type=client.*&range=30d"))
    assert "Filters type client.* Time (UTC)" in whole
    assert "both included Order newest first Left out reads of the log Personal values masked" in whole
    assert "Version 1 of the client's secret was made." in whole
    for typed, path in (
        ("Name holds paper", "/console/clients?q=paper"),
        ("State contained", "/console/incidents?state=contained"),
    ):
        assert typed in await complete(visitor, await printed(visitor, path))


async def test_event_is_a_certificate_of_one_page(demo: Demo, visit: Visit) -> None:
    visitor = await at_desk(visit, demo)
    await visitor.page.goto(f"{demo.issuer}/console/events/1")
    await visitor.page.wait_for_selector("[data-verify][data-state]")
    (certificate,) = await printed(visitor)
    await complete(visitor, [certificate])
    assert "Certificate: event 1 of the log, and the receipt that proves it" in certificate
    receipt = await visitor.page.text_content("[data-receipt]")
    assert receipt is not None
    assert "".join(receipt.split()) in certificate.replace(" ", "")


async def test_token_and_incident_are_printed_as_reports(demo: Demo, visit: Visit) -> None:
    _, secret, token = leaking(demo)
    visitor = await at_desk(visit, demo)
    page = visitor.page
    digest = hashlib.sha256(token.encode()).hexdigest()
    whole = await complete(visitor, await printed(visitor, f"/console/tokens/{digest}"))
    assert "Statement on a token, made from the log at position" in whole
    assert f"SHA-256 {digest}" in whole
    assert "Valid at 20" in whole
    await page.goto(f"{demo.issuer}/console/leaks")
    await page.fill("#paste", secret)
    await page.click("form.desk button")
    await page.wait_for_selector("#would")
    await page.click("button[value=contain]")
    await page.wait_for_selector("ol.clock")
    # What has just happened is signed within a second.
    await page.click("text=With receipts, for a report")
    while await page.locator(".receipt").count() < await page.locator("#receipts ~ h3").count():
        await page.reload()
    whole = await complete(visitor, await printed(visitor))
    assert "Incident report, made from the log, with the receipts of its own events" in whole
    assert whole.count("c2sp.org/tlog-proof@v1") == await page.locator(".receipt").count() >= 3
