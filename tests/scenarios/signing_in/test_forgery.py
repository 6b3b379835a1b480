"""What other sites and other people cannot make a browser do."""

from tests.cases import cases
from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, SIGN_OUT, Scene
from tests.scenarios.browser import Browser, Form

COOKIE = "grantlog-session-platform"
FORM_COOKIE = "grantlog-form"


async def post(browser: Browser, form: Form, headers: dict[str, str], **typed: str) -> int:
    answer = await browser.client.post(form.action, data={**form.fields, **typed}, headers=headers)
    assert "location" not in answer.headers or answer.status_code == 303
    return answer.status_code


FOREIGN: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8400"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:8401"},
    {"origin": "https://127.0.0.1:8400"},
    {"origin": "http://127.0.0.1:8400.evil.example"},
]


@cases("headers", FOREIGN, ids=str)
async def test_forms_posted_from_elsewhere_do_nothing(scene: Scene, headers: dict[str, str]) -> None:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    before = await scene.world.head()
    assert await post(browser, page.form(SIGN_IN), headers, **scene.person.typed) == 403
    assert await scene.world.head() == before
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    before = await scene.world.head()
    assert await post(browser, page.form(CONSENT), headers, decision="approve") == 403
    assert await post(browser, page.form(SIGN_OUT), headers) == 403
    grants = await browser.open("/account/grants")
    assert await post(browser, grants.form("/account/sign-out"), headers) == 403
    assert await scene.world.head() == before


@cases("headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}], ids=str)
async def test_browsers_that_say_less_may_post_our_forms(scene: Scene, headers: dict[str, str]) -> None:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    assert await post(browser, page.form(SIGN_IN), headers, **scene.person.typed) == 303


async def test_a_form_without_its_token_does_nothing(scene: Scene) -> None:
    attacker = await scene.signed_in(await scene.world.register_person("mallory"))
    theirs = (await attacker.open(scene.address())).form(CONSENT).fields["csrf"]
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    account_page = await browser.open("/account")
    before = await scene.world.head()
    other = await scene.world.register_client("Other", redirect_uris=("https://other.example/",))
    other_page = await browser.open(scene.address(other))
    for token in (
        "",
        "x",
        theirs,
        account_page.form("/account/sign-out").fields["csrf"],
        "é",
        other_page.form(CONSENT).fields["csrf"],
    ):
        refused = await browser.press(page, CONSENT, APPROVE, csrf=token)
        assert refused.status == 403
        refused = await browser.press(page, SIGN_OUT, csrf=token)
        assert refused.status == 403
        if token != account_page.form("/account/sign-out").fields["csrf"]:
            assert (await browser.press(account_page, "/account/sign-out", csrf=token)).status == 403
    types = await scene.world.types_after(before)
    assert not {"consent.given", "grant.code_issued", "session.ended"} & set(types)


async def test_a_sign_in_needs_the_browsers_own_token(scene: Scene) -> None:
    """Else a page of somebody else's could sign a person in to an account that is not theirs."""
    attacker = scene.world.browser()
    theirs = (await attacker.open(scene.address())).form(SIGN_IN)
    victim = scene.world.browser()
    await victim.open(scene.address())
    assert await post(victim, theirs, {}, **scene.person.typed) == 403
    without_cookie = scene.world.browser()
    assert await post(without_cookie, theirs, {}, **scene.person.typed) == 403
    assert COOKIE not in victim.cookies
    assert await scene.world.events("session.*") == ()


async def test_a_sign_in_makes_former_tokens_worthless(scene: Scene) -> None:
    browser = scene.world.browser()
    first = await browser.open(scene.address())
    kept = dict(browser.cookies)
    page = await browser.press(first, SIGN_IN, **scene.person.typed)
    assert FORM_COOKIE not in browser.cookies
    token = first.form(SIGN_IN).fields["csrf"]
    assert (await browser.press(page, CONSENT, APPROVE, csrf=token)).status == 403
    assert kept[FORM_COOKIE] not in str(browser.cookies)


async def test_a_planted_session_is_not_taken_over(scene: Scene) -> None:
    """Session fixation: who signs in gets a secret that nobody can have known before."""
    attacker = await scene.signed_in(await scene.world.register_person("mallory"))
    planted = attacker.cookies[COOKIE]
    browser = scene.world.browser()
    browser.client.cookies.set(COOKIE, planted, domain="127.0.0.1")
    page = await browser.open(scene.address())
    page = await browser.press(page, SIGN_OUT)
    browser.client.cookies.set(COOKIE, planted, domain="127.0.0.1")
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert page.form(CONSENT) is not None
    assert planted not in browser.cookies.values()


async def test_signing_in_as_somebody_else_ends_the_session_before(scene: Scene) -> None:
    other = await scene.world.register_person("paula")
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    first = await browser.press(page, SIGN_IN, **scene.person.typed)
    old = browser.cookies[COOKIE]
    # A second tab that had been opened before; its form is stale and comes back with a fresh token.
    again = await browser.press(page, SIGN_IN, username=other.username, password=other.password)
    assert again.status == 403
    again = await browser.press(again, SIGN_IN, username=other.username, password=other.password)
    assert other.username in again.text
    started = await scene.world.events("session.started")
    (ended,) = await scene.world.events("session.ended")
    assert (ended.stream, ended.event.reason) == (started[0].stream, "replaced")
    assert (await browser.press(first, CONSENT, APPROVE)).status == 403
    browser.client.cookies.set(COOKIE, old, domain="127.0.0.1")
    thief = scene.world.browser()
    thief.client.cookies.set(COOKIE, old, domain="127.0.0.1")
    assert (await thief.open(scene.address())).form(SIGN_IN).fields["password"] == ""
