"""The ledger's promises: dense positions, monotone time, one transaction for all who wait, and refusals as facts."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from domain import client
from domain.decision import Conflict, NotFound, Outcome, accept, refuse
from eventstore import repository
from eventstore.appending.aftermath import Unknown, may_be_repeated
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.stored import events
from eventstore.unavailable import DatabaseAway, LedgerOverloaded, WrongClock
from eventstore.view import View
from projections import clients, event_index
from projections.event_index import NameKind
from security.clock import ManualClock
from security.keyring import Keyring
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, broken, disable, enable, refuse_the_third, register

pytestmark = pytest.mark.anyio


async def stored(ledger: Ledger) -> list[dict[str, Any]]:
    """The log as it stands, each stored form decoded."""
    rows = await ledger.read(lambda c: c.execute(select(events).order_by(events.c.id)).all())
    forms = [json.loads(row.state) for row in rows]
    for row, form in zip(rows, forms, strict=True):
        columns = (row.id, row.originator_id, row.originator_version, row.topic)
        assert columns == (form["position"], form["stream"], form["version"], form["type"])
    return forms


async def types(ledger: Ledger) -> list[str]:
    return [form["type"] for form in await stored(ledger)]


async def test_events_are_stored_with_dense_positions_and_versions(ledger: Ledger) -> None:
    await ledger.execute(register("a"), origin=HERE)
    await ledger.execute(disable("a"), origin=HERE)
    await ledger.execute(register("b"), origin=HERE)
    forms = await stored(ledger)
    assert [f["position"] for f in forms] == [1, 2, 3, 4, 5]
    assert [(f["stream"], f["version"]) for f in forms] == [
        ("client:a", 1),
        ("client:a", 2),
        ("client:a", 3),
        ("client:b", 1),
        ("client:b", 2),
    ]
    assert await ledger.head() == (5, ledger.clock.now())


async def test_what_commands_share_follows_what_they_change(ledger: Ledger) -> None:
    await ledger.execute(register("a"), origin=HERE)

    def ask(name: str) -> Command[Any]:
        return any_command(
            f"grant:{name}",
            lambda state, *, now, enabled: accept(result=enabled),
            under_lock=lambda view: {"enabled": view.shared("alike", lambda: view.state("client:a").enabled)},
        )

    asked = [ask("1"), ask("2"), disable("a"), ask("3"), enable("a"), ask("4")]
    done = await asyncio.gather(*(ledger.execute(each, origin=HERE) for each in asked))
    assert [each.outcomes[0].result for each in done] == [True, True, None, False, None, True]


async def test_what_commands_share_lasts_until_others_write(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    made: list[bool] = []

    async def asked(name: str) -> Any:
        def look(view: View) -> dict[str, Any]:
            def make() -> bool:
                made.append(view.state("client:a").enabled)
                return made[-1]

            return {"enabled": view.shared("alike", make)}

        command = any_command(f"grant:{name}", lambda state, *, now, enabled: accept(result=enabled), under_lock=look)
        return (await ledger.execute(command, origin=HERE)).outcomes[0].result

    assert [await asked("1"), await asked("2")] == [True, True]
    assert made == [True]
    elsewhere = await Ledger.open(database_url, keyring, clock)
    await elsewhere.execute(disable("a"), origin=HERE)
    await elsewhere.close()
    assert [await asked("3"), await asked("4")] == [False, False]
    assert made == [True, False]
    with pytest.raises(ZeroDivisionError):
        await ledger.execute(any_command("client:a", broken), origin=HERE)
    await ledger.execute(enable("a"), origin=HERE)
    assert await asked("5") is True


async def test_stored_form_is_the_leaf_and_personal_values_are_sealed(ledger: Ledger) -> None:
    await ledger.execute(register("a", owner="owner@example.test"), origin=HERE)
    first = (await stored(ledger))[0]
    assert list(first) == [
        "position",
        "id",
        "type",
        "stream",
        "version",
        "time",
        "actor",
        "data",
        "request_id",
        "ip",
        "user_agent",
        "mac",
    ]
    assert first["time"] == "2026-01-01T00:00:00.000000Z"
    assert first["actor"] == {"kind": "anonymous"}
    text = json.dumps(first)
    assert "192.0.2.7" not in text
    assert "a browser" not in text
    assert "owner@example.test" not in text


async def test_time_never_runs_against_position(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.execute(register("a"), origin=HERE)
    clock.advance(-2)
    await ledger.execute(disable("a"), origin=HERE)
    clock.advance(7200)
    await ledger.execute(enable("a"), origin=HERE)
    times = [form["time"] for form in await stored(ledger)]
    assert times == sorted(times)
    assert times[0] == times[2]
    assert times[3] > times[2]


async def test_clock_behind_the_newest_event_writes_nothing(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.execute(register("a"), origin=HERE)
    before = await stored(ledger)
    clock.advance(-60)
    refused = await asyncio.gather(
        *[ledger.execute(disable("a"), origin=HERE) for _ in range(3)], return_exceptions=True
    )
    assert [str(error) for error in refused] == ["60 s behind the newest event"] * 3
    assert {type(error) for error in refused} == {WrongClock}
    assert await stored(ledger) == before
    assert (await ledger.state("client:a")).enabled is True
    clock.advance(58)
    await ledger.execute(disable("a"), origin=HERE)
    assert (await ledger.state("client:a")).enabled is False


async def test_refusal_commits_its_own_events_and_no_others(ledger: Ledger) -> None:
    def refused(state: client.State, **_: object) -> Outcome:
        return refuse(Conflict.ENDED, client.ClientDisabled())

    await ledger.execute(register("a"), origin=HERE)
    executed = await ledger.execute(register("b"), any_command("client:a", refused), origin=HERE)
    assert executed.refusal is not None
    assert executed.refusal.reason is Conflict.ENDED
    assert await types(ledger) == ["client.registered", "client.secret_issued", "client.disabled"]
    assert (await ledger.state("client:a")).enabled is False
    assert (await ledger.state("client:b")).exists is False


async def test_later_command_of_a_caller_sees_the_earlier_decision(ledger: Ledger) -> None:
    executed = await ledger.execute(register("a"), disable("a"), disable("a"), origin=HERE)
    assert executed.refusal is None
    assert await types(ledger) == ["client.registered", "client.secret_issued", "client.disabled"]
    assert [r.position for r in executed.recorded] == [1, 2, 3]


async def test_commands_that_wait_together_share_one_transaction(ledger: Ledger) -> None:
    begun: list[object] = []
    await ledger.execute(register("first"), origin=HERE)
    engine = ledger.log.factory.datastore.engine  # type: ignore[attr-defined]
    event.listen(engine, "begin", begun.append)
    await asyncio.gather(*(ledger.execute(register(f"c{n}"), origin=HERE) for n in range(50)))
    assert len(begun) < 10
    forms = await stored(ledger)
    assert [f["position"] for f in forms] == list(range(1, 103))


async def test_a_later_command_of_a_batch_sees_the_earlier_ones_events(ledger: Ledger) -> None:
    results = await asyncio.gather(*(ledger.execute(register("same"), origin=HERE) for _ in range(20)))
    accepted = [r for r in results if r.refusal is None]
    assert len(accepted) == 1
    assert {r.refusal.reason for r in results if r.refusal} == {Conflict.EXISTS}
    assert await types(ledger) == ["client.registered", "client.secret_issued"]


async def test_a_query_under_the_lock_sees_rows_of_the_same_batch(ledger: Ledger) -> None:
    seen: list[object] = []

    def look(view: View) -> None:
        seen.append(view.query(clients.by_id, "a"))

    looking = register("b").guarded(look)
    await asyncio.gather(ledger.execute(register("a"), origin=HERE), ledger.execute(looking, origin=HERE))
    assert seen[-1] is not None


async def test_an_exception_in_a_verb_harms_only_its_caller(ledger: Ledger) -> None:
    results = await asyncio.gather(
        ledger.execute(register("a"), origin=HERE),
        ledger.execute(any_command("client:b", broken), origin=HERE),
        ledger.execute(register("c"), origin=HERE),
        return_exceptions=True,
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert len(await stored(ledger)) == 4


async def test_exception_while_writing_rows_drops_that_caller_alone(ledger: Ledger) -> None:
    def then(view: View, recorded: object) -> None:
        assert view.query(clients.by_id, "b") is not None
        raise ZeroDivisionError

    results = await asyncio.gather(
        ledger.execute(register("a"), origin=HERE),
        ledger.execute(register("b"), origin=HERE, then=then),
        ledger.execute(register("c"), origin=HERE),
        return_exceptions=True,
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert {f["stream"] for f in await stored(ledger)} == {"client:a", "client:c"}
    assert await ledger.read(clients.by_id, "b") is None
    assert (await ledger.state("client:b")).exists is False


async def test_then_runs_in_the_transaction_with_the_rows_written(ledger: Ledger) -> None:
    executed = await ledger.execute(
        register("a"), origin=HERE, then=lambda view, recorded: (view.query(clients.by_id, "a"), len(recorded))
    )
    assert executed.value is not None
    row, count = executed.value
    assert row is not None
    assert count == 2


async def test_then_does_not_run_for_a_refusal(ledger: Ledger) -> None:
    executed = await ledger.execute(disable("nobody"), origin=HERE, then=lambda *_: pytest.fail("it ran"))
    assert executed.refusal is not None
    assert executed.refusal.reason is NotFound.UNKNOWN


async def test_two_processes_append_to_one_dense_log(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    other = await Ledger.open(database_url, keyring, clock)
    try:
        await asyncio.gather(
            *(ledger.execute(register(f"a{n}"), origin=HERE) for n in range(20)),
            *(other.execute(register(f"b{n}"), origin=HERE) for n in range(20)),
        )
        await ledger.execute(disable("b3"), origin=HERE)
        assert (await other.state("client:b3")).enabled is False
        await other.execute(enable("b3"), origin=HERE)
        assert (await ledger.state("client:b3")).enabled is True
    finally:
        await other.close()
    forms = await stored(ledger)
    assert [f["position"] for f in forms] == list(range(1, len(forms) + 1))
    assert len(forms) == 82


async def test_command_under_the_lock_sees_another_process_writes(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    other = await Ledger.open(database_url, keyring, clock)
    try:
        await ledger.execute(register("a"), origin=HERE)
        await ledger.execute(disable("a"), origin=HERE)
        await other.execute(enable("a"), origin=HERE)
        executed = await ledger.execute(disable("a"), origin=HERE)
    finally:
        await other.close()
    assert [r.type for r in executed.recorded] == ["client.disabled"]


async def test_what_was_accepted_is_finished_before_the_ledger_closes(
    database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    ledger = await Ledger.open(database_url, keyring, clock)
    waiting = [asyncio.ensure_future(ledger.execute(register(f"c{n}"), origin=HERE)) for n in range(30)]
    await asyncio.sleep(0)
    await ledger.close()
    assert all([r.refusal is None for r in await asyncio.gather(*waiting)])


async def test_what_another_process_added_is_folded_onto_what_is_known(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream costs what is new in it, however old it is."""
    other = await Ledger.open(database_url, keyring, clock)
    try:
        await ledger.execute(register("a"), origin=HERE)
        for _ in range(20):
            await ledger.execute(disable("a"), origin=HERE)
            await ledger.execute(enable("a"), origin=HERE)
        assert (await other.state("client:a")).enabled is True
        await ledger.execute(disable("a"), origin=HERE)
        folded: list[int] = []
        real = repository.evolve

        def evolve(stream: str, state: Any, recorded: Any) -> Any:
            folded.append(recorded.version)
            return real(stream, state, recorded)

        monkeypatch.setattr(repository, "evolve", evolve)
        assert (await other.state("client:a")).enabled is False
        assert folded == [43]
    finally:
        await other.close()


async def test_commands_of_many_are_executed_by_one_call(ledger: Ledger) -> None:
    there = Origin(request_id="request-2")
    errors = await ledger.execute_each([(register("a"), HERE), (register("b"), there), (register("a"), HERE)])
    assert errors == [None, None, None]
    forms = await stored(ledger)
    # A refusal is nobody's concern here, and of the rest each has its own origin.
    assert {(form["stream"], form.get("request_id")) for form in forms} == {
        ("client:a", "request-1"),
        ("client:b", "request-2"),
    }
    assert await ledger.execute_each([]) == []
    assert len(await stored(ledger)) == len(forms)


async def test_one_that_fails_harms_none_of_the_others(ledger: Ledger) -> None:
    failing = any_command("client:b", broken)
    first, second, third = await ledger.execute_each([(register("a"), HERE), (failing, HERE), (register("c"), HERE)])
    assert (first, type(second), third) == (None, ZeroDivisionError, None)
    assert {form["stream"] for form in await stored(ledger)} == {"client:a", "client:c"}


async def test_of_more_than_the_ledger_accepts_it_tells_what_it_stored(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_the_third(ledger, monkeypatch)
    errors = await ledger.execute_each([(register(client_id), HERE) for client_id in "abcd"])
    # There was room for the last one again, but it may be about what was refused.
    assert [type(each) for each in errors] == [type(None), type(None), LedgerOverloaded, LedgerOverloaded]
    assert {form["stream"] for form in await stored(ledger)} == {"client:a", "client:b"}
    assert await ledger.execute_each([(register(client_id), HERE) for client_id in "cd"]) == [None, None]
    assert {form["stream"] for form in await stored(ledger)} == {"client:a", "client:b", "client:c", "client:d"}


def test_what_may_be_stored_is_not_repeated() -> None:
    unknown = DatabaseAway("Unknown")
    unknown.__cause__ = Unknown()
    errors = (LedgerOverloaded(), DatabaseAway("locked"), unknown, ZeroDivisionError(), None)
    assert [may_be_repeated(each) for each in errors] == [True, True, False, False, False]


async def test_what_follows_the_log_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    def fill(connection: Connection, fails: bool) -> int:
        event_index.add(connection, [(1, b"x", 1)])
        if fails:
            raise ZeroDivisionError
        return 7

    with pytest.raises(ZeroDivisionError):
        await ledger.follow(fill, True)
    assert await ledger.read(event_index.positions, NameKind.CLIENT, b"x", 0, 9, 9, descending=False) == []
    assert await ledger.follow(fill, fails=False) == 7
    assert await ledger.read(event_index.positions, NameKind.CLIENT, b"x", 0, 9, 9, descending=False) == [1]
