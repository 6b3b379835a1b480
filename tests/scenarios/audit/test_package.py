"""What an auditor takes away in one file, checked by who has nothing else but the log's key."""

import io
import json
from zipfile import ZipFile

import pytest

from api.audit.offline_verifier import offline_verifier
from api.audit.queries import auditor, package
from tests.scenarios.audit.test_proven_export import auditors, check
from tests.scenarios.log.test_transparency import change, diverged, followed, pinned, resting
from tests.scenarios.world import World
from verifier.proofs import check_receipt

pytestmark = pytest.mark.anyio


async def taken(world: World, bearer: dict[str, str], **query: str) -> ZipFile:
    answer = await world.client.get("/audit/package", params=query, headers=bearer)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return ZipFile(io.BytesIO(answer.content))


async def test_all_that_is_in_it_is_proved_by_its_own_checkpoint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "RECEIPTS_AT_MOST", 3)
    monkeypatch.setattr(package, "AT_ONCE", 2)
    await world.register_person("paul")
    shop = await world.register_client("Photo Prints")
    bearer = await auditors(world, "audit:personal")
    await followed(world)
    found = await taken(world, bearer, type="client.*", ip="192.0.2.1")
    assert found.testzip() is None
    assert json.loads(found.read("filters.json"))["filters"]["ip"] == "(an address)"

    found = await taken(world, bearer, client_id=shop.client_id)
    key, names = await pinned(world), found.namelist()
    assert names[:4] == ["README.txt", "filters.json", "checkpoint", "verify.html"]
    assert found.read("verify.html") == offline_verifier()
    verdict = check(found.read("export.proof.jsonl"), key)
    assert verdict.outcome == "verified"
    receipts = [name for name in names if name.startswith("receipts/")]
    assert 0 < len(receipts) == min(3, verdict.checked)
    checkpoint = found.read("checkpoint").decode()
    for name in receipts:
        text = found.read(name).decode()
        assert check_receipt(text, [key]).position == int(name.removeprefix("receipts/").removesuffix(".txt"))
        assert text.endswith(checkpoint)
    told = json.loads(found.read("filters.json"))
    assert (told["size"], told["log"], told["filters"]["client_id"]) == (verdict.size, key.name, shop.client_id)
    readme = found.read("README.txt").decode()
    assert "grantlog-verify.pyz verify export.proof.jsonl --key KEY" in readme
    assert (readme.count(". ") + 1, f"up to the {verdict.size} events" in readme, str(key) in readme) == (
        2,
        True,
        False,
    )

    await auditor.closed(world.services.ledger)
    opened, closed = (await world.events("audit.export_*"))[-2:]
    assert opened.event.parameters == {"client_id": shop.client_id, "order": "asc", "format": "package", "proof": "1"}
    assert (opened.event.unsealed, closed.event.completion) == (False, "complete")
    assert closed.event.count == verdict.checked
    everything = await taken(world, bearer, type="account.*")
    assert not [name for name in everything.namelist() if b"paul" in everything.read(name)]


async def test_a_changed_record_is_in_it_without_a_receipt(world: World) -> None:
    bearer = await auditors(world)
    await followed(world)
    resting(world)
    change(world, '"version":', '"version": ')
    found = await taken(world, bearer)
    assert "receipts/1.txt" in found.namelist()
    assert "receipts/2.txt" not in found.namelist()
    verdict = check(found.read("export.proof.jsonl"), await pinned(world))
    assert verdict.outcome == "tampered"
    await diverged(world, 2)


async def test_what_has_no_proof_is_not_packed(world: World) -> None:
    bearer = await auditors(world)
    await followed(world)
    head = await world.head()
    answer = await world.client.get("/audit/package?order=desc", headers=bearer)
    assert answer.json()["errors"][0]["field"] == "order"
    assert (await world.client.head("/audit/package", headers=bearer)).status_code == 200
    assert await world.head() == head


async def test_the_page_that_checks_it_is_handed_out_to_anybody(world: World) -> None:
    answer = await world.client.get("/verify.html")
    assert answer.content == offline_verifier()
    assert answer.headers["content-disposition"] == 'attachment; filename="verify.html"'
    assert "default-src 'none'" in answer.headers["content-security-policy"]
