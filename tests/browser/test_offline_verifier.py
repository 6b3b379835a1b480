"""`verify.html`, opened from a file in a browser without a network, beside the verifier in Python."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.async_api import Browser, FilePayload, Page

from api.audit.offline_verifier import MODULES, joined, offline_verifier
from eventstore.transparency.merkle import ProvenExport, inclusion, receipt
from eventstore.transparency.note import Checkpoint
from tests.eventstore.transparency.memory_tree import mth, tree_of
from tests.verifier.published_log import KEY, ORIGIN, SIGNER, events
from verifier.note import Cosigner, Key, Malformed
from verifier.proofs import check_receipt, verify_export

pytestmark = pytest.mark.anyio

SIZE, POSITION = 40, 23
LEAVES = [row["state"].encode() for row in events(SIZE)]
TREE = tree_of(LEAVES)
WITNESS = Cosigner("witness.example", bytes(32))
SIGNED = Checkpoint(ORIGIN, SIZE, mth(LEAVES)).signed([SIGNER])
NOTE = SIGNED + WITNESS.cosign(SIGNED.split("\n\n")[0] + "\n", 1_764_000_000)
RECEIPT = receipt(POSITION - 1, inclusion(TREE.hashes(), POSITION - 1), NOTE, LEAVES[POSITION - 1])
MODULE = "data:text/javascript;base64," + base64.b64encode(joined(*MODULES).encode()).decode()


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def flipped(text: str, line: str, at: int = 9, bit: int = 1) -> str:
    """The text with one bit of the line that begins so turned over, `at` characters behind that beginning."""
    place = text.index(line) + len(line) + at
    return text[:place] + chr(ord(text[place]) ^ bit) + text[place + 1 :]


def exported(positions: list[int]) -> bytes:
    writer = ProvenExport(TREE.hashes(), NOTE)
    lines = [line for position in positions for line in writer.record(position, LEAVES[position - 1])]
    return b"".join([*lines, *writer.end()])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "verify.html"
    path.write_bytes(offline_verifier())
    return path


@pytest.fixture
async def page(browser: Browser, saved: Path) -> AsyncIterator[Page]:
    """The page as somebody has it who took it away; it may complain of nothing and ask nobody."""
    context = await browser.new_context(offline=True, viewport={"width": 320, "height": 640})
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    await opened.goto(saved.as_uri())
    yield opened
    await context.close()
    assert complaints == []


async def stamps(
    page: Page, *files: FilePayload, pasted: str = "", key: str = str(KEY), event: bytes = b""
) -> list[Any]:
    """What the page says of the files: for each the link that does not hold, and its words."""
    await page.set_input_files("#files", list(files))
    await page.set_input_files("#event", [file("event", event)] if event else [])
    await page.fill("#pasted", pasted)
    await page.fill("#keys", key)
    await page.fill("#witnesses", str(WITNESS.key))
    await page.click("button")
    await page.wait_for_selector("#progress:empty", state="attached")
    found = await page.evaluate(
        "[...document.querySelectorAll('.stamp')].map((e) => [e.dataset.part, e.className, e.innerText])"
    )
    return list(found)


async def test_receipts_and_exports_are_verified_offline(page: Page) -> None:
    export = exported([5, 6, 9])
    found = await stamps(page, file("receipt", RECEIPT.encode()), file("export", export), pasted=RECEIPT)
    in_log = f"✓ Verified: the event stands in the log at position {POSITION}."
    left_out = "2 events between them were left out"
    records = f"✓ Verified: all 3 records are in the log, positions 5 to 9; {left_out}."
    assert [(kind, said) for _, kind, said in found] == [("stamp green", said) for said in (in_log, records, in_log)]
    shown = await page.inner_text("#results")
    assert "witness.example at 2025-11-24T16:00:00.000Z" in shown
    assert f'"stream": "grant:{(POSITION - 1) % 3}"' in shown
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for spoilt in (
        export.replace(b"note", b"nota", 1),
        export.replace(b'"from":7', b'"from":8'),
        export[: len(export) // 2],
    ):
        ((part, kind, said),) = await stamps(page, file("export", spoilt))
        verdict = verify_export(spoilt.splitlines(keepends=True), [KEY], witnesses=[WITNESS.key], quorum=1)
        assert verdict.reason in said
        assert (part, kind) == (("event", "stamp red") if verdict.outcome == "tampered" else ("receipt", "stamp amber"))


async def test_line_ends_that_were_changed_on_the_way_matter_not(page: Page) -> None:
    files = [file(name, b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
             for name, content in (("receipt", RECEIPT.encode()), ("export", exported([5, 6, 9])))]  # fmt: skip
    assert [kind for _, kind, _ in await stamps(page, *files)] == ["stamp green"] * 2


async def test_one_flipped_bit_is_told_by_where_it_is(page: Page) -> None:
    event, path, signature = (flipped(RECEIPT, line) for line in ("extra ", "index 22\n", f"\u2014 {ORIGIN} "))
    found = await stamps(page, *(file("receipt", spoilt.encode()) for spoilt in (event, path, signature)))
    found += await stamps(page, pasted=RECEIPT, key=flipped(str(KEY), f"{ORIGIN}+{KEY.id.hex()}+"))
    found += await stamps(page, pasted=RECEIPT, event=LEAVES[POSITION])
    found += await stamps(page, pasted=RECEIPT, key=str(Cosigner("x", b"1" * 32).key))
    parts = [part for part, _, _ in found]
    assert parts == ["event", "path", "signature", "key", "event", "key"]
    assert {kind for _, kind, _ in found} == {"stamp red"}
    assert len({said.partition(":")[0] for _, _, said in found[:4]}) == 4
    assert await stamps(page, pasted=RECEIPT, event=LEAVES[POSITION - 1] + b"\n") == await stamps(page, pasted=RECEIPT)


def judged(text: str, keys: str) -> list[Any]:
    try:
        pinned = [Key.parse(key) for key in keys.split()]
    except Malformed as error:
        return ["malformed", str(error)]
    verdict = check_receipt(text, pinned, witnesses=[WITNESS.key], quorum=1)
    return [verdict.outcome, verdict.reason, verdict.position, list(verdict.cosigned_by)]


async def test_both_verifiers_say_the_same_of_spoilt_receipts(page: Page, saved: Path) -> None:
    random, cases = Random(22), [(RECEIPT, str(KEY))]  # noqa: S311 - what is spoilt is no secret
    while len(cases) < 120:
        texts = [bytearray(RECEIPT.encode()), bytearray(str(KEY).encode())]
        spoilt = texts[len(cases) % 8 == 0]
        spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(7)
        cases.append((texts[0].decode(errors="replace"), texts[1].decode(errors="replace")))
    judge = """async ([module, cases, witness]) => {
        const { Malformed, checkReceipt, parseKeys } = await import(module);
        const witnesses = await parseKeys(witness), found = [];
        for (const [text, keys] of cases) {
            try {
                const pinned = await parseKeys(keys);
                const verdict = await checkReceipt(text, pinned, { witnesses, quorum: 1 });
                const { outcome, reason, position, head } = verdict;
                const names = head ? head.cosigned.map(({ key }) => key.name) : [];
                found.push([outcome, reason, position === null ? null : Number(position), names]);
            } catch (error) {
                found.push(error instanceof Malformed ? ["malformed", error.message] : [String(error)]);
            }
        }
        return JSON.stringify(found);
    }"""
    # The page itself imports nothing, by its own policy.
    (saved.parent / "blank.html").touch()
    await page.goto((saved.parent / "blank.html").as_uri())
    found = json.loads(await page.evaluate(judge, [MODULE, cases, str(WITNESS.key)]))
    expected = [judged(text, keys) for text, keys in cases]
    assert found == expected
    assert len({each[1] for each in expected}) > 20, "they are spoilt in many ways"
