"""People: their names, passwords, roles, and that an administrator is always left."""

from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain import account as account_page
from domain import account as sign_in_page
from domain.account import (
    AccountDisabled,
    AccountEnabled,
    AccountErased,
    AccountFailure,
    AccountRegistered,
    PasswordChanged,
    PasswordRehashed,
    ProfileChanged,
    RolesChanged,
    SignInFailed,
)
from domain.decision import Conflict, Forbidden, InvalidRequest, NotFound
from domain.event import Sealed
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.domain.history import NOW, given, loosely

account, account_sign_in = loosely(account_page), loosely(sign_in_page)

STREAM = "account:a1"
ROLE_SCOPES = {
    "member": ("orders",),
    "reader": ("clients:read",),
    "administrator": tuple(sorted(ADMINISTRATIVE_SCOPES)),
}
FACTS: dict[str, Any] = {
    "now": NOW,
    "realm": "administration",
    "username": "ada",
    "email": "ada@example.test",
    "name": "Ada",
    "password_hash": "$argon2id$1",
    "roles": ("member",),
    "role_scopes": ROLE_SCOPES,
    "caller_scope": frozenset(),
    "username_taken": False,
    "email_taken": False,
}
REGISTERED = AccountRegistered(
    realm="administration",
    username="ada",
    email="ada@example.test",
    name="Ada",
    password_hash="$argon2id$1",
    roles=("member",),
)


ENABLING: dict[str, Any] = {"role_scopes": ROLE_SCOPES, "caller_scope": frozenset()}


def after(*events, **changes):
    return given(account, STREAM, msgspec.structs.replace(REGISTERED, **changes), *events)


# register ---------------------------------------------------------------------------------------------------------


def test_a_person_is_registered() -> None:
    assert account.register(account.INITIAL, **FACTS).events == (REGISTERED,)
    state = after()
    assert (state.account_id, state.realm, state.roles, state.enabled) == ("a1", "administration", ("member",), True)
    assert state.password_hash == Sealed("event-1", "password_hash", "sealed:$argon2id$1")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("realm", {"realm": "elsewhere"}),
        ("username", {"username": None, "email": None}),
        ("username", {"username": "with@sign"}),
        ("username", {"username": "full-width＠sign"}),
        ("username", {"username": "two words"}),
        ("username", {"username": "zero\u200bwidth"}),
        ("username", {"username": "x" * 65}),
        ("email", {"email": "no-sign"}),
        ("email", {"email": "two@at@signs"}),
        ("email", {"email": "a@b..c"}),
        ("email", {"email": "a@" + "b" * 255}),
        ("name", {"name": "x" * 201}),
        ("name", {"name": "a\x00b"}),
        ("roles", {"roles": ("unknown",)}),
        ("roles", {"roles": ("member", "member")}),
    ],
)
def test_what_cannot_stand_is_refused_with_its_field(field, changes) -> None:
    outcome = account.register(account.INITIAL, **FACTS | changes)
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, field)


@pytest.mark.parametrize("field", ["username", "email"])
def test_a_login_name_is_given_once_in_a_realm(field) -> None:
    outcome = account.register(account.INITIAL, **FACTS | {f"{field}_taken": True})
    assert (outcome.refusal.reason, outcome.refusal.field) == (Conflict.NAME_TAKEN, field)


def test_a_person_is_registered_once() -> None:
    assert account.register(after(), **FACTS).refusal.reason is Conflict.EXISTS


@for_all(
    roles=st.lists(st.sampled_from(sorted(ROLE_SCOPES)), unique=True).map(tuple),
    before=st.lists(st.sampled_from(sorted(ROLE_SCOPES)), unique=True).map(tuple),
    caller=st.frozensets(st.sampled_from(sorted(ADMINISTRATIVE_SCOPES))),
)
def test_assigning_a_role_needs_the_admin_scopes_it_allows(roles, before, caller) -> None:
    def lacking(given_roles):
        allowed = {scope for role in given_roles for scope in ROLE_SCOPES[role]}
        return (allowed & ADMINISTRATIVE_SCOPES) - caller

    made = account.register(account.INITIAL, **FACTS | {"roles": roles, "caller_scope": caller})
    assert (made.refusal is not None) is bool(lacking(roles))
    changed = account.change_roles(
        after(roles=before),
        now=NOW,
        roles=roles,
        role_scopes=ROLE_SCOPES,
        caller_scope=caller,
        leaves_no_administrator=False,
    )
    # Those of a person who may do more are not theirs to change, neither to add to nor to take away.
    assert (changed.refusal is not None) is (roles != before and bool(lacking({*roles, *before})))
    renamed = account.change_profile(
        after(roles=before), now=NOW, name="Eve", role_scopes=ROLE_SCOPES, caller_scope=caller
    )
    assert (renamed.refusal is not None) is bool(lacking(before))
    for outcome in (made, changed, renamed):
        assert outcome.refusal is None or outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


CHANGING: dict[str, Any] = {"now": NOW, "role_scopes": ROLE_SCOPES, "caller_scope": ADMINISTRATIVE_SCOPES}

# Names ------------------------------------------------------------------------------------------------------------


def test_new_names_are_recorded_and_old_ones_not_repeated() -> None:
    outcome = account.change_profile(after(), email="new@example.test", **CHANGING)
    assert outcome.events == (ProfileChanged(email="new@example.test"),)
    state = after(*outcome.events)
    assert state.email == Sealed("event-2", "email", "sealed:new@example.test")
    assert state.username == Sealed("event-1", "username", "sealed:ada")


def test_names_can_be_taken_away_but_not_both_login_names() -> None:
    outcome = account.change_profile(after(), removed=("name", "email"), **CHANGING)
    assert outcome.events == (ProfileChanged(removed=("name", "email")),)
    state = after(*outcome.events)
    assert (state.email, state.name) == (None, None)
    assert account.change_profile(state, removed=("username",), **CHANGING).refusal.field == "username"


def test_to_take_away_what_is_not_there_changes_nothing() -> None:
    outcome = account.change_profile(after(name=None), removed=("name",), **CHANGING)
    assert (outcome.events, outcome.refusal) == ((), None)


def test_a_name_of_somebody_else_is_refused() -> None:
    outcome = account.change_profile(after(), username="bob", username_taken=True, **CHANGING)
    assert outcome.refusal.reason is Conflict.NAME_TAKEN


# Passwords --------------------------------------------------------------------------------------------------------


def test_new_password_cuts_off_all_but_the_grant_that_changed_it() -> None:
    outcome = account_sign_in.change_password(
        after(), now=NOW, password_hash="$2", except_grant="g1", role_scopes={}, caller_scope=None, verified="event-1"
    )
    assert outcome.events == (PasswordChanged(password_hash="$2", except_grant="g1"),)
    state = after(*outcome.events)
    assert (state.password_cutoff, state.password_except) == (2, "g1")
    assert state.password_hash == Sealed("event-2", "password_hash", "sealed:$2")


@pytest.mark.parametrize(
    ("state", "verified"),
    [
        (after(), None),
        # Somebody was faster with the same old password.
        (after(PasswordChanged(password_hash="$2")), "event-1"),
        (after(password_hash=None), "event-1"),
    ],
)
def test_own_password_change_needs_the_present_one(state, verified) -> None:
    facts = {"now": NOW, "password_hash": "$3", "except_grant": "g1", "role_scopes": {}, "caller_scope": None}
    refusal = account_sign_in.change_password(state, verified=verified, **facts).refusal
    assert (refusal.reason, refusal.field) == (InvalidRequest.MALFORMED, "current_password")


def test_the_next_change_ends_the_former_exception() -> None:
    state = after(PasswordChanged(password_hash="$2", except_grant="g1"), PasswordChanged(password_hash="$3"))
    assert (state.password_cutoff, state.password_except) == (3, None)


def test_setting_a_password_needs_all_that_its_owner_may_do() -> None:
    state = after(roles=("reader",))
    facts = {"now": NOW, "password_hash": "$2", "role_scopes": ROLE_SCOPES}
    refused = account_sign_in.change_password(state, caller_scope=frozenset({"people:write"}), **facts)
    assert refused.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE
    assert account_sign_in.change_password(state, caller_scope=frozenset({"clients:read"}), **facts).refusal is None


def test_rehash_cuts_off_nothing_and_revives_no_old_password() -> None:
    outcome = account_sign_in.rehash_password(after(), now=NOW, password_hash="$1b", verified="event-1")
    assert outcome.events == (PasswordRehashed(password_hash="$1b"),)
    assert after(*outcome.events).password_cutoff == 0
    changed = after(PasswordChanged(password_hash="$2"))
    assert account_sign_in.rehash_password(changed, now=NOW, password_hash="$1b", verified="event-1").events == ()


@pytest.mark.parametrize(
    ("state", "realm", "verified", "failure"),
    [
        (after(), "administration", "event-1", None),
        (after(), "administration", None, "wrong_password"),
        (after(), "platform", "event-1", "wrong_realm"),
        (after(AccountDisabled()), "administration", "event-1", "disabled"),
        (after(AccountDisabled()), "administration", None, "wrong_password"),
        (after(AccountErased()), "administration", "event-1", "wrong_realm"),
        (after(password_hash=None), "administration", None, "no_password"),
        (after(PasswordChanged(password_hash="$2")), "administration", "event-1", "wrong_password"),
    ],
)
def test_password_verified_before_the_lock_is_checked_under_it(state, realm, verified, failure) -> None:
    assert account_sign_in.failure(state, realm=realm, verified=verified) == failure


@pytest.mark.parametrize("reason", ["wrong_password", "invalid_scope"])
def test_failed_sign_ins_are_counts(reason: AccountFailure) -> None:
    outcome = account_sign_in.note_failed_sign_in(after(), now=NOW, reason=reason, count=5, window_seconds=60)
    assert outcome.events == (SignInFailed(reason=reason, count=5, window_seconds=60),)
    assert after(*outcome.events) == after()


# Roles and ends ---------------------------------------------------------------------------------------------------


def test_roles_are_recorded_old_and_new() -> None:
    facts = {
        "now": NOW,
        "role_scopes": ROLE_SCOPES,
        "caller_scope": ADMINISTRATIVE_SCOPES,
        "leaves_no_administrator": False,
    }
    outcome = account.change_roles(after(), roles=("reader",), **facts)
    assert outcome.events == (RolesChanged(old=("member",), new=("reader",)),)
    assert account.change_roles(after(), roles=("member",), **facts).events == ()


def test_the_last_administrator_stays_one() -> None:
    last = after(roles=("administrator",))
    facts = {"now": NOW, "leaves_no_administrator": True}
    roles = facts | {"role_scopes": ROLE_SCOPES, "caller_scope": ADMINISTRATIVE_SCOPES}
    for outcome in (
        account.disable(last, **facts),
        account.erase(last, **facts),
        account.change_roles(last, roles=("reader",), **roles),
    ):
        assert outcome.refusal.reason is Conflict.LAST_ADMINISTRATOR
    assert account.change_roles(last, roles=("administrator", "reader"), **roles).refusal is None


def test_disabling_cuts_off_and_enabling_revives_nothing() -> None:
    assert account.disable(after(), now=NOW, leaves_no_administrator=False).events == (AccountDisabled(),)
    assert account.enable(after(AccountDisabled()), now=NOW, **ENABLING).events == (AccountEnabled(),)
    state = after(AccountDisabled(), AccountEnabled())
    assert (state.enabled, state.cutoff) == (True, 2)


def test_enabling_an_account_needs_the_scopes_of_its_roles() -> None:
    disabled = after(AccountDisabled(), roles=("member", "administrator"))
    for caller_scope in (frozenset(), frozenset({"people:write", "people:read"})):
        outcome = account.enable(disabled, now=NOW, role_scopes=ROLE_SCOPES, caller_scope=caller_scope)
        assert (outcome.events, outcome.refusal.reason) == ((), Forbidden.ADMINISTRATIVE_SCOPE)
    everything = {"role_scopes": ROLE_SCOPES, "caller_scope": ADMINISTRATIVE_SCOPES}
    assert account.enable(disabled, now=NOW, **everything).events == (AccountEnabled(),)


def test_erasing_forgets_the_person_and_keeps_the_facts() -> None:
    assert account.erase(after(), now=NOW, leaves_no_administrator=False).events == (AccountErased(),)
    state = after(AccountErased())
    assert (state.exists, state.erased, state.enabled, state.cutoff) == (True, True, False, 2)
    assert (state.username, state.email, state.name, state.password_hash) == (None, None, None, None)
    assert account.enable(state, now=NOW, **ENABLING).refusal.reason is NotFound.UNKNOWN
    assert account.change_profile(state, name="Ada", **CHANGING).refusal.reason is NotFound.UNKNOWN


def test_repeats_change_nothing() -> None:
    for outcome in (
        account.disable(after(AccountDisabled()), now=NOW, leaves_no_administrator=False),
        account.enable(after(), now=NOW, **ENABLING),
        account.erase(after(AccountErased()), now=NOW, leaves_no_administrator=False),
    ):
        assert (outcome.events, outcome.refusal) == ((), None)


def test_there_is_nothing_to_command_of_an_unknown_person() -> None:
    assert account.disable(account.INITIAL, now=NOW, leaves_no_administrator=False).refusal.reason is NotFound.UNKNOWN
    assert account.erase(account.INITIAL, now=NOW, leaves_no_administrator=False).refusal.reason is NotFound.UNKNOWN
