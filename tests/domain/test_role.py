"""Roles: what they may allow, who may make them so, and that an administrator is always left."""

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain import role as role_page
from domain.decision import Conflict, Forbidden, InvalidRequest, NotFound
from domain.role import Definition, RoleChanged, RoleDefined, RoleRetired
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.domain.history import NOW, given, loosely

role = loosely(role_page)

STREAM = "role:administration:support"
FACTS: dict[str, Any] = {
    "now": NOW,
    "realm": "administration",
    "name": "support",
    "scopes": ("orders", "people:read"),
    "default": False,
    "caller_scope": ADMINISTRATIVE_SCOPES,
    "known_scopes": ADMINISTRATIVE_SCOPES | {"orders"},
}


def after(*events, scopes=("orders", "people:read"), default=False):
    return given(
        role, STREAM, RoleDefined(realm="administration", name="support", scopes=scopes, default=default), *events
    )


def test_a_role_is_defined_then_changed_old_and_new() -> None:
    assert role.put(role.INITIAL, **FACTS).events == (
        RoleDefined(realm="administration", name="support", scopes=("orders", "people:read"), default=False),
    )
    changed = role.put(after(), **FACTS | {"scopes": ("orders",), "default": True}).events
    assert changed == (
        RoleChanged(
            old=Definition(scopes=("orders", "people:read"), default=False),
            new=Definition(scopes=("orders",), default=True),
        ),
    )
    state = after(*changed)
    assert (state.realm, state.name, state.scopes, state.default) == ("administration", "support", ("orders",), True)


def test_the_same_definition_is_no_event() -> None:
    outcome = role.put(after(), **FACTS)
    assert (outcome.events, outcome.refusal) == ((), None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("realm", "elsewhere"),
        ("name", "Upper"),
        ("name", "x" * 65),
        ("name", "a:b"),
        ("scopes", ("unknown",)),
        ("scopes", ("orders", "orders")),
    ],
)
def test_what_cannot_stand_is_refused_with_its_field(field, value) -> None:
    outcome = role.put(role.INITIAL, **FACTS | {field: value})
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, field)


def test_roles_of_the_platform_allow_no_administration() -> None:
    outcome = role.put(role.INITIAL, **FACTS | {"realm": "platform"})
    assert outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


NAMES = st.lists(st.sampled_from(sorted(ADMINISTRATIVE_SCOPES | {"orders"})), unique=True, max_size=4).map(tuple)


@for_all(
    before=NAMES,
    after_=NAMES,
    default=st.booleans(),
    caller=st.frozensets(st.sampled_from(sorted(ADMINISTRATIVE_SCOPES))),
)
def test_changing_a_role_needs_the_admin_scopes_it_allows(before, after_, default, caller) -> None:
    facts = FACTS | {"scopes": after_, "default": default, "caller_scope": caller}
    outcome = role.put(after(scopes=before), **facts)
    same = (after_, default) == (before, False)
    if same or ({*after_, *before} & ADMINISTRATIVE_SCOPES) <= caller:
        assert outcome.refusal is None
    else:
        assert outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


def test_last_administrators_role_keeps_its_admin_scope() -> None:
    last = after(scopes=("people:write",))
    facts = FACTS | {"leaves_no_administrator": True}
    assert role.put(last, **facts | {"scopes": ("orders",)}).refusal.reason is Conflict.LAST_ADMINISTRATOR
    assert role.put(last, **facts | {"scopes": ("orders", "people:write")}).refusal is None
    outcome = role.retire(last, now=NOW, caller_scope=ADMINISTRATIVE_SCOPES, leaves_no_administrator=True)
    assert outcome.refusal.reason is Conflict.LAST_ADMINISTRATOR


RETIRING: dict[str, Any] = {"now": NOW, "caller_scope": ADMINISTRATIVE_SCOPES}


def test_retiring_a_role_needs_the_scopes_it_allows() -> None:
    refusal = role.retire(after(), now=NOW, caller_scope=frozenset({"people:write"})).refusal
    assert refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


def test_a_role_that_people_have_is_not_retired() -> None:
    assert role.retire(after(), **RETIRING, in_use=True).refusal.reason is Conflict.IN_USE
    assert role.retire(after(), **RETIRING).events == (RoleRetired(),)


def test_a_retired_role_is_unknown_and_can_be_defined_again() -> None:
    state = after(RoleRetired())
    assert role.retire(state, **RETIRING).refusal.reason is NotFound.UNKNOWN
    assert isinstance(role.put(state, **FACTS).events[0], RoleDefined)
