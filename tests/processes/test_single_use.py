"""A code, a refresh token and what a second factor shows count once, however many processes are asked at one moment."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import httpx

from domain import consent
from domain.grants import authorization_code
from domain.rules import pkce
from eventstore.view import View
from security.tokens import Kind, new_id
from tests import plain_http
from tests.any_command import any_command
from tests.processes.conftest import Start
from tests.scenarios.browser import Browser
from tests.scenarios.factors import SIGN_IN, enrolled, sign_in
from tests.scenarios.world import Client, Person, World

PARALLEL = 50
VERIFIER = "a-verifier-of-more-than-forty-three-characters-in-length"


async def issue_code(world: World, client: Client, person: Person) -> tuple[str, str]:
    """A code as an approved authorization request gives it, and the grant's id."""
    code, grant_id = world.services.format.mint(Kind.AUTHORIZATION_CODE), new_id()

    def under_lock(view: View) -> dict[str, Any]:
        from commands.grants import parties

        found = parties(
            view,
            client_id=client.client_id,
            secret_id=None,
            account_id=person.account_id,
            asked=("orders",),
            issuer=world.settings.issuer,
            with_consent=True,
        )
        return {"parties": found}

    await world.execute(
        any_command(
            consent.stream(person.account_id, client.client_id),
            consent.give,
            {
                "scope": ("orders",),
                "redirect_uri": client.redirect_uri,
                "within": ("orders",),
                "registered": (client.redirect_uri,),
            },
        ),
        any_command(
            f"grant:{grant_id}",
            authorization_code.issue_code,
            {
                "session_id": None,
                "uri": client.redirect_uri,
                "asked": ("orders",),
                "challenge": pkce.transform(VERIFIER),
                "code": code.hex,
                "lifetimes": world.services.lifetimes,
            },
            under_lock,
        ),
    )
    return code.reveal(), grant_id


async def person_and_client(world: World) -> tuple[Person, Client]:
    client = await world.register_client(scope=("orders",))
    await world.define_role("platform", "viewer", "orders")
    return await world.register_person("paula", roles_of=("viewer",)), client


async def ask_all(bases: list[str], client: Client, parameters: dict[str, str]) -> list[httpx.Response]:
    """The same token request from everywhere at once, at each server in turn."""
    callers = [plain_http.caller(base) for base in bases]
    try:
        return await asyncio.gather(
            *(
                callers[n % len(callers)].post("/oauth/token", data=parameters, auth=client.auth, timeout=60)
                for n in range(PARALLEL)
            )
        )
    finally:
        for caller in callers:
            await caller.aclose()


def statuses(answers: list[httpx.Response]) -> Counter[tuple[int, str | None]]:
    return Counter((each.status_code, each.json().get("error")) for each in answers)


async def test_50_redemptions_of_a_code_at_two_servers_give_one_answer(world: World, start: Start) -> None:
    first, second = await asyncio.gather(start(), start())
    person, client = await person_and_client(world)
    code, grant_id = await issue_code(world, client, person)
    answers = await ask_all(
        [first.base, second.base],
        client,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": VERIFIER,
        },
    )
    assert statuses(answers) == {(200, None): 1, (400, "invalid_grant"): PARALLEL - 1}
    facts = Counter(event.type for event in await world.events(stream=f"grant:{grant_id}"))
    assert facts == {
        "grant.code_issued": 1,
        "grant.code_redeemed": 1,
        "grant.tokens_issued": 1,
        "grant.code_replayed": 1,
        "grant.ended": 1,
    }
    token = next(each.json()["access_token"] for each in answers if each.status_code == 200)
    for served in (first, second):
        async with plain_http.caller(served.base) as caller:
            answer = await caller.post("/oauth/introspect", data={"token": token}, auth=client.auth)
            assert answer.json() == {"active": False}


async def test_50_refreshes_of_a_token_at_two_servers_succeed_once(world: World, start: Start) -> None:
    first, second = await asyncio.gather(start(), start())
    person, client = await person_and_client(world)
    code, grant_id = await issue_code(world, client, person)
    redeemed = await world.client.post(
        "/oauth/token",
        data={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": VERIFIER,
        },
        auth=client.auth,
    )
    assert redeemed.status_code == 200, redeemed.text
    answers = await ask_all(
        [first.base, second.base],
        client,
        {"grant_type": "refresh_token", "refresh_token": redeemed.json()["refresh_token"]},
    )
    assert statuses(answers) == {(200, None): 1, (400, "invalid_grant"): PARALLEL - 1}
    facts = Counter(event.type for event in await world.events("grant.*", stream=f"grant:{grant_id}"))
    assert facts["grant.tokens_refreshed"] == 1
    assert facts["grant.refresh_replayed"] == 1
    assert facts["grant.ended"] == 1


async def test_one_of_six_gets_in_at_two_servers_by_the_same_code(world: World, start: Start) -> None:
    servers = await asyncio.gather(start(), start())
    person, _ = await person_and_client(world)
    generator = await enrolled(world, person, world.browser())
    # A step later than that of the enrolment, which is used up.
    for code, count in ((generator.code(1), 6), (generator.recovery_codes[0], 4)):
        async with AsyncExitStack() as opened:
            callers = [plain_http.caller(servers[n % 2].base) for n in range(count)]
            browsers = [Browser(await opened.enter_async_context(each)) for each in callers]
            pages = await asyncio.gather(*(sign_in(world, person, each) for each in browsers))
            asked = zip(browsers, pages, strict=True)
            shown = await asyncio.gather(*(browser.press(page, SIGN_IN, code=code) for browser, page in asked))
        statuses = [page.status for page in shown]
        assert (statuses.count(200), {*statuses} <= {200, 401, 429}) == (1, True), statuses
    verified = await world.events("account.factor_verified")
    assert [each.event.factor for each in verified] == ["totp", "recovery_code"]
