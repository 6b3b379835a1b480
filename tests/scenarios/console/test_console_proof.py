"""Proofs on the console's pages, as far as the server writes them."""

import re
from html import unescape
from random import Random
from unittest.mock import Mock

import pytest

from api.audit.queries import counts as counting
from api.console.pages.signed_log import head_of
from eventstore.transparency import published
from security.clock import SECOND, format_rfc3339
from security.pasted_keys import hex_of
from security.tokens import digest
from tests.scenarios.assertions import made_key, register_signer
from tests.scenarios.audit.test_proven_export import check
from tests.scenarios.console.way_in import at_console
from tests.scenarios.log.test_transparency import followed, pinned
from tests.scenarios.world import World
from verifier.note import Cosigner

READER = ("audit:read", "audit:personal")


async def test_event_has_its_receipt_or_says_why_not(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    await followed(world)
    for spelled in ("01", "1_0", "+1"):
        assert (await browser.open(f"/console/events/{spelled}")).status == 404
        assert (await browser.open(f"/console/events/{spelled}/receipt")).status == 404
    page = await browser.open("/console/events/1")
    receipt = page.text.partition("<code data-receipt>")[2].partition("</code>")[0]
    assert receipt.startswith("c2sp.org/tlog-proof@v1\nextra ")
    proofs = [each.event for each in await world.events("audit.read") if each.event.question == "proof"]
    assert [each.parameters for each in proofs] == [{"position": "1"}]
    await world.services.transparency.stop()
    await world.define_scopes("made:unsigned")
    page = await browser.open(f"/console/events/{await world.head()}")
    assert "Not yet signed" in page.text
    assert "data-receipt" not in page.text


async def test_token_is_judged_at_any_moment_as_the_api_does(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    shop = await world.register_client("Photo Prints", grant_types=("client_credentials",), scope=("orders",))
    world.clock.advance(5)
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=shop.auth)
    token = answer.json()["access_token"]
    issued = world.clock.now()
    world.clock.advance(60)
    await world.client.post("/oauth/revoke", data={"token": token}, auth=shop.auth)
    revoked = (await world.events("grant.token_revoked"))[-1]
    world.clock.advance(1)

    sha256 = digest(token).hex()
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    assert f'href="/console/tokens/{sha256}"' in (await browser.open(f"/console/events/{revoked.position}")).text
    page = await browser.open(f"/console/tokens/{sha256}")
    assert f"<h1>Access token {sha256[:8]}" in page.text
    assert "✕ NO: revoked" in page.text
    assert len(re.findall("told in the log at", page.text)) == 2
    random = Random(23)  # noqa: S311 - moments are no secrets
    moments = [random.randint(issued - SECOND, world.clock.now()) for _ in range(46)]
    for moment in (*moments, issued, issued - 1, revoked.time, revoked.time - 1):
        at = format_rfc3339(moment)
        asked = await world.client.post("/audit/token-state", json={"sha256": sha256, "at": at}, headers=bearer)
        told = asked.json()
        page = await browser.open(f"/console/tokens/{sha256}?at={at}")
        verdict = page.text.partition("verdict ")[2].partition("</p>")[0]
        assert ("◆ Valid" in verdict, f"NO: {told['reason'].replace('_', ' ')}" in verdict) == (
            told["active"],
            not told["active"],
        )
        assert re.findall(r'aria-label="event (\d+)"', verdict) == [str(each) for each in told["decided_by"]]
    at_the_instant = await browser.open(f"/console/tokens/{sha256}?at={format_rfc3339(revoked.time)}")
    before = re.search(r'<a href="([^"]+)">A microsecond before', at_the_instant.text)
    assert before is not None
    assert "◆ Valid" in (await browser.open(unescape(before[1]))).text
    secret = await browser.open(f"/console/tokens/{digest(shop.secret or '').hex()}")
    assert ("secret active from" in secret.text, "token active from" in secret.text) == (True, False)
    key = made_key("ES256", "one")
    await register_signer(world, key)
    shown = (await browser.open(f"/console/tokens/{hex_of(key.thumbprint())}")).text
    assert re.findall(r"<dt>(thumbprint|SHA-256|known since|issued)</dt>", shown) == ["thumbprint", "known since"]


async def test_what_is_no_token_or_no_moment_is_told(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    for path, status in ((f"{'0' * 64}", 404), ("nonsense", 400), (f"{'0' * 64}?at=yesterday", 400)):
        answer = await browser.client.get(f"/console/tokens/{path}")
        assert answer.status_code == status, path
        assert answer.headers["content-type"].startswith("text/html")


async def test_the_logs_page_tells_who_signed_and_what_waits(world: World) -> None:
    browser, _ = await at_console(world, *READER, "keys:read")
    await followed(world)
    newest = await world.services.ledger.read(published.newest)
    assert newest is not None
    witness = Cosigner("witness.example", bytes(32))
    note = newest.note + witness.cosign(newest.note.split("\n\n")[0] + "\n", 1_764_000_000)
    head = head_of(note)
    assert head is not None
    assert [each.at for each in head.signatures] == [None, "2025-11-24T16:00:00.000000Z"]

    with pytest.MonkeyPatch.context() as patch:
        # Its hours are counted by rows: no moment is looked for in the log.
        patch.setattr(counting, "stretches_of", Mock(side_effect=AssertionError))
        page = await browser.open("/console/log")
    key = await pinned(world)
    assert f">{key}<" in page.text
    assert "log_key.introduced" not in page.text
    assert "events in 24 hours" in page.text
    assert "has waited" not in page.text
    await world.services.transparency.stop()
    await world.define_scopes("made:waiting")
    world.clock.advance(6)
    assert re.search(r"An event has waited [6-9] s", (await browser.open("/console/log")).text)
    proven = await browser.client.get("/console/log/export?from=3")
    assert check(proven.content, key).outcome == "verified"
    packed = await browser.client.get("/console/audit/export?type=client.*&format=package")
    assert packed.content.startswith(b"PK")
