"""Whom a cut-off concerns, and whom it leaves, whatever their number."""

import asyncio
import sys

import pytest
from sqlalchemy import Connection, text

from domain import account, client, grant
from domain.decision import Outcome, accept
from domain.event import Actor, Event, Moment
from domain.grant import GrantEnded, TokenRevoked, TokensIssued, TokensRefreshed
from eventstore.affected import USED, Counting, IssuedCounts, people
from eventstore.affected import issued as ever_issued
from eventstore.database.background import TURN_S, in_short_turns
from eventstore.database.engines import is_sqlite
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.sealed.rows_given import positions_given
from eventstore.search import Criteria, search
from projections.blast_radius import Alive, RadiusQuestion
from projections.event_index import NameKind
from security.clock import ManualClock
from security.tokens import digest, new_id
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, register
from tests.eventstore.plans import plan_of

pytestmark = pytest.mark.anyio

PEOPLE = 1_100
HOUR = 3_600
SHOP = client.stream("shop")


LOOKED_UP = {
    "sqlite": (
        "SEARCH used USING INTEGER PRIMARY KEY",
        "SEARCH begun USING COVERING INDEX ix_stored_events_stream",
        "SEARCH grants USING INTEGER PRIMARY KEY",
        "SEARCH tokens USING INDEX ix_tokens_position",
    ),
    "postgresql": (
        "Index Cond: (id = ANY (",
        "Index Cond: ((originator_id = ",
        "Index Cond: (started_position = ",
        'Index Cond: ("position" = ',
    ),
}


def issued(state: object, *, now: Moment, account_id: str, token: str) -> Outcome:
    return accept(
        TokensIssued(
            grant_type="authorization_code",
            client_id="shop",
            account_id=account_id,
            scope="catalog:read",
            secret_id="secret-shop",  # noqa: S106 - an id
            secret_version=1,
            access_token=digest(token).hex(),
            lifetime=24 * HOUR,
        )
    )


def ended(state: object, *, now: Moment) -> Outcome:
    return accept(GrantEnded(reason="person"))


def known(state: account.State, *, now: Moment) -> Outcome:
    return accept() if state.exists else accept(account.AccountRegistered(realm="platform"))


async def give(ledger: Ledger, when: str, people: range) -> None:
    await ledger.execute(*(any_command(account.stream(f"person-{n}"), known) for n in people), origin=HERE)
    commands = [
        any_command(f"grant:{when}-{n}", issued, {"account_id": f"person-{n}", "token": f"{when} {n}"}, starts=True)
        for n in people
    ]
    await ledger.execute(*commands, origin=Origin(Actor("client", "shop")))


async def radius(ledger: Ledger, since: Moment | None = None) -> Alive:
    counting = Counting(RadiusQuestion("shop", None, since))
    await counting.count(ledger)
    return counting.alive


async def test_everybody_counts_who_still_has_something_older(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.execute(register("shop"), origin=HERE)
    await give(ledger, "early", range(PEOPLE))
    clock.advance(HOUR)
    since, first = clock.now(), (await ledger.head())[0] + 1
    # Ten more people, who have nothing else.
    await give(ledger, "late", range(PEOPLE + 10))
    assert (await radius(ledger)).people == PEOPLE + 10
    assert (await radius(ledger, since)).people == PEOPLE + 10
    cut = any_command(SHOP, client.end_tokens, {"first": first, "since_at": since})
    await ledger.execute(cut, origin=HERE)
    left = await radius(ledger)
    assert (left.people, left.access_tokens) == (PEOPLE, PEOPLE)
    assert (await radius(ledger, since)).people == 0
    await ledger.execute(any_command("grant:early-0", ended), origin=HERE)
    assert (await radius(ledger)).people == PEOPLE - 1
    # After a cut-off of everything only what was issued later is theirs.
    await ledger.execute(any_command(SHOP, client.end_tokens), origin=HERE)
    assert (await radius(ledger)).people == 0
    await give(ledger, "again", range(3))
    assert (await radius(ledger)).people == 3


async def test_dead_new_and_living_old_token_is_no_recent_case(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.execute(register("shop"), origin=HERE)
    await give(ledger, "early", range(1))
    clock.advance(HOUR)
    since = clock.now()
    await give(ledger, "late", range(1))
    assert (await radius(ledger, since)).people == 1
    await ledger.execute(any_command("grant:late-0", ended), origin=HERE)
    assert ((await radius(ledger)).people, (await radius(ledger, since)).people) == (1, 0)


def happens(state: object, *, now: Moment, event: Event) -> Outcome:
    return accept(event)


def first(
    grant_type: str, secret_id: str, *, code: str | None = None, refresh_token: str | None = None
) -> TokensIssued:
    return TokensIssued(
        grant_type=grant_type,
        client_id="shop",
        account_id=None if grant_type == "client_credentials" else "paul",
        scope="catalog:read",
        secret_id=secret_id,
        access_token=digest(new_id()).hex(),
        lifetime=HOUR,
        refresh_lifetime=HOUR,
        refresh_ends_in=HOUR,
        code=code,
        refresh_token=refresh_token,
    )


def refreshed(secret_id: str) -> TokensRefreshed:
    access, refresh = digest(new_id()).hex(), digest(new_id()).hex()
    return TokensRefreshed(
        client_id="shop",
        account_id="paul",
        scope="catalog:read",
        secret_id=secret_id,
        access_token=access,
        lifetime=HOUR,
        refresh_token=refresh,
        refresh_lifetime=HOUR,
    )


async def test_all_that_each_version_issued_is_counted_by_what_it_was(ledger: Ledger) -> None:
    grants: tuple[list[TokensIssued | TokensRefreshed], ...] = (
        [first("client_credentials", "old")],
        [first("authorization_code", "old", code="c1" * 32)],
        [
            first("authorization_code", "old", code="c2" * 32, refresh_token="a1" * 32),
            refreshed("old"),
            refreshed("new"),
        ],
        [first("jwt-bearer", "old", refresh_token="a2" * 32), refreshed("new"), refreshed("new")],
        [first("jwt-bearer", "new"), refreshed("new")],
        [first("client_credentials", "new")],
    )
    for number, told in enumerate(grants):
        for event in told:
            command = any_command(f"grant:{number}", happens, {"event": event}, starts=event is told[0])
            await ledger.execute(command, origin=Origin(Actor("client", "shop", {"secret_id": event.secret_id or ""})))
    follower = CatchUpSubscription(ledger, EventIndexing())
    while not await follower.follow():
        pass
    assert await ledger.read_long(ever_issued, "old") == IssuedCounts(4, 2, 5, 3)
    assert await ledger.read_long(ever_issued, "new") == IssuedCounts(4, 0, 6, 4)
    assert await ledger.read_long(ever_issued, "never") == IssuedCounts()
    assert await ledger.read_long(people, "old", None, 9) == ["paul"]
    head, _ = await ledger.head()
    for version, count in (("old", 5), ("new", 6)):
        by_version = Criteria((((NameKind.SECRET, version.encode()),),), 1, head)
        found = await ledger.read(search, by_version, 20, None)
        assert len(found.positions) == count
        assert list(found.positions) == sorted(found.positions)


def for_itself(state: object, *, now: Moment, token: str) -> Outcome:
    return accept(
        TokensIssued(
            grant_type="client_credentials",
            client_id="shop",
            scope="catalog:read",
            access_token=digest(token).hex(),
            lifetime=24 * HOUR,
        )
    )


def revoked(state: grant.State, *, now: Moment, token: str) -> Outcome:
    return accept(TokenRevoked(access_token=digest(token).hex(), expires_at=now + HOUR, by="client"))


async def take(ledger: Ledger, names: str) -> None:
    """A token for the client itself, for each letter."""
    commands = [any_command(f"grant:{name}", for_itself, {"token": name}, starts=True) for name in names]
    await ledger.execute(*commands, origin=Origin(Actor("client", "shop")))


async def test_grants_that_are_one_token_count_as_they_change(ledger: Ledger) -> None:
    await ledger.execute(register("shop"), origin=HERE)
    await take(ledger, "abcde")
    counting = Counting(RadiusQuestion("shop"))
    await counting.count(ledger)
    assert counting.alive == Alive(grants=5, access_tokens=5)
    # Meanwhile one is revoked, one grant ends, another comes.
    await ledger.execute(any_command("grant:a", revoked, {"token": "a"}), origin=HERE)
    await ledger.execute(any_command("grant:b", grant.end, {"reason": "administrator"}), origin=HERE)
    await take(ledger, "f")
    await counting.count(ledger)
    assert counting.alive == Alive(grants=4, access_tokens=4) == await radius(ledger)


async def test_what_positions_tell_is_looked_up_and_nothing_else(ledger: Ledger, database_url: str) -> None:
    """A plan that reads the whole log for some of its events takes the longer the longer that is."""
    await ledger.execute(register("shop"), origin=HERE)
    await take(ledger, "abc")

    def plan(connection: Connection) -> str:
        if connection.dialect.name == "postgresql":
            # Of a table as small as this one all is read otherwise.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        given = {"positions": positions_given(connection, range(1, 5)), "packed": "[]", "now": ledger.clock.now()}
        return plan_of(connection, USED[connection.dialect.name], given)

    found = await ledger.read_long(plan)
    assert [
        each for each in LOOKED_UP["sqlite" if is_sqlite(database_url) else "postgresql"] if each not in found
    ] == []


async def test_threads_take_short_turns_while_nobody_waits(ledger: Ledger) -> None:
    usual = sys.getswitchinterval()

    def within(connection: Connection) -> float:
        return sys.getswitchinterval()

    assert await asyncio.gather(*(ledger.read_long(within) for _ in range(3))) == [pytest.approx(TURN_S)] * 3
    # On SQLite the event loop writes what follows the log, in turn with the commands.
    turn = usual if ledger.log.recorder.datastore.engine.dialect.name == "sqlite" else TURN_S
    assert await ledger.follow(within) == pytest.approx(turn)
    assert await ledger.read(in_short_turns(within)) == pytest.approx(TURN_S)
    assert sys.getswitchinterval() == usual > TURN_S
