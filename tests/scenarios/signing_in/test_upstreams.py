"""Signing in at another OpenID provider: there and back, linked by a question or by an administrator."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from api.letters.noticing import NoticeWriter
from api.upstreams.flow import RequestTooLong, SignInPlace, begin, find
from security.keyring import Keyring
from tests.scenarios.account.test_recovery import NEW, NEW_PASSWORD, mailed
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, Scene, set_scene
from tests.scenarios.browser import Browser, Page
from tests.scenarios.factors import SIGN_IN as ACCOUNT_SIGN_IN
from tests.scenarios.factors import enrol
from tests.scenarios.letters import delivered
from tests.scenarios.signing_in.upstreams import CALLBACK, CORP, ONE, Provider, provider_beside
from tests.scenarios.world import PASSWORD, World

LINK = "/account/upstream/link"


@pytest.fixture
async def scene(world: World) -> Scene:
    """Their person's address is verified."""
    scene = await set_scene(world)
    admin = await administering(world)
    ok(await admin.patch(f"/admin/people/{scene.person.account_id}", json={"email_verified": True}))
    return scene


@pytest.fixture
async def corp(
    scene: Scene, sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Provider]:
    """The other server, where somebody of the same address has another id."""
    async with provider_beside(scene, sqlite_url, tmp_path, keyring) as provider:
        monkeypatch.setattr(scene.world.services.outgoing, "send", provider.send)
        yield provider


def link_question(page: Page) -> bool:
    return ("decision", "link") in [button for form in page.forms for button in form.buttons]


async def linked(scene: Scene, corp: Provider, browser: Browser | None = None) -> Page:
    """The consent page of the shop, after a sign-in there and the answer yes."""
    browser = browser or scene.world.browser()
    page = await corp.around(browser, scene.address(), SIGN_IN)
    assert link_question(page), page.text
    return await browser.press(page, LINK, ("decision", "link"))


async def test_verified_address_links_after_a_question(scene: Scene, corp: Provider) -> None:
    world, browser = scene.world, scene.world.browser()
    assert (await corp.configure())["redirect_uri"] == world.settings.issuer + CALLBACK
    before = await world.head()
    page = await corp.around(browser, scene.address(), SIGN_IN)
    assert await world.types_after(before) == []
    assert link_question(page)
    assert scene.person.email in page.text
    page = await browser.press(page, LINK, ("decision", "link"))
    assert APPROVE in page.form(CONSENT).buttons, page.text
    made, verified, started = await world.events(after=before)
    assert [made.type, verified.type] == ["account.upstream_linked", "account.upstream_verified"]
    assert made.event.sub != corp.person.account_id
    assert (started.type, started.event.amr, started.actor.id) == ("session.started", ("fed",), scene.person.account_id)
    code = await browser.press(page, CONSENT, APPROVE)
    assert (await scene.redeem(code))["scope"] == "orders catalog:read"
    # The next time nobody is asked.
    other = world.browser()
    page = await corp.around(other, "/account/sign-in", ACCOUNT_SIGN_IN)
    assert (page.status, "Signed in as" in page.text) == (200, True)


async def test_nothing_of_the_provider_is_kept(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    browser = scene.world.browser()
    url = await corp.leave(browser, await browser.open(scene.address()), SIGN_IN)
    asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    assert (asked["code_challenge_method"], len(asked["code_challenge"]), len(asked["nonce"])) == ("S256", 43, 43)
    back = await corp.sign_in(url)
    await browser.press(await browser.open(back), LINK, ("decision", "link"))
    issued = (await corp.world.events("grant.tokens_issued"))[-1]
    assert ("GET", "/oauth/userinfo") in corp.asked
    log = msgspec.json.encode([msgspec.to_builtins(each.event) for each in await scene.world.events()]).decode()
    assert issued.event.access_token not in log
    assert corp.client.secret is not None
    assert corp.client.secret not in log
    # A way back is good once, and in the browser alone that left.
    for again in (browser, scene.world.browser()):
        assert (await again.open(back)).status == 403


async def test_second_factor_is_asked_for_all_the_same(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    generator = await enrol(scene.world, scene.person)
    browser = scene.world.browser()
    page = await linked(scene, corp, browser)
    assert "code" in page.form(SIGN_IN).fields
    assert await scene.world.events("account.upstream_linked") == ()
    page = await browser.press(page, SIGN_IN, code=generator.code())
    assert APPROVE in page.form(CONSENT).buttons
    started = (await scene.world.events("session.started"))[-1]
    assert started.event.amr == ("fed", "otp", "mfa")
    assert len(await scene.world.events("account.upstream_linked")) == 1


@pytest.mark.parametrize(
    "case", ["unverified here", "unverified there", "by administrators alone", "left", "removed meanwhile"]
)
async def test_nobody_is_linked_otherwise(scene: Scene, corp: Provider, case: str) -> None:
    world, browser, admin = scene.world, scene.world.browser(), await administering(scene.world)
    await corp.configure(linking="administrator" if case == "by administrators alone" else "verified_address")
    if case == "unverified here":
        ok(await admin.patch(f"/admin/people/{scene.person.account_id}", json={"email_verified": False}))
    if case == "unverified there":
        theirs = await administering(corp.world)
        ok(await theirs.patch(f"/admin/people/{corp.person.account_id}", json={"email_verified": False}))
    page = await corp.around(browser, scene.address(), SIGN_IN)
    if case in ("left", "removed meanwhile"):
        assert link_question(page)
        if case == "removed meanwhile":
            ok(await admin.delete(ONE), 204)
        page = await browser.press(page, LINK, ("decision", "leave" if case == "left" else "link"))
    assert "password" in page.text
    assert await world.events("account.upstream_linked") == ()
    assert await world.events("session.started") == ()


async def test_administrator_links_and_unlinks(scene: Scene, corp: Provider) -> None:
    await corp.configure(linking="administrator")
    admin = await administering(scene.world)
    links = f"/admin/people/{scene.person.account_id}/upstreams"
    sub = corp.person.account_id
    told = ok(await admin.put(f"{links}/corp", json={"sub": sub}))
    assert (told["issuer"], told["sub"]) == (CORP, sub)
    assert ok(await admin.get(links))["items"] == [told]
    other = await scene.world.register_person("petra")
    taken = await admin.put(f"/admin/people/{other.account_id}/upstreams/corp", json={"sub": sub})
    problem(taken, 409)
    # Names there are told apart by the case of their letters.
    swapped = {"sub": sub.swapcase()}
    ok(await admin.put(f"/admin/people/{other.account_id}/upstreams/corp", json=swapped))
    page = await corp.around(scene.world.browser(), scene.address(), SIGN_IN)
    assert APPROVE in page.form(CONSENT).buttons
    assert (await scene.world.events("session.started"))[-1].actor.id == scene.person.account_id
    ok(await admin.delete(f"{links}/corp"), 204)
    problem(await admin.delete(f"{links}/corp"), 404)
    page = await corp.around(scene.world.browser(), scene.address(), SIGN_IN)
    assert page.status == 403
    ok(await admin.put(f"{links}/corp", json={"sub": sub}))
    reset = f"/admin/people/{scene.person.account_id}/factors/reset"
    for body, left in ((None, 1), ({"unlink": False}, 1), ({"unlink": True}, 0), ({"unlink": True}, 0)):
        ok(await admin.post(reset, json=body))
        assert len(ok(await admin.get(links))["items"]) == left


async def test_who_may_not_sign_in_may_not_by_another_way(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    await linked(scene, corp)
    admin = await administering(scene.world)
    ok(await admin.post(f"/admin/people/{scene.person.account_id}/disable"))
    page = await corp.around(scene.world.browser(), scene.address(), SIGN_IN)
    assert page.status == 401
    failed = (await scene.world.events("account.sign_in_failed"))[-1]
    assert failed.event.reason == "disabled"
    ok(await admin.delete(f"/admin/people/{scene.person.account_id}"), 204)
    page = await corp.around(scene.world.browser(), scene.address(), SIGN_IN)
    assert page.status == 403


async def test_provider_that_misbehaves_signs_nobody_in(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    for path, answer in (
        ("/oauth/token", b"{}"),
        ("/oauth/token", b'{"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}'),
        ("/oauth/token", b"\xff"),
        ("/.well-known/jwks.json", b'{"keys": [7, {"kty": "RSA"}]}'),
    ):
        browser = scene.world.browser()
        url = await corp.leave(browser, await browser.open(scene.address()), SIGN_IN)
        back = await corp.sign_in(url)
        corp.answers = {path: answer}
        page = await browser.open(back)
        corp.answers = {}
        assert page.status == 403
        assert "session.started" not in {each.type for each in await scene.world.events()}


async def test_callback_refuses_what_it_did_not_begin(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    browser = scene.world.browser()
    url = await corp.leave(browser, await browser.open(scene.address()), SIGN_IN)
    back = urlsplit(await corp.sign_in(url))
    found = {name: value for name, (value,) in parse_qs(back.query).items()}
    for changes, path, status in (
        ({"state": "x" * 43}, CALLBACK, 403),
        ({}, CALLBACK.replace("platform", "administration"), 403),
        ({"iss": "https://evil.example"}, CALLBACK, 403),
        ({"code": ""}, CALLBACK, 403),
        ({"code": "x" * 2_049}, CALLBACK, 403),
    ):
        copy = scene.world.browser()
        copy.client.cookies.update(browser.client.cookies)
        answer = await copy.client.get(path, params=found | changes)
        assert answer.status_code == status, changes
    scene.world.clock.advance(601)
    assert (await browser.open(f"{CALLBACK}?{back.query}")).status == 403
    assert await scene.world.events("session.started") == ()


async def test_a_look_at_the_way_back_uses_no_code(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    browser = scene.world.browser()
    back = await corp.sign_in(await corp.leave(browser, await browser.open(scene.address()), SIGN_IN))
    asked = len(corp.asked)
    assert (await browser.client.head(back)).status_code == 200
    assert len(corp.asked) == asked
    assert link_question(await browser.open(back))


async def test_who_is_to_sign_in_anew_does_so_there(scene: Scene, corp: Provider) -> None:
    world = scene.world
    await corp.configure()
    browser, theirs = world.browser(), corp.world.browser()
    url = await corp.leave(browser, await browser.open(scene.address()), SIGN_IN)
    assert "prompt=" not in url
    # They are signed in there already.
    await theirs.press(await theirs.open(url), SIGN_IN, **corp.person.typed)
    corp.world.clock.advance(60)
    url = await corp.leave(browser, await browser.open(scene.address(prompt="login")), SIGN_IN)
    assert {"prompt=login", "max_age=0"} <= set(urlsplit(url).query.split("&"))
    page = await theirs.open(url)
    assert "password" in page.text
    back = (await theirs.press(await theirs.press(page, SIGN_IN, **corp.person.typed), CONSENT, APPROVE)).location
    assert link_question(await browser.open(back))


async def test_what_would_not_come_back_whole_is_told_at_once(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    found = await find(scene.world.services, "platform", "corp")
    assert found is not None
    # What is alike takes no room when it is packed.
    long = "/oauth/authorize?" + "%22" * 8_000
    with pytest.raises(RequestTooLong):
        await begin(scene.world.services, found, SignInPlace(long, "platform", None, (), long, long), "x")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "http://login.example"}, "issuer"),
    ({"issuer": "https://login.example/?a"}, "issuer"),
    ({"scope": "email"}, "scope"),
    ({"title": " "}, "title"),
    ({"client_id": "a b"}, "client_id"),
    ({"client_secret": None, "issuer": "https://elsewhere.example"}, "client_secret"),
    ({"token_endpoint_auth_method": "none"}, "client_secret"),
]


async def test_terms_are_checked_and_a_secret_stays_where_it_belongs(scene: Scene, corp: Provider) -> None:
    told = await corp.configure()
    assert "client_secret" not in told
    admin = await administering(scene.world)
    terms = {"issuer": CORP, "client_id": corp.client.client_id, "title": "Corp", "client_secret": "secret"}
    for changes, name in REFUSED:
        given = {key: value for key, value in (terms | changes).items() if value is not None}
        problem(await admin.put(ONE, json=given), 400, field=name)
    # Without a secret the one that is kept stays.
    ok(await admin.put(ONE, json={key: terms[key] for key in ("issuer", "client_id")} | {"title": "Corporation"}))
    assert ok(await admin.get("/admin/realms/platform/upstreams"))["items"][0]["title"] == "Corporation"
    assert link_question(await corp.around(scene.world.browser(), scene.address(), SIGN_IN))
    problem(await admin.put(ONE.replace("platform", "nowhere"), json=terms), 404)
    some = await administering(scene.world, "clients:write", "people:write")
    problem(await some.put(ONE.replace("platform", "administration"), json=terms), 403)
    ours = ONE.replace("platform", "administration")
    problem(await admin.put(ours, json=terms | {"linking": "verified_address"}), 400, field="linking")
    assert ok(await admin.put(ours, json=terms), 201)["linking"] == "administrator"


async def test_dashboard_is_signed_in_to_by_it_too(scene: Scene, corp: Provider) -> None:
    await corp.configure()
    world, shop = scene.world, "https://shop.example"
    admin = await administering(world)
    terms = {"client_name": "Shop", "realm": "platform", "allowed_origins": [], "scope": "orders openid"}
    ok(await admin.put("/admin/dashboards/shop", json=terms), 201)
    await linked(scene, corp)
    browser = world.browser()
    assert "/dashboards/shop/sign-in?upstream=corp" in (await browser.open("/dashboards/shop")).text
    looked = await browser.client.head("/dashboards/shop/sign-in?upstream=corp")
    assert (looked.status_code, "grantlog-upstream" in looked.headers.get("set-cookie", "")) == (200, False)
    answer = await browser.client.get("/dashboards/shop/sign-in?upstream=corp")
    before = await world.head()
    page = await browser.open(await corp.sign_in(answer.headers["location"]))
    assert 'data-resume="yes"' in page.text
    assert await world.types_after(before) == [
        "account.upstream_verified",
        "session.started",
        "session.ended",
        "grant.tokens_issued",
    ]
    issued = (await world.events("grant.tokens_issued"))[-1]
    assert (issued.event.account_id, issued.event.amr) == (scene.person.account_id, ("fed",))
    tokens = ok(await browser.client.post("/dashboards/shop/refresh", headers={"x-grantlog": "1"}))
    assert tokens["scope"] == "orders openid"
    # What led there leads nowhere a second time, and to no other place.
    assert "password" in (await browser.open("/dashboards/shop/signed-in")).text
    away = await browser.client.get("/dashboards/shop/sign-in", params={"return_to": f"{shop}.evil.example/"})
    assert away.status_code == 400
    # By password it goes as well, for somebody with a second factor too.
    generator = await enrol(world, scene.person)
    other = world.browser()
    page = await other.press(
        await other.open("/dashboards/shop/sign-in"), "/dashboards/shop/sign-in", **scene.person.typed
    )
    page = await other.press(page, "/dashboards/shop/sign-in", code=generator.code())
    assert 'data-resume="yes"' in page.text


async def test_new_password_names_links_and_ends_them(scene: Scene, corp: Provider) -> None:
    world, browser = scene.world, scene.world.browser()
    await corp.configure()
    await linked(scene, corp, browser)
    page = await browser.open((await mailed(world, scene.person.email)).link)
    assert "Corp" in page.text
    page = await browser.press(page, NEW_PASSWORD, password=NEW)
    assert "Corp" in page.text
    await NoticeWriter(world.services).distribute()
    told = [each.text for each in await delivered(world) if each.subject == "Your password was changed"]
    assert ["You still sign in at Corp too." in each for each in told] == [True]
    assert await world.events("account.upstream_unlinked") == ()
    page = await browser.open((await mailed(world, scene.person.email)).link)
    page = await browser.press(page, NEW_PASSWORD, password=f"{NEW} once more", unlink="1")
    assert (page.status, "Corp" in page.text) == (200, False)
    assert len(await world.events("account.upstream_unlinked")) == 1


async def test_a_link_is_ended_after_a_recent_sign_in(scene: Scene, corp: Provider) -> None:
    world, browser = scene.world, await scene.signed_in()
    admin = await administering(world)
    await corp.configure(linking="administrator")
    link = f"/admin/people/{scene.person.account_id}/upstreams/corp"
    ok(await admin.put(link, json={"sub": corp.person.account_id}))
    page = await browser.open("/account/password")
    unlink = "/account/password/unlink"
    world.clock.advance(world.settings.recent_authentication + 1)
    page = await browser.press(page, unlink)
    assert "password" in page.form(ACCOUNT_SIGN_IN).fields
    assert await world.events("account.upstream_unlinked") == ()
    page = await browser.press(page, ACCOUNT_SIGN_IN, username=scene.person.username, password=PASSWORD)
    await browser.press(page, unlink)
    assert len(await world.events("account.upstream_unlinked")) == 1
