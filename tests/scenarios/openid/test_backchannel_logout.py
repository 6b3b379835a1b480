"""Back-channel logout: every client of a session hears of its end, whatever ended it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from sqlalchemy import Connection, update

from api.http.outgoing_requests import FetchedResponse, NoAnswer, NotAllowed
from api.notifications.backchannel_logout import ATTEMPTS, EVENT, LASTS, LogoutNotifier
from api.notifications.delivering import LONGEST_DELAY
from api.notifications.shares import AT_ONCE, OF_ONE
from domain import account, client, cut_off, ended_grants, session
from domain.event import SECOND
from projections import logout_notices
from projections.logout_notices import Notice
from tests.any_command import any_command
from tests.scenarios.browser import Browser
from tests.scenarios.openid.relying_party import OpenId, set_openid
from tests.scenarios.world import SYSTEM, World
from tests.started import PATIENCE

URI = "https://shop.example/logout"


class Listening:
    """A client's address: what it took, and what it says next; after that it says 200."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.taken: list[str] = []
        self.next: list[int | Exception] = []
        self.notifier = LogoutNotifier(world.services)
        monkeypatch.setattr(world.services.outgoing, "send", self.send)

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", largest: int | None = 0
    ) -> FetchedResponse:
        assert (method, url, largest) == ("POST", URI, None)
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        ((name, (token,)),) = parse_qs(content.decode()).items()
        assert name == "logout_token"
        answer = self.next.pop(0) if self.next else 200
        if isinstance(answer, Exception):
            raise answer
        if answer < 300:
            self.taken.append(token)
        return FetchedResponse(answer, {}, b"")

    async def hear(self) -> list[dict[str, Any]]:
        """What it is told now, each token verified."""
        before = len(self.taken)
        await self.notifier.distribute()
        await self.notifier.deliver()
        return [await self.verified(token) for token in self.taken[before:]]

    async def verified(self, token: str) -> dict[str, Any]:
        keys = KeySet.import_key_set((await self.world.client.get("/.well-known/jwks.json")).json())
        signed = jws.deserialize_compact(token.encode(), keys, registry=jws.JWSRegistry(algorithms=["RS256"]))
        assert signed.headers()["typ"] == "logout+jwt"
        said: dict[str, Any] = json.loads(signed.payload or b"")
        return said


@pytest.fixture
async def openid(world: World) -> OpenId:
    return await set_openid(world, backchannel_logout_uri=URI)


@pytest.fixture
def listening(openid: OpenId, monkeypatch: pytest.MonkeyPatch) -> Listening:
    return Listening(openid.world, monkeypatch)


async def signed_in(openid: OpenId) -> tuple[Browser, dict[str, Any]]:
    """A browser signed in to the shop, and what the shop was told."""
    browser = await openid.signed_in()
    return browser, await openid.id_token(await openid.approved(browser, openid.openid()))


async def sign_out(openid: OpenId, browser: Browser) -> None:
    page = await browser.open("/account/sign-out")
    assert (await browser.press(page, "/account/sign-out")).status == 200


async def test_a_sign_out_is_told_with_what_the_id_token_said(openid: OpenId, listening: Listening) -> None:
    browser, said = await signed_in(openid)
    await openid.id_token(await browser.open(openid.openid()))
    assert await listening.hear() == []
    await sign_out(openid, browser)
    (told,) = await listening.hear()
    now = openid.world.clock.now() // SECOND
    assert told.pop("jti")
    assert told == {
        "iss": openid.world.settings.issuer,
        "sub": said["sub"],
        "aud": openid.shop.client_id,
        "iat": now,
        "exp": now + LASTS,
        "sid": said["sid"],
        "events": {EVENT: {}},
    }
    (delivered,) = await openid.world.events("session.logout_delivered")
    (ended,) = await openid.world.events("session.ended")
    assert delivered.stream == ended.stream
    assert (delivered.event.client_id, delivered.event.attempts) == (openid.shop.client_id, 1)
    assert delivered.actor.kind == "system"
    assert await listening.hear() == []


async def ended_by(openid: OpenId, how: str) -> None:
    """Ends whatever sessions the person has."""
    world, name = openid.world, openid.person.account_id
    (started,) = await world.events("session.started")
    stream = account.stream(name)
    given: dict[str, Any] = {"role_scopes": {}, "caller_scope": frozenset()}
    match how:
        case "disabled":
            await world.execute(any_command(stream, account.disable, {"leaves_no_administrator": False}))
        case "erased":
            await world.execute(any_command(stream, account.erase, {"leaves_no_administrator": False}))
        case "password":
            await world.execute(any_command(stream, account.change_password, {"password_hash": "another", **given}))
        case "contained":
            await world.execute(any_command(stream, account.end_tokens))
        case "administrator":
            await world.execute(any_command(started.stream, session.end, {"reason": "administrator"}))
        case "together":
            end, given = ended_grants.end_together, {"incident_id": "i", "began": (started.position,)}
            await world.execute(any_command(ended_grants.STREAM, end, given))
            await world.execute(any_command(started.stream, session.settle))


WAYS = ["disabled", "erased", "password", "contained", "administrator", "together"]


@pytest.mark.parametrize("how", WAYS)
async def test_every_other_end_is_told_once(openid: OpenId, listening: Listening, how: str) -> None:
    _, said = await signed_in(openid)
    await ended_by(openid, how)
    (told,) = await listening.hear()
    assert (told["sid"], told["sub"]) == (said["sid"], said["sub"])
    # What is over already does not end once more.
    (started,) = await openid.world.events("session.started")
    await openid.world.execute(any_command(started.stream, session.end, {"reason": "signed_out"}))
    assert await listening.hear() == []


@pytest.mark.parametrize(
    ("how", "reason"), [("signed out", "logout"), ("administrator", "administrator"), ("together", "secret_leak")]
)
async def test_a_code_is_over_with_its_session(openid: OpenId, how: str, reason: str) -> None:
    """Its client could not be told any more that the person has left."""
    browser = await openid.signed_in()
    page = await openid.approved(browser, openid.openid())
    if how == "signed out":
        await sign_out(openid, browser)
    else:
        await ended_by(openid, how)
    before = await openid.world.head()
    for _ in range(2):
        assert (await openid.redeem(page))["error"] == "invalid_grant"
    refused, ended, again = await openid.world.events("grant.*", after=before)
    assert [refused.type, again.type] == ["grant.code_refused"] * 2
    assert (ended.type, ended.event.reason) == ("grant.ended", reason)


async def test_what_signs_nobody_in_outlives_the_session(openid: OpenId) -> None:
    browser = await openid.signed_in()
    page = await openid.approved(browser, openid.address(scope="profile"))
    await sign_out(openid, browser)
    assert (await openid.redeem(page))["scope"] == "profile"


async def test_what_does_not_end_a_session_is_not_told(openid: OpenId, listening: Listening) -> None:
    await signed_in(openid)
    # A containment that begins after the session did.
    stream, first = account.stream(openid.person.account_id), await openid.world.head()
    await openid.world.execute(any_command(stream, account.end_tokens, {"first": first}))
    assert await openid.world.events(cut_off.AccountTokensEnded.type)
    assert await listening.hear() == []


async def test_only_clients_that_signed_somebody_in_are_told(openid: OpenId, listening: Listening) -> None:
    browser = await openid.signed_in()
    # Without `openid` nobody has heard of the session.
    await openid.redeem(await openid.approved(browser, openid.openid(scope="catalog:read")))
    await sign_out(openid, browser)
    assert await listening.hear() == []


async def test_a_session_that_ended_by_itself_is_not_told_of(openid: OpenId, listening: Listening) -> None:
    await signed_in(openid)
    openid.world.clock.advance(openid.world.settings.session_absolute_lifetime)
    await ended_by(openid, "disabled")
    assert await listening.hear() == []


async def test_each_client_knows_the_session_by_another_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    openid = await set_openid(world, backchannel_logout_uri=URI)
    listening = Listening(world, monkeypatch)
    other = await world.register_client("Other", scope=("openid",), backchannel_logout_uri=URI, subject_type="pairwise")
    browser, said = await signed_in(openid)
    others = await openid.id_token(await openid.approved(browser, openid.openid(other)), other)
    await sign_out(openid, browser)
    told = {each["aud"]: (each["sub"], each["sid"]) for each in await listening.hear()}
    assert told == {
        openid.shop.client_id: (said["sub"], said["sid"]),
        other.client_id: (others["sub"], others["sid"]),
    }
    assert len({said["sid"], others["sid"], said["sub"], others["sub"]}) == 4


async def test_what_failed_is_tried_again_later(openid: OpenId, listening: Listening) -> None:
    world = openid.world
    browser, _ = await signed_in(openid)
    await sign_out(openid, browser)
    listening.next = [NoAnswer("no answer in time"), 503]
    assert await listening.hear() == []
    assert await listening.hear() == []
    world.clock.advance(2 * LONGEST_DELAY // SECOND)
    assert await listening.hear() == []
    world.clock.advance(2 * LONGEST_DELAY // SECOND)
    assert len(await listening.hear()) == 1
    # The first failure is a fact, and those after it are not.
    (failed,) = await world.events("session.logout_failed")
    assert (failed.event.reason, failed.event.attempts, failed.event.final) == ("no_answer", 1, False)
    (delivered,) = await world.events("session.logout_delivered")
    assert delivered.event.attempts == 3


async def test_it_is_given_up_after_so_many_attempts(openid: OpenId, listening: Listening) -> None:
    world = openid.world
    browser, _ = await signed_in(openid)
    await sign_out(openid, browser)
    listening.next = [400] * ATTEMPTS
    for _ in range(ATTEMPTS + 2):
        assert await listening.hear() == []
        world.clock.advance(2 * LONGEST_DELAY // SECOND)
    first, last = await world.events("session.logout_failed")
    assert (first.event.attempts, first.event.final) == (1, False)
    assert (last.event.attempts, last.event.final, last.event.reason, last.event.status) == (
        ATTEMPTS,
        True,
        "refused",
        400,
    )


async def test_a_slow_client_keeps_nobody_waiting(
    openid: OpenId, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, now, answered = openid.world.services.ledger, openid.world.clock.now(), asyncio.Event()
    macs = ledger.vault.row_macs(logout_notices.NOTICES.name)
    found = [*(Notice(f"s{number}", "slow") for number in range(2 * AT_ONCE)), Notice("s", "quick")]

    def put(connection: Connection) -> None:
        connection.execute(logout_notices.TABLE.insert().values(position=1_000_000))
        logout_notices.exchange(connection, macs, 1_000_000, found, now)

    await ledger.maintain(put)
    tried: list[str] = []

    async def attempt(notice: Notice) -> None:
        tried.append(notice.client_id)
        if notice.client_id == "quick":
            answered.set()
        await asyncio.wait_for(answered.wait(), PATIENCE)

    monkeypatch.setattr(listening.notifier, "_attempt", attempt)
    await listening.notifier.deliver()
    assert tried.count("slow") == 2 * AT_ONCE
    assert "quick" in tried[: OF_ONE + 1]


async def test_a_private_address_is_not_called(openid: OpenId, listening: Listening) -> None:
    browser, _ = await signed_in(openid)
    await sign_out(openid, browser)
    listening.next = [NotAllowed()]
    await listening.hear()
    (failed,) = await openid.world.events("session.logout_failed")
    assert failed.event.reason == "private_address"


async def test_a_client_without_address_is_told_nothing(openid: OpenId, listening: Listening) -> None:
    world = openid.world
    browser, _ = await signed_in(openid)
    await sign_out(openid, browser)
    await listening.notifier.distribute()
    await world.execute(world.changing(openid.shop.client_id, client.Attributes(backchannel_logout_uri=None)))
    assert await listening.hear() == []
    (failed,) = await world.events("session.logout_failed")
    assert (failed.event.reason, failed.event.final) == ("no_address", True)


async def test_two_processes_tell_it_once(openid: OpenId, listening: Listening) -> None:
    browser, _ = await signed_in(openid)
    await sign_out(openid, browser)
    second = LogoutNotifier(openid.world.services)
    await second.distribute()
    assert len(await listening.hear()) == 1
    await second.distribute()
    await second.deliver()
    assert len(listening.taken) == 1


async def test_an_altered_notice_is_delivered_all_the_same(openid: OpenId, listening: Listening) -> None:
    world = openid.world
    browser, _ = await signed_in(openid)
    await sign_out(openid, browser)
    await listening.notifier.distribute()
    altered = update(logout_notices.NOTICES).values(due_at=2**62)
    await world.services.ledger.maintain(lambda connection: connection.execute(altered).rowcount)
    assert await listening.hear() == []
    world.clock.advance(3600)
    assert len(await listening.hear()) == 1


async def test_rows_that_nobody_explains_tell_nobody(openid: OpenId, listening: Listening) -> None:
    world = openid.world
    _, _ = await signed_in(openid)
    (issued,) = await world.events("grant.code_issued")
    forged = logout_notices.TABLE.insert().values(position=issued.position)
    await world.services.ledger.maintain(lambda connection: connection.execute(forged).rowcount)
    assert await listening.hear() == []


def test_everything_is_recorded_while_the_log_is_in_doubt() -> None:
    assert session.LogoutDelivered.in_doubt
    assert session.LogoutFailed.in_doubt
    assert SYSTEM.actor.kind == "system"
