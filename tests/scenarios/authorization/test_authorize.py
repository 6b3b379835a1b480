"""The authorization endpoint over HTTP: what the browser is answered, and which facts that leaves."""

from urllib.parse import urlsplit

import pytest

from domain import client, role
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.asking import APPROVE, AUTHORIZE, CONSENT, DENY, SIGN_IN, SIGN_OUT, STATE, Scene, error_of

LOOPBACK = "http://127.0.0.1/callback"


async def test_person_signs_in_consents_and_the_client_gets_tokens(scene: Scene) -> None:
    world, browser = scene.world, scene.world.browser()
    before = await world.head()
    page = await browser.open(scene.address(scope="orders"))
    assert page.status == 200
    page = await browser.press(page, SIGN_IN, username=scene.person.username, password=scene.person.password)
    assert "May orders" in page.text
    assert "May catalog:read" not in page.text
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.location.startswith(scene.shop.redirect_uri + "?")
    assert page.parameters.keys() == {"code", "state", "iss"}
    assert page.parameters["state"] == STATE
    assert page.parameters["iss"] == world.settings.issuer
    answer = await scene.redeem(page)
    assert answer["scope"] == "orders"
    started, given, issued, *_ = await world.events(after=before)
    assert [each.type for each in (started, given, issued)] == ["session.started", "consent.given", "grant.code_issued"]
    assert given.event.scope == ("orders",)
    assert issued.event.session_id == started.stream.removeprefix("session:")
    for each in (started, given, issued):
        assert (each.actor.kind, each.actor.id) == ("person", scene.person.account_id)
        assert each.actor.credential == {"session_id": issued.event.session_id}
    assert page.parameters["code"] not in str(issued)


async def test_an_email_address_signs_in_too(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    page = await browser.press(page, SIGN_IN, username=scene.person.email.upper(), password=scene.person.password)
    assert page.form(CONSENT).buttons == [APPROVE, DENY]


async def test_a_confidential_client_may_have_been_let_off_pkce(scene: Scene) -> None:
    older = await scene.world.register_client("Older", require_pkce=False)
    browser = await scene.signed_in()
    address = scene.address(older, code_challenge=None, code_challenge_method=None)
    page = await scene.approved(browser, address)
    refused = await scene.redeem(page, older)
    assert refused["error"] == "invalid_grant"


STATES = [
    "plain",
    "a%20b",
    "a+b",
    "a%2Bb",
    "%c3%a9",
    "%C3%A9%f0%9f%8d%89",
    "a%2fb%2Fc/d?e=f",
    "-._~!$'()*,;:@%23%26",
    "%22%3Cscript%3E",
    "=",
    "x" * 4096,
    "%25%32%35",
]


@cases("state", STATES, ids=lambda state: state[:20])
async def test_state_comes_back_octet_by_octet(scene: Scene, state: str) -> None:
    browser = scene.world.browser()
    address = scene.address(state=None) + "&state=" + state
    page = await browser.open(address)
    page = await browser.press(page, SIGN_IN, username=scene.person.username, password=scene.person.password)
    page = await browser.press(page, CONSENT, DENY)
    (found,) = [part for part in urlsplit(page.location).query.split("&") if part.startswith("state=")]
    assert found == f"state={state}"
    assert "<script>" not in page.text


@cases("state", ["a%0d%0aSet-Cookie:%20x=y", "%00", "%ff", "%zz", "%7f"])
async def test_a_state_that_is_no_text_is_answered_by_a_page(scene: Scene, state: str) -> None:
    page = await (await scene.signed_in()).open(scene.address(state=None) + "&state=" + state)
    assert (page.status, "location" in page.answer.headers) == (400, False)


async def test_a_query_beyond_the_limit_is_answered_by_a_page(scene: Scene) -> None:
    page = await (await scene.signed_in()).open(scene.address(state="x" * 9000))
    assert (page.status, "location" in page.answer.headers) == (414, False)


async def test_without_state_none_comes_back(scene: Scene) -> None:
    page = await scene.approved(await scene.signed_in(), scene.address(state=None))
    assert page.parameters.keys() == {"code", "iss"}


async def test_the_redirect_uri_keeps_its_own_query(scene: Scene) -> None:
    asking = await scene.world.register_client(redirect_uris=("https://q.example/cb?shop=1&x=%20",))
    page = await scene.approved(await scene.signed_in(), scene.address(asking))
    assert page.location.startswith("https://q.example/cb?shop=1&x=%20&code=")


async def test_redirect_uri_may_be_omitted_only_if_it_is_the_only_one(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.address(redirect_uri=None))
    assert page.location.startswith(scene.shop.redirect_uri)
    (issued,) = await scene.world.events("grant.code_issued")
    assert issued.event.redirect_uri_given is False
    two = await scene.world.register_client(redirect_uris=("https://a.example/", "https://b.example/"))
    assert (await browser.open(scene.address(two, redirect_uri=None))).status == 400
    assert (await browser.open(scene.address(two, redirect_uri=""))).status == 400


async def test_consent_is_per_origin_and_another_origin_asks_again(scene: Scene) -> None:
    elsewhere = "https://elsewhere.example/callback"
    browser = await scene.signed_in()
    await scene.approved(browser, scene.address())
    assert (await browser.open(scene.address())).parameters.keys() == {"code", "state", "iss"}
    changes = client.Attributes(redirect_uris=(scene.shop.redirect_uri, elsewhere))
    await scene.world.execute(scene.world.changing(scene.shop.client_id, changes))
    page = await browser.open(scene.address(redirect_uri=elsewhere))
    assert page.form(CONSENT).buttons == [APPROVE, DENY]
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.location.startswith(elsewhere)
    (extended,) = await scene.world.events("consent.extended")
    assert (extended.event.added, extended.event.origins) == ((), ("https://shop.example", "https://elsewhere.example"))
    for uri in (scene.shop.redirect_uri, elsewhere):
        assert (await browser.open(scene.address(redirect_uri=uri))).parameters.keys() == {"code", "state", "iss"}


async def test_consent_is_remembered_and_more_is_asked_for_anew(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser, scene.address(scope="orders"))
    before = await scene.world.head()
    page = await browser.open(scene.address(scope="orders"))
    assert page.parameters["state"] == STATE
    assert await scene.world.types_after(before) == ["grant.code_issued"]
    page = await browser.open(scene.address(scope="orders catalog:read"))
    assert "already allowed" in page.text
    await browser.press(page, CONSENT, APPROVE)
    (extended,) = await scene.world.events("consent.extended")
    assert extended.event.added == ("catalog:read",)


async def test_head_gets_no_code_whatever_was_allowed_before(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser)
    before = await scene.world.head()
    answer = await browser.client.head(scene.address())
    assert (answer.status_code, answer.content) == (200, b"")
    assert "location" not in answer.headers
    refused = await browser.client.head(scene.address(scope="unheard:of"))
    assert refused.headers["location"].startswith(f"{scene.shop.redirect_uri}?error=invalid_scope")
    assert (await scene.world.client.head(scene.address())).status_code == 200
    assert await scene.world.types_after(before) == []


@pytest.mark.parametrize("uri", [LOOPBACK, "http://[::1]/callback", "com.example.shop:/callback"])
async def test_a_public_client_on_the_device_is_asked_about_each_time(scene: Scene, uri: str) -> None:
    app = await scene.world.register_client("App", public=True, redirect_uris=(uri,))
    browser = await scene.signed_in()
    for _ in range(2):
        page = await scene.approved(browser, scene.address(app))
        assert page.location.startswith(uri)
    assert (await scene.redeem(page, app))["token_type"] == "Bearer"


async def test_a_public_client_on_https_is_remembered(scene: Scene) -> None:
    app = await scene.world.register_client("Page", public=True, redirect_uris=("https://page.example/",))
    browser = await scene.signed_in()
    await scene.approved(browser, scene.address(app))
    assert "code" in (await browser.open(scene.address(app))).parameters


async def test_the_port_of_a_loopback_address_is_free(scene: Scene) -> None:
    app = await scene.world.register_client("App", public=True, redirect_uris=(LOOPBACK,))
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.address(app, redirect_uri="http://127.0.0.1:51004/callback"))
    assert page.location.startswith("http://127.0.0.1:51004/callback?code=")
    for other in ("http://127.0.0.1:51004/other", "http://localhost:51004/callback", "http://127.0.0.1:0/callback"):
        assert (await browser.open(scene.address(app, redirect_uri=other))).status == 400


async def test_what_the_roles_do_not_allow_is_left_out(scene: Scene) -> None:
    guest_scopes = ("orders",)
    await scene.world.define_role("platform", "guest", *guest_scopes)
    guest = await scene.world.register_person("gustav", roles_of=("guest",))
    browser = await scene.signed_in(guest)
    page = await browser.open(scene.address())
    assert "May catalog:read" not in page.text
    page = await browser.press(page, CONSENT, APPROVE)
    assert (await scene.redeem(page))["scope"] == "orders"
    page = await browser.open(scene.address(scope="catalog:read"))
    assert error_of(page) == ("invalid_scope", STATE)


async def test_an_approval_is_of_what_was_shown(scene: Scene) -> None:
    await scene.world.define_role("platform", "guest", "orders")
    guest = await scene.world.register_person("gustav", roles_of=("guest",))
    browser = await scene.signed_in(guest)
    shown = await browser.open(scene.address())
    definition = {"realm": "platform", "name": "guest", "scopes": ("orders", "catalog:read")}
    grown = {"caller_scope": ADMINISTRATIVE_SCOPES, "known_scopes": frozenset(definition["scopes"])}
    await scene.world.execute(any_command(role.stream("platform", "guest"), role.put, definition | grown))
    before = await scene.world.head()
    page = await browser.press(shown, CONSENT, APPROVE)
    assert page.status == 403
    assert "May catalog:read" in page.text
    assert await scene.world.head() == before
    assert "code" in (await browser.press(page, CONSENT, APPROVE)).parameters


async def test_denying_is_a_fact_and_repetitions_are_counted(scene: Scene) -> None:
    browser = await scene.signed_in()
    for _ in range(3):
        page = await browser.open(scene.address())
        page = await browser.press(page, CONSENT, DENY)
        assert error_of(page) == ("access_denied", STATE)
        assert page.parameters["iss"] == scene.world.settings.issuer
    await scene.world.services.repeated_facts.close_elapsed(everything=True)
    denied = await scene.world.events("consent.denied")
    assert [each.event.count for each in denied] == [1, 2]
    assert denied[0].actor.id == scene.person.account_id
    assert await scene.world.events("grant.*") == ()


async def test_a_decision_is_one_of_two(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    before = await scene.world.head()
    for button in (None, ("decision", ""), ("decision", "Approve")):
        assert (await browser.press(page, CONSENT, button)).status == 400
    assert await scene.world.head() == before


async def test_not_you_leads_back_to_the_same_request(scene: Scene) -> None:
    other = await scene.world.register_person("paula")
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    page = await browser.press(page, SIGN_OUT)
    assert scene.person.username not in page.text
    page = await browser.press(page, SIGN_IN, username=other.username, password=other.password)
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.parameters["state"] == STATE
    (given,) = await scene.world.events("consent.given")
    assert given.stream == f"consent:{other.account_id}:{scene.shop.client_id}"


async def test_every_page_carries_its_headers(scene: Scene) -> None:
    browser = scene.world.browser()
    pages = [await browser.open(scene.address())]
    pages.append(await browser.press(pages[0], SIGN_IN, username=scene.person.username, password=scene.person.password))
    pages.append(await browser.press(pages[1], CONSENT, DENY))
    for page in pages:
        headers = page.answer.headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert "unsafe-inline" not in headers["content-security-policy"]
    for page in pages[:2]:
        assert "form-action 'self' https://shop.example;" in page.answer.headers["content-security-policy"]


async def test_an_application_cannot_write_into_the_page(scene: Scene) -> None:
    rogue = await scene.world.register_client('<b onclick="x">Rogue</b>')
    browser = scene.world.browser()
    page = await browser.open(scene.address(rogue, state='"><script>x</script>'))
    for text in (page.text, (await (await scene.signed_in()).open(scene.address(rogue))).text):
        assert "<b onclick" not in text
        assert "<script" not in text


async def test_other_methods_are_refused(scene: Scene) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await scene.world.client.request(method, AUTHORIZE)
        assert answer.status_code == 405
    assert (await scene.world.client.get(CONSENT)).status_code == 405
