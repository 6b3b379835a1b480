"""The standard claims: how each is written, kept as one text, and opened by its scope (OpenID Connect Core §5)."""

import pytest

from domain import account as account_page
from domain.account import AccountRegistered, ProfileChanged
from domain.decision import InvalidRequest
from domain.rules import standard_claims as rule
from domain.rules.built_in_scope import BUILT_IN
from tests.domain.history import NOW, given, loosely

account = loosely(account_page)
claims = loosely(rule)

ZONES = frozenset({"Europe/Berlin", "UTC"})
RIGHTS = {"role_scopes": {}, "caller_scope": frozenset()}
FREE = {"username_taken": False, "email_taken": False}
PAUL = AccountRegistered(
    realm="platform", username="paul", email="paul@example.test", email_verified="true", locale="de"
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("given_name", "Paul-Émile"),
        ("nickname", "Pauline 🙂"),
        ("preferred_username", "p@ul/1"),
        ("profile", "https://people.example/paul?x=1#top"),
        ("picture", "http://[2001:db8::1]:8080/p.png"),
        ("website", "HTTPS://paul.example"),
        ("gender", "female"),
        ("birthdate", "2000-02-29"),
        ("birthdate", "0000-02-29"),
        ("birthdate", "1980"),
        ("zoneinfo", "Europe/Berlin"),
        ("locale", "de"),
        ("locale", "zh-Hant-TW"),
        ("locale", "sl-rozaj-biske-1994"),
        ("locale", "de-CH-x-phonebk"),
        ("phone_number", "+1 (425) 555-1212"),
        ("phone_number", "+1 (604) 555-1234;ext=5678"),
        ("phone_number", "0301234567"),
        ("address", {"formatted": "1 Road\nTown\r\nLand", "country": "GB"}),
        ("email_verified", True),
    ],
)
def test_what_stands_is_kept_as_one_text_and_comes_back(name, value) -> None:
    assert claims.malformed_claim({name: value}, ZONES) is None
    assert claims.value_of(name, claims.text_of(value)) == value


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("given_name", "", "given_name"),
        ("family_name", "a\nb", "family_name"),
        ("middle_name", "x" * 201, "middle_name"),
        ("nickname", "a\u202eb", "nickname"),
        ("profile", "javascript:alert(1)", "profile"),
        ("picture", "//people.example/p.png", "picture"),
        ("website", "https://", "website"),
        ("website", "https://[::1", "website"),
        ("website", "https://a b.example", "website"),
        ("website", "https://" + "x" * 1_024, "website"),
        ("gender", "x" * 65, "gender"),
        ("birthdate", "1980-02-30", "birthdate"),
        ("birthdate", "1980-2-3", "birthdate"),
        ("birthdate", "1900-02-29", "birthdate"),
        ("birthdate", "1980-00-01", "birthdate"),
        ("birthdate", "1980-13-01", "birthdate"),
        ("birthdate", "1980-04-31", "birthdate"),
        ("birthdate", "1980-04-00", "birthdate"),
        ("birthdate", "0000", "birthdate"),
        ("birthdate", "17.5.1980", "birthdate"),
        ("birthdate", "١٩٨٠", "birthdate"),
        ("zoneinfo", "Mars/Olympus", "zoneinfo"),
        ("zoneinfo", "../etc/passwd", "zoneinfo"),
        ("locale", "en_GB", "locale"),
        ("locale", "english language", "locale"),
        ("phone_number", "call me", "phone_number"),
        ("phone_number", "+", "phone_number"),
        ("address", {"locality": ""}, "address.locality"),
        ("address", {"formatted": "1 Road\n\nTown"}, "address.formatted"),
        ("address", {"country": "x" * 201}, "address.country"),
        ("address", {"formatted": "x\u0000"}, "address.formatted"),
    ],
)
def test_what_cannot_stand_is_refused_with_its_field(name, value, field) -> None:
    refused = claims.malformed_claim({name: value}, ZONES)
    assert (refused.refusal.reason, refused.refusal.field) == (InvalidRequest.MALFORMED, field)


def test_where_no_zones_are_known_their_shape_decides() -> None:
    assert claims.malformed_claim({"zoneinfo": "Mars/Olympus"}, ()) is None
    assert claims.malformed_claim({"zoneinfo": "Mars Olympus"}, ()) is not None


def test_every_kept_claim_has_a_scope_that_opens_it() -> None:
    opened = {name: rule.scope_of(name) for name in rule.KEPT}
    assert set(opened.values()) <= BUILT_IN
    assert set(rule.CLAIMS) == {"sub", "name", "email", "updated_at", *rule.KEPT}
    assert set(rule.opened({"email", "phone"})) == {"email", "email_verified", "phone_number", "phone_number_verified"}


def test_what_is_asked_for_one_by_one_is_what_no_scope_opens() -> None:
    asked = ("sub", "email", "name", "phone_number", "shoe_size")
    everything = ("openid", "profile", "email", "phone")
    assert rule.beyond(asked, ("openid",), within=everything) == ("email", "name", "phone_number")
    assert rule.beyond(asked, ("openid", "email"), within=everything) == ("name", "phone_number")
    assert rule.beyond(asked, ("openid",), within=("openid", "profile")) == ("name",)


def test_the_longest_claims_fit_into_one_event() -> None:
    longest = sum(rule.MAXIMUM[name] * 4 for name in (*rule.TEXTS, *rule.ADDRESS))
    # Base64 of the sealed UTF-8, and room for the names of the fields, the seals' heads and the login names.
    assert longest * 4 / 3 + 40 * 200 < 65_535


def test_a_person_comes_with_claims_and_some_change() -> None:
    facts = {"now": NOW, "realm": "platform", "username": "paul", "email": None, "password_hash": None}
    registered = account.register(
        account.INITIAL, **facts, **RIGHTS, **FREE, claims={"locale": "de", "address": {"country": "DE"}}
    ).events
    assert registered == (
        AccountRegistered(realm="platform", username="paul", locale="de", address='{"country":"DE"}'),
    )
    state = given(account, "account:a1", *registered)
    assert state.claims.keys() == {"locale", "address"}
    changed = account.change_profile(state, now=NOW, **RIGHTS, claims={"gender": "male"}, removed=("locale",)).events
    assert changed == (ProfileChanged(gender="male", removed=("locale",)),)
    after = given(account, "account:a1", *registered, (NOW + 5, changed[0]))
    assert after.claims.keys() == {"gender", "address"}
    assert (state.updated_at, after.updated_at) == (NOW, NOW + 5)


def test_what_is_not_there_is_not_taken_away() -> None:
    state = given(account, "account:a1", PAUL)
    outcome = account.change_profile(state, now=NOW, **RIGHTS, removed=("gender", "address"))
    assert (outcome.events, outcome.refusal) == ((), None)


@pytest.mark.parametrize(
    ("change", "removed"),
    [
        ({"email": "p@example.test"}, ("email_verified",)),
        ({"removed": ("email",)}, ("email", "email_verified")),
        ({"email": "p@example.test", "claims": {"email_verified": True}}, ()),
        ({"claims": {"phone_number": "+49 30 1"}}, ()),
        ({"name": "Paul"}, ()),
    ],
)
def test_another_address_is_not_verified_yet(change, removed) -> None:
    (event,) = account.change_profile(given(account, "account:a1", PAUL), now=NOW, **RIGHTS, **change).events
    assert event.removed == removed


def test_an_erased_person_has_no_claims() -> None:
    assert given(account, "account:a1", PAUL, account_page.AccountErased()).claims == {}
