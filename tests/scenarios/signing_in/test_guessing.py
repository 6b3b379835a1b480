"""Guessing at one person, from one address and from many, and the person who types right meanwhile."""

import asyncio
from pathlib import Path

import pytest

from api.throttling.limits import SECTIONS
from api.throttling.throttle import FILE, ThrottleFile
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import SIGN_IN, Scene
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import ADDRESS

pytestmark = pytest.mark.anyio


async def types(scene: Scene, browser: Browser, name: str, password: str) -> Page:
    return await browser.press(await browser.open(scene.address()), SIGN_IN, username=name, password=password)


async def guess(scene: Scene, name: str, times: int, network: str = "198.51.100") -> list[int]:
    """What a wrong password gets, each time from another address."""
    found = []
    for n in range(times):
        browser = scene.world.browser(f"{network}.{n}")
        found.append((await types(scene, browser, name, "a wrong guess")).status)
        await browser.client.aclose()
    return found


async def test_six_right_sign_ins_at_once_are_six_successes(scene: Scene) -> None:
    browsers = [scene.world.browser() for _ in range(6)]
    pages = [await browser.open(scene.address()) for browser in browsers]
    both = zip(browsers, pages, strict=True)
    pressed = [browser.press(page, SIGN_IN, **scene.person.typed) for browser, page in both]
    assert [page.status for page in await asyncio.gather(*pressed)] == [200] * 6
    assert len(await scene.world.events("session.started")) == 6


async def test_many_wrong_ones_at_once_gain_nothing(scene: Scene) -> None:
    browsers = [scene.world.browser("198.51.100.1") for _ in range(12)]
    pages = [await browser.open(scene.address()) for browser in browsers]
    pressed = [
        browser.press(page, SIGN_IN, username=scene.person.username, password=f"wrong {n}")
        for n, (browser, page) in enumerate(zip(browsers, pages, strict=True))
    ]
    assert sorted([page.status for page in await asyncio.gather(*pressed)]) == [401] * 5 + [429] * 7


async def test_a_known_device_is_not_slowed_by_guessers(scene: Scene) -> None:
    device = scene.world.browser("203.0.113.77")
    assert (await types(scene, device, **typed(scene))).status == 200
    assert "grantlog-device" in device.cookies
    device.client.cookies.delete("grantlog-session-platform")
    moved = scene.world.browser("203.0.113.200")
    moved.client.cookies.update({"grantlog-device": device.cookies["grantlog-device"]})
    stranger = scene.world.browser("203.0.113.200")
    await guess(scene, scene.person.username, 24)
    assert (await types(scene, stranger, **typed(scene))).status == 429
    # What it fails at itself counts, and its cookie is for that name alone.
    found = [(await types(scene, moved, scene.person.username, "a wrong guess")).status for _ in range(7)]
    assert found == [401] * 5 + [429] * 2
    assert (await types(scene, device, **typed(scene))).status == 429
    other = await scene.world.register_person("eve")
    await guess(scene, other.username, 24, "198.51.101")
    assert (await types(scene, moved, other.username, other.password)).status == 429
    scene.world.clock.advance(900)
    assert (await types(scene, moved, **typed(scene))).status == 200


async def test_a_known_device_ends_with_the_password(scene: Scene) -> None:
    device = scene.world.browser("203.0.113.77")
    assert (await types(scene, device, **typed(scene))).status == 200
    admin = await administering(scene.world)
    ok(
        await admin.post(f"/admin/people/{scene.person.account_id}/password", json={"password": scene.person.password}),
        204,
    )
    device.client.cookies.delete("grantlog-session-platform")
    await guess(scene, scene.person.username, 24)
    moved = scene.world.browser("203.0.113.200")
    moved.client.cookies.update({"grantlog-device": device.cookies["grantlog-device"]})
    assert (await types(scene, moved, **typed(scene))).status == 429


@pytest.mark.parametrize("named", ["username", "email"])
async def test_a_success_clears_ones_own_failures_under_each_name(scene: Scene, named: str) -> None:
    browser, name = scene.world.browser(), getattr(scene.person, named)
    for _ in range(3):
        for _ in range(4):
            assert (await types(scene, browser, scene.person.username, "misremembered")).status == 401
        assert (await types(scene, scene.world.browser(), name, scene.person.password)).status == 200


async def test_guessing_from_many_addresses_is_slow_but_home_gets_in(scene: Scene) -> None:
    assert (await types(scene, scene.world.browser(), **typed(scene))).status == 200
    assert await guess(scene, scene.person.username, 24) == [401] * 20 + [429] * 4
    for _ in range(3):
        assert (await types(scene, scene.world.browser(), **typed(scene))).status == 200
    # From elsewhere they have to wait like everybody, and no longer.
    elsewhere = scene.world.browser("203.0.113.9")
    slowed = await types(scene, elsewhere, **typed(scene))
    assert slowed.status == 429
    scene.world.clock.advance(int(slowed.answer.headers["retry-after"]))
    assert (await types(scene, elsewhere, **typed(scene))).status == 200
    # Once they were there, they are at home there. What was free then, since they were right, is free no more.
    assert await guess(scene, scene.person.username, 3, "198.18.0") == [401, 429, 429]
    assert (await types(scene, scene.world.browser("203.0.113.9"), **typed(scene))).status == 200


async def test_a_name_that_nobody_has_is_slowed_alike(scene: Scene) -> None:
    assert await guess(scene, "nobody", 24) == [401] * 20 + [429] * 4
    # Whoever stands in for them in what is looked up is at home, and they are not.
    assert (await types(scene, scene.world.browser(), **typed(scene))).status == 200
    assert (await types(scene, scene.world.browser(), "nobody", "a wrong guess")).status == 429


async def test_home_is_known_from_the_log_after_a_restart(scene: Scene, tmp_path: Path) -> None:
    assert (await types(scene, scene.world.browser(), **typed(scene))).status == 200
    await scene.world.services.follower.follow()
    await guess(scene, scene.person.username, 24)
    forget_homes(tmp_path)
    assert not scene.world.services.throttle.is_at_home("platform", scene.person.username, ADDRESS)
    assert (await types(scene, scene.world.browser(), **typed(scene))).status == 200
    assert (await types(scene, scene.world.browser("203.0.113.9"), **typed(scene))).status == 429


def forget_homes(directory: Path) -> None:
    """What is at home is gone from the file, and nothing else."""
    file = ThrottleFile(directory / FILE, SECTIONS)
    start, places = file._starts["at_home"]
    end = start + places * 8 * 32
    file._memory[start:end] = bytes(end - start)
    file.close()


def typed(scene: Scene) -> dict[str, str]:
    return {"name": scene.person.username, "password": scene.person.password}


async def test_who_has_to_wait_is_told_how_long_in_words_and_numbers(scene: Scene) -> None:
    browser = scene.world.browser("198.51.100.1")
    for _ in range(5):
        page = await types(scene, browser, scene.person.username, "wrong")
    page = await types(scene, browser, scene.person.username, "wrong")
    assert (page.status, page.answer.headers["retry-after"]) == (429, "1")
    assert "Wait 1 second before" in page.text
    scene.world.clock.advance(1)
    await types(scene, browser, scene.person.username, "wrong")
    page = await types(scene, browser, scene.person.username, "wrong")
    assert "Wait 2 seconds before" in page.text
