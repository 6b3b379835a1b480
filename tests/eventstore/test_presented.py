"""Commands about the grant of a presented code or token, which the ledger finds for a whole batch at once."""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Connection, delete

from domain import grant
from domain.decision import InvalidGrant, Outcome, Refusal, accept
from domain.event import Moment
from domain.grant import GrantEnded, TokensIssued, TokensRefreshed
from eventstore.command import Command
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import digests, tokens
from security.clock import ManualClock
from security.keyring import Keyring
from tests.any_command import any_command
from tests.eventstore.conftest import HERE

pytestmark = pytest.mark.anyio


def digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


def begin(name: str) -> Command[Any]:
    """Starts the grant `name` with an access token and a refresh token of its own."""
    event = TokensIssued(
        grant_type="password",
        client_id="shop",
        account_id="paul",
        scope="catalog:read",
        access_token=digest(f"{name} access").hex(),
        lifetime=600,
        refresh_token=digest(f"{name} refresh").hex(),
        refresh_lifetime=3_600,
        refresh_ends_in=7_200,
    )
    return any_command(f"grant:{name}", lambda state, now: accept(event), starts=True)


def refreshed(state: grant.State, *, now: Moment, name: str) -> Outcome:
    event = TokensRefreshed(
        client_id="shop",
        account_id="paul",
        scope="catalog:read",
        access_token=digest(f"{name} next access").hex(),
        lifetime=600,
        refresh_token=digest(f"{name} next refresh").hex(),
        refresh_lifetime=3_600,
    )
    return accept(event, result=state)


def refresh(name: str) -> Command[Any]:
    return any_command("grant:nobody", refreshed, {"name": name}, presented=digest(f"{name} refresh"))


def end(token: str) -> Command[Any]:
    """Ends the grant of a token, by what was found of it."""

    def under_lock(view: View) -> dict[str, Any] | Refusal:
        found = view.grant_of(digest(token))
        return Refusal(InvalidGrant.UNKNOWN) if found is None else {"found": found}

    def verb(state: grant.State, *, now: Moment, found: Any) -> Outcome:
        return accept(GrantEnded(reason="client"), result=(found, state))

    return any_command("grant:nobody", verb, {}, under_lock, presented=digest(token))


async def test_what_was_handed_out_just_now_is_found_without_a_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.execute(begin("a"), begin("b"), origin=HERE)
    asked: list[bytes] = []

    def rows(connection: Connection, of: list[bytes]) -> list[tuple[bytes, str]]:
        asked.extend(of)
        return []

    monkeypatch.setattr(tokens, "grants_of", rows)
    results = await asyncio.gather(*(ledger.execute(refresh(name), origin=HERE) for name in "ab"))
    assert [each.recorded[0].stream for each in results] == ["grant:a", "grant:b"]
    assert asked == []
    # An access token goes on with nothing, and is asked for.
    found = await ledger.execute(end("a access"), origin=HERE)
    assert (found.recorded[0].stream, asked) == ("grant:a", [digest("a access")])


async def test_each_command_of_a_batch_reads_the_grant_it_presents(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.execute(begin(name), origin=HERE) for name in "abc"))
    presented = ("c access", "a refresh", "never issued", "b access")
    results = await asyncio.gather(*(ledger.execute(end(token), origin=HERE) for token in presented))
    streams = [[recorded.stream for recorded in each.recorded] for each in results]
    assert streams == [["grant:c"], ["grant:a"], [], ["grant:b"]]
    assert results[2].refusal == Refusal(InvalidGrant.UNKNOWN)
    found = [each.outcomes[0].result[0] for each in results if each.refusal is None]
    assert [(each.kind, each.grant_id, each.account_id) for each in found] == [
        ("access", "c", "paul"),
        ("refresh", "a", "paul"),
        ("access", "b", "paul"),
    ]


async def test_what_another_process_wrote_is_seen(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    """The other process knows nothing of two of these grants, and an older state of the third and fourth."""
    other = await Ledger.open(database_url, keyring, clock)
    await asyncio.gather(*(ledger.execute(begin(name), origin=HERE) for name in "abcd"))
    await asyncio.gather(*(other.state(f"grant:{name}") for name in "cd"))
    await asyncio.gather(*(ledger.execute(refresh(name), origin=HERE) for name in "bcd"))
    results = await asyncio.gather(*(other.execute(end(f"{name} access"), origin=HERE) for name in "abcd"))
    newest = [each.outcomes[0].result[1].refresh.sha256 for each in results]
    assert newest == [
        digest("a refresh").hex(),
        digest("b next refresh").hex(),
        digest("c next refresh").hex(),
        digest("d next refresh").hex(),
    ]
    assert [each.recorded[0].version for each in results] == [2, 3, 3, 3]
    await other.close()


async def test_a_later_command_of_the_batch_sees_the_earlier_one(ledger: Ledger) -> None:
    await ledger.execute(begin("a"), origin=HERE)
    first, second = await asyncio.gather(
        ledger.execute(refresh("a"), origin=HERE), ledger.execute(end("a access"), origin=HERE)
    )
    assert first.outcomes[0].result.refresh.sha256 == digest("a refresh").hex()
    assert second.outcomes[0].result[1].refresh.sha256 == digest("a next refresh").hex()


async def test_a_token_whose_row_was_pruned_is_still_its_grants(ledger: Ledger) -> None:
    await ledger.execute(begin("a"), origin=HERE)

    def prune(connection: Connection) -> None:
        digests.keep(connection, [(digest("a refresh"), 1)])
        connection.execute(delete(tokens.TABLE))

    await ledger.maintain(prune)
    executed = await ledger.execute(end("a refresh"), origin=HERE)
    assert [recorded.stream for recorded in executed.recorded] == ["grant:a"]
    assert executed.outcomes[0].result[0].kind == "refresh"
