"""In which language pages come: what the application asks for, else what the browser prefers, else English."""

from tests.scenarios.asking import Scene
from tests.scenarios.authorization.test_pushed_requests import push
from tests.scenarios.browser import Page


def spoken(page: Page) -> str:
    """The language of a page, which says so twice."""
    code = page.answer.headers["content-language"]
    assert f'<html lang="{code}">' in page.text
    return str(code)


async def test_application_and_browser_ask_for_languages(scene: Scene) -> None:
    browser = scene.world.browser()
    browser.client.headers["accept-language"] = "de-DE,de;q=0.9"
    assert spoken(await browser.open(scene.address())) == "de"
    page = await browser.open(scene.address(ui_locales="fr en"))
    assert spoken(page) == "en"
    page = await browser.press(page, "/oauth/authorize/sign-in", username="nobody", password="wrong")
    assert (page.status, spoken(page)) == (401, "en")
    page = await browser.press(page, "/oauth/authorize/sign-in", username=scene.person.username, password="")
    assert (page.status, spoken(page)) == (400, "en")


async def test_language_of_a_pushed_request_is_that_of_its_pages(scene: Scene) -> None:
    uri = (await push(scene, ui_locales="de")).json()["request_uri"]
    page = await scene.world.browser().open(f"/oauth/authorize?client_id={scene.shop.client_id}&request_uri={uri}")
    assert spoken(page) == "de"


async def test_pages_refuse_in_the_language_and_programs_in_english(scene: Scene) -> None:
    browser = scene.world.browser()
    browser.client.headers["accept-language"] = "de"
    page = await browser.open("/oauth/authorize?client_id=nobody")
    assert (page.status, spoken(page)) == (400, "de")
    assert "ist diesem Server nicht bekannt" in page.text
    problem = await browser.client.get("/admin/clients")
    assert problem.json()["detail"] == "A valid access token is needed."


async def test_metadata_names_the_languages(scene: Scene) -> None:
    answer = await scene.world.client.get("/.well-known/openid-configuration")
    assert answer.json()["ui_locales_supported"] == ["en", "de"]
