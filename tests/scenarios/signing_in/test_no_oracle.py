"""Whether a name exists cannot be told: not by the log's growth, not by what a password check costs."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from argon2 import extract_parameters

from api.throttling import repeated_facts
from api.throttling.limits import FORGET
from domain import account, client
from security.clock import SECOND
from security.passwords import Argon2Parameters, Hasher
from tests.any_command import any_command
from tests.scenarios.asking import SIGN_IN, Scene
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

AGAIN = 3
"""So often each is tried."""


async def strangers_names(scene: Scene) -> dict[str, tuple[str, str]]:
    """What is typed, by what it is."""
    world = scene.world
    elsewhere = await world.register_person("ada", realm="administration")
    off = await world.register_person("paula")
    await world.execute(
        any_command(account.stream(off.account_id), account.disable, {"leaves_no_administrator": False})
    )
    return {
        "known": (scene.person.username, "wrong password"),
        "in capitals": (scene.person.username.upper(), "wrong password"),
        "second name": (scene.person.email, "wrong password"),
        "nobody": ("nobody", "wrong password"),
        "nobody's address": ("nobody@example.test", "wrong password"),
        "another realm": (elsewhere.username, elsewhere.password),
        "disabled": (off.username, off.password),
        "disabled, second name": (off.email, "wrong password"),
        "no name at all": ("n" * 400, "wrong password"),
        "no password at all": (scene.person.username, "x" * 5000),
    }


async def growth(world: World, attempt: Callable[[], Awaitable[Any]]) -> list[int]:
    """The log's size after each attempt, and after the window's end, counted from before."""
    before, sizes = await world.head(), []
    for _ in range(AGAIN):
        await attempt()
        sizes.append(await world.head() - before)
    world.clock.advance(world.settings.grouped_window)
    await world.services.repeated_facts.close_elapsed()
    sizes.append(await world.head() - before)
    # What the throttle remembers is of the ones before.
    world.clock.advance(FORGET / SECOND)
    return sizes


@pytest.mark.parametrize("from_one_address", [False, True])
async def test_the_log_grows_alike_whoever_fails_to_sign_in(scene: Scene, *, from_one_address: bool) -> None:
    world, found = scene.world, {}
    for n, (what, (name, password)) in enumerate((await strangers_names(scene)).items()):
        browser = world.browser("198.51.100.1" if from_one_address else f"198.51.100.{n}")
        page = await browser.open(scene.address())

        async def attempt(browser=browser, page=page, name=name, password=password) -> None:
            assert (await browser.press(page, SIGN_IN, username=name, password=password)).status == 401

        found[what] = await growth(world, attempt)
    assert set(map(tuple, found.values())) == {(1, 1, 1, 2)}, found


async def test_concurrent_names_of_all_kinds_look_alike_up_to_a_limit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_facts, "NAMES", 2)
    world, browser, after = scene.world, scene.world.browser("198.51.100.1"), await scene.world.head()
    page = await browser.open(scene.address())
    for name in ("nobody", scene.person.username, scene.person.email, "nobody else", scene.person.username):
        await browser.press(page, SIGN_IN, username=name, password="wrong password")
    refused = ["realm.unknown_user_refused", "account.sign_in_failed", "realm.sign_ins_refused"]
    assert await world.types_after(after) == refused
    await world.services.repeated_facts.close_elapsed(everything=True)
    told = [(each.type, each.event.count) for each in await world.events(after=after)]
    assert told[3:] == [("account.sign_in_failed", 1), ("realm.sign_ins_refused", 1)]
    assert all(each.ip is not None for each in await world.events(after=after))


async def test_so_are_addresses(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_facts, "STRANGERS", 2)
    world, after = scene.world, await scene.world.head()
    for n, name in enumerate(("nobody", scene.person.username, scene.person.username, "nobody", "nobody else")):
        browser = world.browser(f"198.51.100.{n}")
        page = await browser.open(scene.address())
        assert (await browser.press(page, SIGN_IN, username=name, password="wrong password")).status == 401
    await world.services.repeated_facts.close_elapsed(everything=True)
    told = [(each.type, each.event.count, each.ip is None) for each in await world.events(after=after)]
    assert told == [
        ("realm.unknown_user_refused", 1, False),
        ("account.sign_in_failed", 1, False),
        ("realm.sign_ins_refused", 1, True),
        ("realm.sign_ins_refused", 2, True),
    ]


@pytest.mark.parametrize("from_one_address", [False, True])
async def test_log_grows_alike_whichever_client_fails_to_authenticate(world: World, *, from_one_address: bool) -> None:
    shop, off, public = [
        await world.register_client(name, public=name == "Public") for name in ("Shop", "Off", "Public")
    ]
    await world.execute(any_command(client.stream(off.client_id), client.disable))
    found = {}
    for n, (client_id, secret) in enumerate(
        (
            (shop.client_id, "wrong"),
            (shop.client_id[:-1] + "!", "wrong"),
            ("nobody", "wrong"),
            (off.client_id, off.secret),
            (public.client_id, "wrong"),
            ("no client id at all", "wrong"),
        )
    ):
        caller = world.caller("198.51.100.1" if from_one_address else f"198.51.100.{n}")

        async def attempt(caller=caller, client_id=client_id, secret=secret) -> None:
            data = {"grant_type": "client_credentials"}
            answer = await caller.post("/oauth/token", data=data, auth=(client_id, secret))
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

        found[client_id] = await growth(world, attempt)
        await caller.aclose()
    assert set(map(tuple, found.values())) == {(1, 1, 1, 2)}, found


@pytest.mark.parametrize("parameters", [Argon2Parameters(64, 3, 1), Argon2Parameters(65_536, 4, 2)])
async def test_unknown_name_costs_as_much_as_any_stored_hash(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, parameters: Argon2Parameters
) -> None:
    former, hasher = Hasher(parameters), scene.world.services.hasher
    changed = await former.hash(secrets.token_hex())
    facts = {"password_hash": changed, "role_scopes": {}, "caller_scope": frozenset()}
    former.close()
    stream = account.stream(scene.person.account_id)
    await scene.world.execute(any_command(stream, account.change_password, facts))
    verified: list[str] = []

    def observed(encoded: str, octets: bytes) -> bool:
        verified.append(encoded)
        return False

    monkeypatch.setattr(hasher, "_matches", observed)
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    typed = (scene.person.username, scene.person.email, "nobody", "aaa", "nobody@example.test", "n" * 400)
    for name in typed:
        assert (await browser.press(page, SIGN_IN, username=name, password="wrong password")).status == 401
    assert [extract_parameters(each) for each in verified] == [extract_parameters(changed)] * len(typed)
    # What is verified for nobody is nobody's.
    assert [each == changed for each in verified] == [True, True, False, False, False, False]
