"""Authorization requests that are refused: by a page where nobody may be redirected, else back at the application."""

import pytest

from domain import client
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.asking import APPROVE, AUTHORIZE, CONSENT, DENY, SIGN_IN, SIGN_OUT, STATE, Scene, error_of

FORM = "application/x-www-form-urlencoded"

STRANGERS: list[dict[str, str | None]] = [
    {"client_id": None},
    {"client_id": "unknown"},
    {"client_id": "x" * 1000},
    {"client_id": "né"},
    {"client_id": "client:other"},
    {"redirect_uri": "https://shop.example/callback/"},
    {"redirect_uri": "https://shop.example/callback?"},
    {"redirect_uri": "https://shop.example/callback#"},
    {"redirect_uri": "https://shop.example/callbac"},
    {"redirect_uri": "https://SHOP.example/callback"},
    {"redirect_uri": "HTTPS://shop.example/callback"},
    {"redirect_uri": "http://shop.example/callback"},
    {"redirect_uri": "https://shop.example:443/callback"},
    {"redirect_uri": "https://shop.example:8443/callback"},
    {"redirect_uri": "https://shop.example@evil.example/callback"},
    {"redirect_uri": "https://evil.example/callback"},
    {"redirect_uri": "https://shop.example.evil.example/callback"},
    {"redirect_uri": "https://shop.example/callback/../evil"},
    {"redirect_uri": "https://shop.example%2fcallback"},
    {"redirect_uri": "https://sh\u043ep.example/callback"},
    {"redirect_uri": "https://shop.example\\@evil.example/callback"},
    {"redirect_uri": "//shop.example/callback"},
    {"redirect_uri": "/callback"},
    {"redirect_uri": "javascript:alert(1)"},
    {"redirect_uri": " https://shop.example/callback"},
]


async def test_nobody_is_redirected_for_an_unknown_client_or_address(scene: Scene) -> None:
    signed_in, stranger = await scene.signed_in(), scene.world.browser()
    before = await scene.world.head()
    for changes in STRANGERS:
        for visitor in (signed_in, stranger):
            page = await visitor.open(scene.address(**changes))
            assert (page.status, "location" in page.answer.headers) == (400, False), changes
            assert page.answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "frame-ancestors 'none'" in page.answer.headers["content-security-policy"]
            assert "evil.example" not in page.text
    assert await scene.world.head() == before


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_doubled_client_or_address_is_answered_by_a_page(scene: Scene, name: str) -> None:
    browser = await scene.signed_in()
    for value in (getattr(scene.shop, name), "https://evil.example/", ""):
        page = await browser.open(f"{scene.address()}&{name}={value}")
        assert (page.status, "location" in page.answer.headers) == (400, False)


async def test_a_disabled_or_deleted_client_is_answered_by_a_page(scene: Scene) -> None:
    browser, stream = await scene.signed_in(), client.stream(scene.shop.client_id)
    asked = await browser.open(scene.address())
    await scene.world.execute(any_command(stream, client.disable))
    before = await scene.world.head()
    assert (await browser.open(scene.address())).status == 400
    assert (await browser.press(asked, CONSENT, APPROVE)).status == 400
    assert await scene.world.head() == before
    await scene.world.execute(any_command(stream, client.delete))
    assert (await browser.open(scene.address())).status == 400


ERRORS = [
    ({"response_type": None}, "", "invalid_request"),
    ({"response_type": ""}, "", "invalid_request"),
    ({"response_type": "token"}, "", "unsupported_response_type"),
    ({"response_type": "code token"}, "", "unsupported_response_type"),
    ({"response_mode": "fragment"}, "", "invalid_request"),
    ({"request": "ey.ey."}, "", "request_not_supported"),
    ({"request_uri": "https://shop.example/r"}, "", "request_uri_not_supported"),
    ({"code_challenge": None, "code_challenge_method": None}, "", "invalid_request"),
    ({"code_challenge": None}, "", "invalid_request"),
    ({"code_challenge_method": None}, "", "invalid_request"),
    ({"code_challenge_method": "plain"}, "", "invalid_request"),
    ({"code_challenge_method": "s256"}, "", "invalid_request"),
    ({"code_challenge": "short"}, "", "invalid_request"),
    ({"code_challenge": "x" * 44}, "", "invalid_request"),
    ({"scope": "nothing:known"}, "", "invalid_scope"),
    ({"scope": "  "}, "", "invalid_scope"),
    ({"scope": "orders people:read"}, "", "invalid_scope"),
    ({"scope": " ".join(f"s{number}" for number in range(500))}, "", "invalid_scope"),
    ({}, "&scope=orders&scope=orders", "invalid_request"),
    ({}, "&nonce=1&nonce=2", "invalid_request"),
    ({}, "&response_type=code", "invalid_request"),
]


@cases(("changes", "added", "error"), ERRORS)
async def test_every_other_error_goes_back_but_only_after_the_sign_in(
    scene: Scene, changes: dict[str, str | None], added: str, error: str
) -> None:
    await scene.world.define_scopes("people:read")
    browser, address = scene.world.browser(), scene.address(**changes) + added
    page = await browser.open(address)
    assert page.status == 200
    # Who is asked for a password knows beforehand that it is in vain.
    assert "is faulty and will be refused" in page.text
    before = await scene.world.head()
    page = await browser.press(page, SIGN_IN, username=scene.person.username, password=scene.person.password)
    assert page.location.startswith(scene.shop.redirect_uri + "?")
    assert error_of(page) == (error, STATE)
    assert page.parameters["iss"] == scene.world.settings.issuer
    assert page.parameters.keys() <= {"error", "error_description", "state", "iss"}
    assert await scene.world.types_after(before) == ["session.started"]


async def test_error_redirects_at_once_where_a_session_exists(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser, scene.address())
    before = await scene.world.head()
    page = await browser.open(scene.address(scope="nothing:known"))
    assert page.location.startswith(scene.shop.redirect_uri + "?")
    assert error_of(page) == ("invalid_scope", STATE)
    assert await scene.world.head() == before
    assert "is faulty" not in (await scene.world.browser().open(scene.address())).text


async def test_a_doubled_state_is_not_given_back(scene: Scene) -> None:
    page = await (await scene.signed_in()).open(scene.address() + "&state=other")
    assert error_of(page) == ("invalid_request", None)


async def test_resource_may_be_repeated(scene: Scene) -> None:
    """RFC 8707 §2; of a client that may ask for none, each is refused."""
    asking = await scene.world.register_client(resources=("https://a.example", "https://b.example"))
    named = "&resource=https://a.example&resource=https://b.example"
    page = await (await scene.signed_in()).open(scene.address(asking) + named)
    assert page.form(CONSENT).buttons == [APPROVE, DENY]
    page = await (await scene.signed_in()).open(scene.address() + named)
    assert error_of(page) == ("invalid_target", STATE)


async def test_a_client_without_the_grant_is_told_so(scene: Scene) -> None:
    asking = await scene.world.register_client(
        grant_types=("client_credentials",), redirect_uris=("https://other.example/callback",)
    )
    page = await (await scene.signed_in()).open(scene.address(asking))
    assert error_of(page) == ("unauthorized_client", STATE)


BODIES = [
    (415, "application/json", b'{"username": "paul", "password": "x", "csrf": "x", "decision": "approve"}'),
    (415, "multipart/form-data; boundary=x", b"--x--"),
    (415, "text/plain", b"csrf=x"),
    (400, FORM, b"csrf=x&csrf=x"),
    (400, FORM, b"csrf=%00"),
    (400, FORM, b"csrf=%ff"),
    (400, FORM, b"csrf=%zz"),
    (400, FORM, b"a=1&" * 200),
    (413, FORM, b"csrf=" + b"x" * 70_000),
    (400, FORM, b""),
]


@cases("path", [SIGN_IN, CONSENT, SIGN_OUT])
async def test_bodies_that_are_no_form_of_ours_are_refused(scene: Scene, path: str) -> None:
    browser = await scene.signed_in()
    before = await scene.world.head()
    address = scene.address().replace(AUTHORIZE, path)
    for status, content_type, body in BODIES:
        answer = await browser.client.post(address, content=body, headers={"content-type": content_type})
        assert answer.status_code == status, body[:40]
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert await scene.world.head() == before
