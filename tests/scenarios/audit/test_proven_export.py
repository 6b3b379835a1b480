"""Exports with a proof, as somebody checks them who has the file and the log's key and nothing else."""

import io
import json

import pytest

from api.audit.queries import auditor
from tests.cases import cases
from tests.scenarios.log.test_transparency import change, diverged, followed, pinned, resting
from tests.scenarios.world import World
from verifier.note import Key
from verifier.proofs import verify_export
from verifier.verdict import Verdict

pytestmark = pytest.mark.anyio


async def auditors(world: World, *scopes: str) -> dict[str, str]:
    return {"authorization": f"Bearer {await world.token('audit:read', *scopes)}"}


async def exported(world: World, bearer: dict[str, str], **query: str) -> bytes:
    answer = await world.client.get("/audit/export", params={"proof": "1"} | query, headers=bearer)
    assert answer.status_code == 200, answer.text
    return answer.content


def check(text: bytes, key: Key) -> Verdict:
    return verify_export(io.BytesIO(text), [key])


async def test_the_whole_log_is_complete_and_every_record_is_in_it(world: World) -> None:
    await world.define_scopes(*(f"made:{number}" for number in range(300)))
    bearer = await auditors(world, "audit:personal")
    size = await followed(world)
    text = await exported(world, bearer)
    verdict = check(text, await pinned(world))
    assert (verdict.outcome, verdict.size, verdict.checked) == ("verified", size, size)
    assert verdict.reason.endswith("without a gap")


async def test_what_filters_leave_is_proved_with_the_gaps_between(world: World) -> None:
    bearer = await auditors(world)
    await world.register_client("Between")
    await followed(world)
    text = await exported(world, bearer, type="client.*")
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["type"] for line in lines if "type" in line} >= {"client.registered", "client.secret_issued"}
    assert [line for line in lines if "gap" in line]
    assert list(lines[-1]) == ["checkpoint"]
    key = await pinned(world)
    verdict = check(text, key)
    assert verdict.outcome == "verified"
    assert "left out" in verdict.reason
    without = b"".join(line for line in text.splitlines(keepends=True) if b"client.secret_issued" not in line)
    assert check(without, key).outcome == "tampered"
    assert check(text.replace(b'"Between"', b'"Betweeen"'), key).outcome == "tampered"


async def test_records_are_stored_forms_and_nothing_is_unsealed(world: World) -> None:
    await world.register_person("paul")
    bearer = await auditors(world, "audit:personal")
    await followed(world)
    assert b"paul" not in await exported(world, bearer, type="account.*")
    (opened,) = await world.events("audit.export_opened")
    assert (opened.event.unsealed, opened.event.parameters["proof"]) == (False, "1")
    await auditor.closed(world.services.ledger)
    (closed,) = await world.events("audit.export_closed")
    assert (closed.event.count, closed.event.completion) == (1, "complete")


async def test_a_proof_of_nothing_holds_too(world: World) -> None:
    bearer = await auditors(world)
    await followed(world)
    verdict = check(await exported(world, bearer, type="session.ended"), await pinned(world))
    assert (verdict.outcome, verdict.checked) == ("verified", 0)


@cases("query", [{"format": "csv"}, {"order": "desc"}, {"proof": "2"}])
async def test_where_there_is_no_proof_none_is_promised(world: World, query: dict[str, str]) -> None:
    bearer = await auditors(world)
    await followed(world)
    head = await world.head()
    answer = await world.client.get("/audit/export", params={"proof": "1"} | query, headers=bearer)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "proof"
    assert await world.head() == head


async def test_changed_record_is_exported_as_is_and_raises_the_alarm(world: World) -> None:
    bearer = await auditors(world)
    await followed(world)
    resting(world)
    change(world, '"version":', '"version": ')
    text = await exported(world, bearer)
    assert b'"version": ' in text.splitlines()[1]
    assert check(text, await pinned(world)).outcome == "tampered"
    await diverged(world, 2)
