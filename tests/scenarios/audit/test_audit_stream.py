"""Following the log and exporting it: none lost, none doubled, bounded in memory, and both leave their marks."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from api.audit import long_answers
from api.audit.queries import auditor
from api.audit.queries import export as exporting
from api.leaks import incidents
from commands import people
from commands.permissions import operator
from domain import client
from eventstore.execution import Step
from security.keyring import Keyring
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.console.way_in import person_with
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.event_source import EventSource
from tests.scenarios.world import ADDRESS, World, open_world

pytestmark = pytest.mark.anyio

READER = ("audit:read", "audit:personal")


async def write(world: World, name: str, count: int) -> None:
    for number in range(count):
        await world.define_scopes(f"{name}:{number}")


async def test_a_message_has_id_event_and_data(world: World) -> None:
    token = await world.token(*READER)
    asking = world.caller(headers={"authorization": f"Bearer {token}"})
    async with EventSource(world, "/audit/stream?from=1", token) as source:
        assert source.started["status"] == 200
        assert source.header["content-type"].startswith("text/event-stream")
        assert source.header["cache-control"] == "no-store"
        message = await source.message()
    assert message is not None
    assert (message.id, message.event) == (1, message.data["type"])
    assert message.data == ok(await asking.get("/audit/events/1"))


@pytest.mark.parametrize("path", ["/audit/stream", "/audit/export?format=csv"])
async def test_head_opens_no_reading_and_ends_at_once(world: World, path: str) -> None:
    asking = await administering(world, *READER)
    before = await world.head()
    answer = await asking.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith(("text/event-stream", "text/csv"))
    assert await world.events("audit.*", after=before) == ()
    assert not auditor.FOLLOWING


async def test_stream_loses_and_doubles_none_under_two_processes(
    world: World, database_url: str, tmp_path: Path, keyring: Keyring
) -> None:
    token = await world.token(*READER)
    async with open_world(database_url, tmp_path, keyring) as other:
        begin = await world.head()
        async with EventSource(world, f"/audit/stream?from={begin + 1}", token) as source:
            writers = [write(each, f"{name}{n}", 6) for n in range(4) for name, each in (("a", world), ("b", other))]
            messages, *_ = await asyncio.gather(source.messages(49), *writers)
    # The first tells that somebody began to read: nothing that is in the log is left out.
    assert messages[0].event == "audit.stream_opened"
    assert [message.id for message in messages] == list(range(begin + 1, begin + 50))


async def test_it_goes_on_behind_the_last_event_that_was_seen(world: World) -> None:
    token = await world.token(*READER)
    await write(world, "before", 3)
    async with EventSource(world, "/audit/stream?from=2", token) as source:
        first = await source.messages(3)
    await write(world, "between", 3)
    # The header comes from the reader's own memory and goes before the address it first asked.
    async with EventSource(world, "/audit/stream?from=2", token, str(first[-1].id)) as source:
        second = await source.messages(3)
    assert [each.id for each in [*first, *second]] == [2, 3, 4, 5, 6, 7]


async def test_without_a_position_it_begins_now(world: World) -> None:
    token = await world.token(*READER)
    await write(world, "before", 2)
    async with EventSource(world, "/audit/stream", token) as source:
        await write(world, "after", 1)
        message = await source.message()
    assert message is not None
    assert message.data["stream"] == "scope:after:0"


async def test_stream_from_a_position_omits_nothing_not_even_itself(world: World) -> None:
    token = await world.token(*READER)
    begin = await world.head()
    first, second = f"/audit/stream?from={begin + 1}", "/audit/stream"
    async with EventSource(world, first, token) as source, EventSource(world, second, token):
        messages = await source.messages(2)
    assert [(each.id, each.event) for each in messages] == [
        (begin + 1, "audit.stream_opened"),
        (begin + 2, "audit.stream_opened"),
    ]


async def test_its_beginning_and_its_end_are_events(world: World) -> None:
    token = await world.token("audit:read")
    begin = await world.head()
    async with EventSource(world, "/audit/stream?from=1", token) as source:
        await source.messages(3)
    await auditor.closed(world.services.ledger)
    opened, closed = await world.events("audit.*", after=begin)
    assert (opened.type, closed.type) == ("audit.stream_opened", "audit.stream_closed")
    assert (opened.event.first, opened.event.unsealed) == (1, False)
    assert closed.event.reading_id == opened.event.reading_id
    assert closed.event.count >= 3
    assert closed.actor == opened.actor


async def test_concurrent_readers_are_bounded_by_the_places(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_answers, "STREAMS_AT_MOST", 2)
    token = await world.token(*READER)
    begin = await world.head()
    sources = [EventSource(world, "/audit/stream", token) for _ in range(5)]
    await asyncio.gather(*(each.__aenter__() for each in sources))
    admitted = [each for each in sources if each.started["status"] == 200]
    told = [str(await each.block()) for each in admitted]
    assert len(auditor.FOLLOWING) == 2
    assert sorted(told) == sorted(["retry: 2000"] * 2 + ["retry: 30000"] * (len(admitted) - 2))
    for each in sources:
        await each.__aexit__()
    await auditor.closed(world.services.ledger)
    types = [each.type for each in await world.events("audit.*", after=begin)]
    assert types.count("audit.stream_opened") == types.count("audit.stream_closed") == len(admitted)


async def test_personal_values_are_sealed_for_whoever_may_not_see_them(world: World) -> None:
    token = await world.token("audit:read")
    (issued,) = await world.events("grant.tokens_issued")
    async with EventSource(world, f"/audit/stream?from={issued.position}", token) as source:
        message = await source.message()
    assert message is not None
    assert message.data["ip"] is None
    assert "ip" in message.data["sealed"]


async def test_a_slow_reader_costs_no_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[int] = []
    original = long_answers._pull

    def counted(connection, reader, last, upto):
        pulled.append(upto - last)
        return original(connection, reader, last, upto)

    monkeypatch.setattr(long_answers, "_pull", counted)
    token = await world.token(*READER)
    await write(world, "many", 3 * long_answers.AT_ONCE)
    async with EventSource(world, "/audit/stream?from=1", token):
        await write(world, "more", 20)
        while not pulled:
            await asyncio.sleep(0)
        # Nobody took a message: besides what is on its way, nothing more was fetched.
        assert len(pulled) <= 2
        assert max(pulled) <= long_answers.AT_ONCE


async def test_heart_beats_come_while_nothing_happens(world: World) -> None:
    token = await world.token("audit:read")
    async with EventSource(world, "/audit/stream", token) as source:
        assert (await source.block() or "").startswith("retry: ")
        world.clock.advance(15)
        assert await source.block() == ": heart-beat"


async def test_it_ends_with_the_right_to_read(world: World) -> None:
    token = await world.token("audit:read")
    (issued,) = await world.events("grant.tokens_issued")
    async with EventSource(world, "/audit/stream", token) as source:
        await world.execute(any_command(client.stream(issued.event.client_id), client.disable))
        assert await source.message() is None
    async with EventSource(world, "/audit/stream", await world.token("audit:read")) as source:
        world.clock.advance(600)
        assert await source.message() is None


async def test_a_stopping_server_ends_its_streams(database_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(database_url, tmp_path, keyring) as world:
        source = EventSource(world, "/audit/stream", await world.token("audit:read"))
        await source.__aenter__()
        ending = asyncio.ensure_future(source.message())
    assert await ending is None
    await source.__aexit__()


@cases("text", ["x", "-1", "1.5", "9" * 17])
async def test_a_last_event_id_that_is_none_is_refused(world: World, text: str) -> None:
    asking = await administering(world, "audit:read")
    problem(await asking.get("/audit/stream", headers={"last-event-id": text}), 400, field="Last-Event-ID")


async def test_a_stream_has_no_end_and_no_order_to_ask_for(world: World) -> None:
    asking = await administering(world, *READER)
    before = await world.head()
    for name, value in (("since", "2026-01-01T00:00:00Z"), ("until", "2026-01-01T00:00:00Z"), ("order", "desc")):
        problem(await asking.get("/audit/stream", params={"from": 1, name: value}), 400, field=name)
    assert await world.head() == before


# Export -----------------------------------------------------------------------------------------------------------


async def test_an_export_is_the_whole_log_as_it_stood_when_it_began(world: World) -> None:
    asking = await administering(world)
    await write(world, "many", 30)
    head = await world.head()
    answer = await asking.get("/audit/export", params={"format": "jsonl"})
    assert answer.headers["content-type"] == "application/jsonl; charset=utf-8"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["position"] for line in lines] == list(range(1, head + 1))
    assert lines[4] == ok(await asking.get("/audit/events/5"))


async def test_an_export_heeds_the_filters_of_the_search(world: World) -> None:
    asking = await administering(world)
    await write(world, "many", 5)
    query: dict[str, Any] = {"type": ["scope.*", "client.registered"], "order": "desc", "from": 3}
    found = ok(await asking.get("/audit/events", params=query | {"limit": 200}))["items"]
    for form in ("jsonl", "csv"):
        answer = await asking.get("/audit/export", params=query | {"format": form})
        rows = (
            [json.loads(line) for line in answer.text.splitlines()]
            if form == "jsonl"
            else list(csv.DictReader(io.StringIO(answer.text, newline="")))
        )
        assert [int(row["position"]) for row in rows] == [each["position"] for each in found]


async def test_export_records_an_event_at_its_start_and_its_end(world: World) -> None:
    asking = await administering(world, *READER)
    begin = await world.head()
    answer = await asking.get("/audit/export", params={"format": "ocsf", "ip": ADDRESS})
    await auditor.closed(world.services.ledger)
    opened, closed = await world.events("audit.*", after=begin)
    assert (opened.type, closed.type) == ("audit.export_opened", "audit.export_closed")
    assert opened.event.parameters == {"order": "asc", "format": "ocsf"}
    assert opened.event.unsealed is True
    assert ADDRESS not in str(opened)
    assert closed.event.completion == "complete"
    assert closed.event.count == len(answer.text.splitlines())
    assert closed.event.reading_id == opened.event.reading_id


LONG = ("/audit/export", "/audit/package", "/admin/people/export?personal=0", "/audit/stream")


async def test_reading_ends_of_who_is_gone_before_it_begins(world: World) -> None:
    await write(world, "many", 5)
    keeper = world.services.transparency.keeper
    assert keeper is not None
    while await keeper.step():
        pass
    token = await world.token(*READER, "people:read")
    begin = await world.head()

    async def send(_: Any) -> None:
        raise ConnectionResetError

    for target in LONG:
        source = EventSource(world, target, token)
        with pytest.raises(ConnectionAbortedError):
            await world.app(source.scope, source._receive, send)
    await auditor.closed(world.services.ledger)
    told = [each.event for each in await world.events("audit.*", after=begin)]
    opened, closed = ({each.reading_id for each in told if each.type.endswith(end)} for end in ("_opened", "_closed"))
    assert opened == closed
    assert len(opened) == len(LONG)
    assert {each.completion for each in told if each.type == "audit.export_closed"} == {"broken_off"}
    assert not auditor.FOLLOWING


async def test_export_broken_off_says_so_and_is_never_whole_in_memory(world: World) -> None:
    token = await world.token(*READER)
    await write(world, "many", 600)
    begin = await world.head()
    async with EventSource(world, "/audit/export", token) as source:
        chunk = await source._next()
        assert chunk["body"].count(b"\n") == 250
    await auditor.closed(world.services.ledger)
    (closed,) = await world.events("audit.export_closed", after=begin)
    assert closed.event.completion == "broken_off"
    assert closed.event.count < begin


async def test_export_breaks_off_with_the_right_to_read(world: World) -> None:
    token = await world.token(*READER)
    (issued,) = await world.events("grant.tokens_issued")
    await write(world, "many", 1100)
    begin = await world.head()
    source = await EventSource(world, "/audit/export", token).__aenter__()
    assert (await source._next())["body"].count(b"\n") == 250
    await world.execute(any_command(client.stream(issued.event.client_id), client.disable))
    await source.rest()
    with pytest.raises(ConnectionAbortedError):
        await source.__aexit__()
    await auditor.closed(world.services.ledger)
    (closed,) = await world.events("audit.export_closed", after=begin)
    assert closed.event.completion == "broken_off"


async def shown_names(world: World) -> tuple[str, Step]:
    """The token of somebody who may see names, and what takes that from them, and the right to read not."""
    reading = ("audit:read", "leaks:read")
    board = await make_dashboard(world, "board", realm="administration", scope=(*reading, "audit:personal"))
    ada = await person_with(world, *reading, "audit:personal")
    await world.define_role("administration", "reader", *reading)
    token, _ = await board.sign_in(ada)
    return token, people.change_roles(ada.account_id, ("reader",), by=operator)


@pytest.mark.parametrize("path", ["/audit/export", "/leaks/incidents/export"])
async def test_export_breaks_off_with_the_right_to_names(
    world: World, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "LARGEST", 1)
    monkeypatch.setattr(exporting, "AT_ONCE", 2)
    token, taken = await shown_names(world)
    asking = await administering(world, "leaks:write")
    for number in range(6):
        shop = await world.register_client(f"Shop {number}", grant_types=("client_credentials",))
        ok(await asking.post("/leaks/contain", json={"client_id": shop.client_id}))
    begin = await world.head()
    source = await EventSource(world, path, token).__aenter__()
    await source._next()
    await world.execute(taken)
    await source.rest()
    with pytest.raises(ConnectionAbortedError):
        await source.__aexit__()
    await auditor.closed(world.services.ledger)
    (closed,) = await world.events("audit.export_closed", after=begin)
    assert closed.event.completion == "broken_off"
    async with EventSource(world, path, token) as again:
        assert again.started["status"] == 200


async def test_stream_ends_with_the_right_to_names(world: World) -> None:
    """Who comes back with the id that they saw last goes on, with sealed ones."""
    token, taken = await shown_names(world)
    async with EventSource(world, "/audit/stream", token) as source:
        await world.execute(taken)
        assert await source.message() is None
    async with EventSource(world, f"/audit/stream?from={await world.head()}", token) as source:
        assert await source.message() is not None


async def test_an_unknown_format_is_refused(world: World) -> None:
    asking = await administering(world)
    problem(await asking.get("/audit/export", params={"format": "xml"}), 400, field="format")
