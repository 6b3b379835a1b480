"""The authentication request (OpenID Connect Core §3.1.2): who signs in anew, who is asked, who is answered at once."""

import json
from typing import Any

import httpx
import pytest

from commands import signing_keys
from domain.keys import signing_key
from domain.keys.signing_key import TOKENS_LAST
from tests.cases import cases
from tests.scenarios.asking import APPROVE, AUTHORIZE, CONSENT, SIGN_IN, STATE, VERIFIER, error_of
from tests.scenarios.browser import Browser, Form, Page
from tests.scenarios.openid.relying_party import NONCE, OpenId, set_openid
from tests.scenarios.world import REDIRECT_URI, SYSTEM, World

FORM_POST = {"response_mode": "form_post"}


@pytest.fixture
async def scene(world: World) -> OpenId:
    return await set_openid(world)


@pytest.fixture
async def allowed(scene: OpenId) -> Browser:
    """A browser whose person has allowed the shop to know it."""
    return await scene.allowed()


def is_sign_in(page: Page) -> bool:
    return page.status == 200 and any(SIGN_IN in form.action for form in page.forms)


def is_question(page: Page) -> bool:
    return page.status == 200 and any(CONSENT in form.action for form in page.forms)


async def sign_in(scene: OpenId, browser: Browser, page: Page) -> Page:
    return await browser.press(page, SIGN_IN, **scene.person.typed)


async def hint(scene: OpenId, browser: Browser) -> str:
    """An id_token of the shop."""
    answer = await scene.redeem(await browser.open(scene.openid()))
    token: str = answer["id_token"]
    return token


async def forged(scene: OpenId, **changes: Any) -> str:
    """A token with an id_token's claims but for the changes, signed by the server's own key."""
    ledger = scene.world.services.ledger
    state: signing_key.State = await ledger.state(signing_key.STREAM)
    key = await scene.world.services.private_keys.ready(state.active["RS256"])
    typ = changes.pop("typ", None)
    claims = {
        "iss": scene.world.settings.issuer,
        "sub": scene.person.account_id,
        "aud": scene.shop.client_id,
        "exp": 1,  # One that was issued long ago is a hint too.
    } | changes
    return key.sign_now({name: value for name, value in claims.items() if value is not None}, typ)


# prompt -----------------------------------------------------------------------------------------------------------


async def test_login_asks_for_the_password_again(scene: OpenId) -> None:
    browser = await scene.allowed()
    before = await scene.id_token(await browser.open(scene.openid()))
    scene.world.clock.advance(5)
    page = await browser.open(scene.openid(prompt="login"))
    assert is_sign_in(page)
    after = await scene.id_token(await sign_in(scene, browser, page))
    assert after["auth_time"] == before["auth_time"] + 5
    assert (after["sub"], after["sid"]) == (before["sub"], before["sid"])
    stepped_up = await scene.world.events("session.stepped_up")
    assert len(stepped_up) == 1
    assert stepped_up[0].actor.id == scene.person.account_id
    assert not await scene.world.events("session.ended")


async def test_login_asks_each_time(scene: OpenId) -> None:
    browser = await scene.allowed()
    page = await browser.open(scene.openid(prompt="login"))
    assert (await sign_in(scene, browser, page)).status == 303
    assert is_sign_in(await browser.open(scene.openid(prompt="login")))


async def test_sign_in_counts_for_its_own_request_alone(scene: OpenId) -> None:
    browser = await scene.signed_in()
    page = await browser.open(scene.openid(prompt="login"))
    assert is_question(await sign_in(scene, browser, page))
    assert is_question(await browser.open(scene.openid(prompt="login")))
    assert is_sign_in(await browser.open(scene.openid(prompt="login", nonce="another")))
    scene.world.clock.advance(601)
    assert is_sign_in(await browser.open(scene.openid(prompt="login")))


async def test_login_is_wanted_before_the_consent_too(scene: OpenId) -> None:
    browser = await scene.signed_in()
    question = await browser.open(scene.openid())
    form = question.form(CONSENT)
    posted = await browser.submit(Form(form.action + "&prompt=login", form.fields), APPROVE)
    assert is_sign_in(posted)
    assert not await scene.world.events("grant.code_issued")


async def test_wrong_password_leaves_the_sign_in_as_old_as_it_was(scene: OpenId) -> None:
    browser = await scene.allowed()
    page = await browser.open(scene.openid(prompt="login"))
    page = await browser.press(page, SIGN_IN, username=scene.person.username, password="wrong")
    assert page.status == 401
    assert is_sign_in(await browser.open(scene.openid(prompt="login")))
    assert not await scene.world.events("session.stepped_up")


async def test_somebody_else_may_sign_in_instead(scene: OpenId) -> None:
    browser = await scene.allowed()
    other = await scene.world.register_person("olga")
    page = await browser.open(scene.openid(prompt="login"))
    page = await browser.press(page, SIGN_IN, **other.typed)
    assert is_question(page)
    ended = await scene.world.events("session.ended")
    assert [each.event.reason for each in ended] == ["replaced"]


@pytest.mark.parametrize("prompt", ["consent", "select_account", "consent select_account"])
async def test_person_is_asked_whatever_they_allowed(scene: OpenId, prompt: str) -> None:
    browser = await scene.allowed()
    page = await browser.open(scene.openid(prompt=prompt))
    assert is_question(page)
    assert scene.person.username in page.text
    assert (await scene.approved(browser, scene.openid(prompt=prompt))).status == 303


async def test_none_is_answered_at_once(scene: OpenId) -> None:
    browser = await scene.allowed()
    first = await scene.id_token(await browser.open(scene.openid()))
    scene.world.clock.advance(5)
    second = await scene.id_token(await browser.open(scene.openid(prompt="none")))
    assert {**second, "iat": 0, "exp": 0, "at_hash": ""} == {**first, "iat": 0, "exp": 0, "at_hash": ""}


async def test_none_without_a_session_needs_a_sign_in(scene: OpenId) -> None:
    page = await scene.world.browser().open(scene.openid(prompt="none"))
    assert error_of(page) == ("login_required", STATE)
    assert page.parameters["iss"] == scene.world.settings.issuer
    assert page.parameters.keys() == {"error", "error_description", "state", "iss"}


async def test_none_without_a_consent_needs_one(scene: OpenId) -> None:
    browser = await scene.signed_in()
    assert error_of(await browser.open(scene.openid(prompt="none"))) == ("consent_required", STATE)
    await scene.approved(browser, scene.openid())
    wider = scene.openid(prompt="none", scope="openid profile")
    assert error_of(await browser.open(wider)) == ("consent_required", STATE)


async def test_none_never_keeps_access_while_the_person_is_away(scene: OpenId) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser, scene.openid(scope="openid offline_access"))
    silent = scene.openid(prompt="none", scope="openid offline_access")
    assert error_of(await browser.open(silent)) == ("consent_required", STATE)


async def test_none_tells_of_any_fault_at_once(scene: OpenId) -> None:
    page = await scene.world.browser().open(scene.openid(prompt="none", response_type="token"))
    assert error_of(page) == ("unsupported_response_type", STATE)


async def test_none_of_an_unknown_client_redirects_nowhere(scene: OpenId) -> None:
    page = await scene.world.browser().open(scene.openid(prompt="none", redirect_uri="https://evil.example/"))
    assert page.status == 400


async def test_none_by_head_issues_nothing(scene: OpenId) -> None:
    browser = await scene.allowed()
    issued = len(await scene.world.events("grant.code_issued"))
    answer = await browser.client.head(scene.openid(prompt="none"))
    assert "error=interaction_required" in answer.headers["location"]
    assert len(await scene.world.events("grant.code_issued")) == issued


# max_age ----------------------------------------------------------------------------------------------------------


async def test_old_sign_in_is_renewed(scene: OpenId) -> None:
    browser = await scene.allowed()
    before = await scene.id_token(await browser.open(scene.openid(max_age="10")))
    scene.world.clock.advance(10)
    same = await scene.id_token(await browser.open(scene.openid(max_age="10")))
    assert same["auth_time"] == before["auth_time"]
    scene.world.clock.advance(1)
    assert error_of(await browser.open(scene.openid(max_age="10", prompt="none"))) == ("login_required", STATE)
    page = await browser.open(scene.openid(max_age="10"))
    assert is_sign_in(page)
    after = await scene.id_token(await sign_in(scene, browser, page))
    assert after["auth_time"] == before["auth_time"] + 11


async def test_max_age_of_nothing_is_a_sign_in_each_time(scene: OpenId) -> None:
    browser = await scene.allowed()
    scene.world.clock.advance(1)
    page = await browser.open(scene.openid(max_age="0"))
    assert is_sign_in(page)
    assert (await sign_in(scene, browser, page)).status == 303


# hints ------------------------------------------------------------------------------------------------------------


async def test_hint_of_the_person_who_is_there_changes_nothing(scene: OpenId) -> None:
    browser = await scene.allowed()
    token = await hint(scene, browser)
    scene.world.clock.advance(3_600)
    page = await browser.open(scene.openid(prompt="none", id_token_hint=token))
    assert (await scene.id_token(page))["sub"] == scene.person.account_id


async def test_hint_of_somebody_else_wants_them(scene: OpenId) -> None:
    token = await hint(scene, await scene.allowed())
    other = await scene.world.register_person("olga")
    browser = await scene.signed_in(other)
    silent = scene.openid(prompt="none", id_token_hint=token)
    assert error_of(await browser.open(silent)) == ("login_required", STATE)
    page = await browser.open(scene.openid(id_token_hint=token))
    assert is_sign_in(page)
    assert error_of(await browser.press(page, SIGN_IN, **other.typed)) == ("login_required", STATE)
    page = await browser.open(scene.openid(id_token_hint=token))
    page = await sign_in(scene, browser, page)
    assert (await scene.id_token(page))["sub"] == scene.person.account_id


async def test_nobody_consents_for_somebody_else(scene: OpenId) -> None:
    token = await hint(scene, await scene.allowed())
    other = await scene.world.register_person("olga")
    browser = await scene.signed_in(other)
    question = await browser.open(scene.openid())
    assert is_question(question)
    meant = scene.openid(id_token_hint=token)
    form = (await browser.open(meant)).form(SIGN_IN)
    headers = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
    signed_in = await browser.client.post(form.action, data={**form.fields, **other.typed}, headers=headers)
    assert signed_in.status_code == 303
    # The form of a question about nobody in particular, posted in answer to the request that is about the other.
    answer = Form(meant.replace(AUTHORIZE, CONSENT), question.form(CONSENT).fields)
    assert error_of(await browser.submit(answer, APPROVE)) == ("login_required", STATE)


async def test_subject_in_the_claims_is_a_hint_too(scene: OpenId) -> None:
    browser = await scene.allowed()
    for subject, error in (
        (scene.person.account_id, None),
        ("somebody", "login_required"),
        ("", "login_required"),
        (5, "login_required"),
    ):
        claims = json.dumps({"id_token": {"sub": {"value": subject}}})
        page = await browser.open(scene.openid(prompt="none", claims=claims))
        assert page.parameters.get("error") == error


async def test_hint_signed_by_a_former_key_still_counts(scene: OpenId) -> None:
    browser = await scene.allowed()
    token = await hint(scene, browser)
    await rotated(scene, compromised=False)
    for lasts in (86_400, TOKENS_LAST):
        scene.world.clock.advance(lasts)
        await signing_keys.settle(scene.world.services.ledger, SYSTEM)
    assert len(await scene.world.events("signing_key.retired")) == len(signing_key.ALGORITHMS)
    browser = await scene.signed_in()
    page = await browser.open(scene.openid(prompt="none", id_token_hint=token))
    assert "code" in page.parameters


async def test_hint_signed_by_a_compromised_key_does_not(scene: OpenId) -> None:
    browser = await scene.allowed()
    token = await hint(scene, browser)
    await rotated(scene, compromised=True)
    page = await browser.open(scene.openid(prompt="none", id_token_hint=token))
    assert error_of(page) == ("invalid_request", STATE)


async def rotated(scene: OpenId, *, compromised: bool) -> None:
    """The keys after a rotation that was due."""
    bearer = {"authorization": f"Bearer {await scene.world.token('keys:write')}"}
    body = {"compromised": compromised}
    answer = await scene.world.client.post("/admin/keys/rotate", json=body, headers=bearer)
    assert answer.status_code == 200


@cases(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"sub": 7},
        {"exp": None},
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
    ],
)
async def test_token_for_others_is_no_hint(scene: OpenId, changes: dict[str, Any]) -> None:
    token = await forged(scene, **changes)
    page = await scene.world.browser().open(scene.openid(prompt="none", id_token_hint=token))
    assert error_of(page) == ("invalid_request", STATE)


async def test_right_claims_are_a_hint(scene: OpenId) -> None:
    token = await forged(scene)
    page = await scene.world.browser().open(scene.openid(prompt="none", id_token_hint=token))
    assert error_of(page) == ("login_required", STATE)


async def test_login_hint_is_typed_already(scene: OpenId) -> None:
    page = await scene.world.browser().open(scene.openid(login_hint="paul@example.test"))
    assert page.form(SIGN_IN).fields["username"] == "paul@example.test"
    assert not [each for each in await scene.world.events() if "paul@example.test" in str(each.event)]


async def test_whoever_is_to_sign_in_again_finds_their_name(scene: OpenId) -> None:
    page = await (await scene.allowed()).open(scene.openid(prompt="login"))
    assert page.form(SIGN_IN).fields["username"] == scene.person.username


# claims -----------------------------------------------------------------------------------------------------------


async def test_claims_are_asked_for_and_kept_sealed(scene: OpenId) -> None:
    browser = await scene.allowed()
    claims = {"userinfo": {"name": {"essential": True}, "made_up": None}}
    page = await browser.open(scene.openid(claims=json.dumps(claims)))
    assert is_question(page)
    assert "<strong>name</strong>" in page.text
    await browser.press(page, CONSENT, APPROVE)
    issued = (await scene.world.events("grant.code_issued"))[-1]
    assert "essential" not in issued.event.claims
    ledger = scene.world.services.ledger
    state = await ledger.state(issued.stream)
    opened = await ledger.unseal(state.claims)
    assert opened is not None
    # What no scope of the client's could open is nothing that anybody agreed to.
    assert json.loads(opened) == {"name": {"essential": True}}
    silent = scene.openid(prompt="none", claims=json.dumps(claims))
    assert error_of(await browser.open(silent)) == ("consent_required", STATE)


async def test_claims_of_a_scope_need_no_other_question(scene: OpenId) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser, scene.openid(scope="openid profile"))
    claims = json.dumps({"userinfo": {"name": None}, "id_token": {"auth_time": {"essential": True}}})
    page = await browser.open(scene.openid(scope="openid profile", prompt="none", claims=claims))
    assert (await scene.id_token(page)).keys().isdisjoint({"name"})


@cases("acr", [{"values": ["urn:grantlog:acr:2"]}, {"values": "urn:grantlog:acr:2"}, {"value": "2"}, {"value": 2}])
async def test_essential_class_that_cannot_be_met_is_an_error(
    scene: OpenId, allowed: Browser, acr: dict[str, Any]
) -> None:
    claims = json.dumps({"id_token": {"acr": {"essential": True} | acr}})
    page = await allowed.open(scene.openid(claims=claims))
    assert error_of(page) == ("unmet_authentication_requirements", STATE)


@cases(
    "acr",
    [
        None,
        {"essential": True},
        {"essential": True, "values": ["urn:grantlog:acr:2", "urn:grantlog:acr:1"]},
        {"values": ["urn:grantlog:acr:2"]},
    ],
)
async def test_class_that_can_be_met_is_told(scene: OpenId, allowed: Browser, acr: dict[str, Any] | None) -> None:
    claims = json.dumps({"id_token": {"acr": acr}})
    page = await allowed.open(scene.openid(claims=claims, acr_values="urn:grantlog:acr:1 2"))
    assert (await scene.id_token(page))["acr"] == "urn:grantlog:acr:1"


BAD = {
    "prompt of another kind": {"prompt": "create"},
    "prompt none with another": {"prompt": "none login"},
    "max_age negative": {"max_age": "-1"},
    "max_age a word": {"max_age": "soon"},
    "max_age too large": {"max_age": "1" + "0" * 12},
    "max_age other digits": {"max_age": "٣"},
    "nonce too long": {"nonce": "n" * 1_025},
    "claims no JSON": {"claims": "{"},
    "claims a list": {"claims": "[]"},
    "claims a text": {"claims": '"name"'},
    "claims doubled": {"claims": '{"userinfo":{},"userinfo":{}}'},
    "claims deep": {"claims": '{"userinfo":' * 40 + "1" + "}" * 40},
    "userinfo a list": {"claims": '{"userinfo":["name"]}'},
    "claim a text": {"claims": '{"userinfo":{"name":"essential"}}'},
    "hint no token": {"id_token_hint": "x"},
    "hint unsigned": {"id_token_hint": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwYXVsIn0."},
    "response_mode fragment": {"response_mode": "fragment"},
    "response_mode fragment.jwt": {"response_mode": "fragment.jwt"},
}


@cases("bad", BAD.values(), ids=BAD.keys())
async def test_bad_parameter_is_told_to_the_application(scene: OpenId, allowed: Browser, bad: dict[str, str]) -> None:
    page = await allowed.open(scene.openid(**bad))
    assert error_of(page) == ("invalid_request", STATE)


@cases(
    "harmless",
    [
        {"display": "popup"},
        {"display": "made up"},
        {"ui_locales": "se de-CH"},
        {"claims_locales": "se"},
        {"acr_values": "1 2"},
        {"extra": "parameter"},
        {"claims": '{"userinfo":null,"id_token":null,"else":1}'},
        {"login_hint": "x" * 2_000},
        {"prompt": ""},
    ],
)
async def test_other_parameters_do_no_harm(scene: OpenId, allowed: Browser, harmless: dict[str, str]) -> None:
    page = await allowed.open(scene.openid(**harmless))
    assert "code" in page.parameters


# How the answer comes, and how the request -------------------------------------------------------------------------


async def test_answer_may_be_a_form_that_posts_itself(scene: OpenId) -> None:
    browser = await scene.allowed()
    page = await browser.open(scene.openid(**FORM_POST))
    assert page.status == 200
    (form,) = page.forms
    assert form.action == REDIRECT_URI
    assert form.fields.keys() == {"code", "iss", "state"}
    assert form.fields["state"] == STATE
    assert "https://shop.example" in page.answer.headers["content-security-policy"]
    assert "form_post.js" in page.text
    data = {"grant_type": "authorization_code", "code": form.fields["code"], "redirect_uri": REDIRECT_URI}
    data["code_verifier"] = VERIFIER
    answer = await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
    assert (await scene.signed(answer.json()))["nonce"] == NONCE


async def test_posted_state_is_what_was_sent(scene: OpenId) -> None:
    browser, state = await scene.allowed(), 'a b+c%20"><script>é'
    page = await browser.open(scene.openid(**FORM_POST, state=state))
    assert page.forms[0].fields["state"] == state
    page = await browser.open(scene.openid(**FORM_POST, state=None))
    assert "state" not in page.forms[0].fields


async def test_error_may_be_a_form_too(scene: OpenId) -> None:
    page = await scene.world.browser().open(scene.openid(**FORM_POST, prompt="none"))
    assert page.status == 200
    assert page.forms[0].action == REDIRECT_URI
    assert page.forms[0].fields["error"] == "login_required"


async def test_consent_leads_to_the_form(scene: OpenId) -> None:
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.openid(**FORM_POST))
    assert page.forms[0].fields.keys() == {"code", "iss", "state"}


async def test_application_on_a_device_takes_no_form(scene: OpenId) -> None:
    uri = "example.shop.app:/callback"
    native = await scene.world.register_client("App", redirect_uris=(uri,), public=True, scope=("openid",))
    page = await (await scene.signed_in()).open(scene.openid(native, **FORM_POST))
    assert page.location.startswith(uri)
    assert error_of(page) == ("invalid_request", STATE)


async def test_request_may_be_posted(scene: OpenId) -> None:
    query = scene.openid().partition("?")[2]
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "origin": "https://shop.example",
        "sec-fetch-site": "cross-site",
    }
    answer = await scene.world.client.post(AUTHORIZE, content=query, headers=headers)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{AUTHORIZE}?{query}"
    page = await (await scene.allowed()).open(answer.headers["location"])
    assert (await scene.id_token(page))["nonce"] == NONCE


async def test_posted_request_of_nobody_goes_nowhere(scene: OpenId) -> None:
    for content in ("", "client_id=nobody", scene.openid(redirect_uri="https://evil.example/").partition("?")[2]):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer: httpx.Response = await scene.world.client.post(AUTHORIZE, content=content, headers=headers)
        assert answer.status_code == 400, content
    answer = await scene.world.client.post(AUTHORIZE, json={})
    assert answer.status_code == 415
