"""What a realm asks of its people beside a password, and which realms there are."""

import pytest

from domain.decision import FactorRefused, Forbidden, InvalidRequest
from domain.factors import realm_policy
from domain.factors.realm_policy import OPTIONAL, RealmPolicy, RealmPolicyChanged
from domain.factors.second_factor import Factors
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.domain.history import NOW, given, loosely

page = loosely(realm_policy)
NONE, SOME = Factors(), Factors(totp="f1")
REQUIRED = RealmPolicy(second_factor="required")
FOR_ORDERS = RealmPolicy(second_factor="required_for", required_for=("orders",))
OFF = RealmPolicy(second_factor="off")


def put(name, policy, *before, scope=ADMINISTRATIVE_SCOPES, known=("orders", "read")):
    state = given(page, realm_policy.STREAM, *before)
    return realm_policy.put(state, now=NOW, name=name, policy=policy, known_scopes=known, caller_scope=scope)


def changed(name, new, old=None):
    return RealmPolicyChanged(name=name, old=old, new=new)


def test_a_new_realm_comes_to_be_with_its_policy() -> None:
    assert put("partners", OPTIONAL).events == (changed("partners", OPTIONAL),)
    assert put("platform", REQUIRED).events == (changed("platform", REQUIRED, OPTIONAL),)
    state = given(page, realm_policy.STREAM, changed("partners", REQUIRED))
    assert state.realms == ("administration", "platform", "partners")
    assert (state.of("partners"), state.of("platform")) == (REQUIRED, OPTIONAL)


def test_a_repeat_changes_nothing() -> None:
    assert put("platform", OPTIONAL).events == ()
    assert put("partners", REQUIRED, changed("partners", REQUIRED)).events == ()


@pytest.mark.parametrize("name", ["", "Partners", "a b", "-a", "a-", "1st", "a" * 33, "proved", "all", "p:q"])
def test_a_realms_name_is_fit_for_cookies_and_streams(name) -> None:
    assert put(name, OPTIONAL).refusal.field == "name"


def test_there_are_at_most_fifty_realms() -> None:
    before = [changed(f"realm-{number}x", OPTIONAL) for number in range(48)]
    assert put("one-more", OPTIONAL, *before).refusal.field == "name"
    assert put("one-more", OPTIONAL, *before[1:]).refusal is None
    # Those that are there may change all the same.
    assert put("realm-7x", REQUIRED, *before).events == (changed("realm-7x", REQUIRED, OPTIONAL),)


@pytest.mark.parametrize(
    "policy",
    [
        RealmPolicy(second_factor="required_for"),
        RealmPolicy(second_factor="required", required_for=("orders",)),
        RealmPolicy(second_factor="required_for", required_for=("orders", "orders")),
        RealmPolicy(second_factor="required_for", required_for=("nothing",)),
    ],
)
def test_scopes_are_named_with_the_policy_that_is_about_them(policy) -> None:
    outcome = put("platform", policy)
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, "required_for")


def for_scopes(number):
    return RealmPolicy(second_factor="required_for", required_for=tuple(f"s{each}" for each in range(number)))


def test_as_many_scopes_are_named_as_there_may_be() -> None:
    many = for_scopes(51).required_for
    assert put("platform", for_scopes(50), known=many).refusal is None
    assert put("platform", for_scopes(51), known=many).refusal.field == "required_for"


def test_a_scope_that_is_gone_since_may_stay_named() -> None:
    before = changed("platform", FOR_ORDERS, OPTIONAL)
    more = RealmPolicy(second_factor="required_for", required_for=("orders", "read"))
    assert put("platform", more, before, known=("read",)).events == (changed("platform", more, FOR_ORDERS),)


def test_administrators_do_not_register_themselves() -> None:
    for policy in (RealmPolicy(registration="open"), RealmPolicy(registration="invitation")):
        refused = put("administration", policy).refusal
        assert (refused and refused.field) == ("registration" if policy.registration == "open" else None)
        assert put("platform", policy).refusal is None


def test_other_realms_are_anybodys_who_may_write_clients() -> None:
    assert put("platform", OFF, scope=frozenset()).events == (changed("platform", OFF, OPTIONAL),)
    assert put("partners", OFF, scope=frozenset()).events == (changed("partners", OFF),)


def test_administrators_are_asked_by_who_could_make_them() -> None:
    outcome = put("administration", OFF, scope=frozenset(("clients:write",)))
    assert outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE
    assert put("administration", OFF, scope=frozenset(("clients:write", "people:write"))).refusal is None


@pytest.mark.parametrize(
    ("policy", "factors", "scope", "lacking"),
    [
        (OPTIONAL, NONE, ("orders",), None),
        (REQUIRED, NONE, ("read",), FactorRefused.ENROLMENT),
        (REQUIRED, SOME, ("read",), FactorRefused.MISSING),
        (FOR_ORDERS, NONE, ("read",), None),
        (FOR_ORDERS, NONE, ("read", "orders"), FactorRefused.ENROLMENT),
        (FOR_ORDERS, SOME, ("orders",), FactorRefused.MISSING),
        (OFF, SOME, ("orders",), None),
    ],
)
def test_what_a_sign_in_by_password_lacks(policy, factors, scope, lacking) -> None:
    assert policy.lacking(factors, ("pwd",), scope) is lacking
    assert policy.lacking(factors, ("pwd", "otp", "mfa"), scope) is None


def test_who_has_a_factor_is_asked_unless_nobody_is() -> None:
    asked = [policy for policy in (OPTIONAL, REQUIRED, FOR_ORDERS, OFF) if policy.asks(SOME)]
    assert asked == [OPTIONAL, REQUIRED, FOR_ORDERS]
    assert not any(policy.asks(NONE) for policy in (OPTIONAL, REQUIRED, FOR_ORDERS, OFF))
