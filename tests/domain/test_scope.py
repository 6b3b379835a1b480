"""Scopes: what they are called and how they are described, and that the server's own are a closed list."""

from typing import Any

import pytest

from domain import scope as scope_page
from domain.decision import Conflict, Forbidden, InvalidRequest, NotFound
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from domain.rules.built_in_scope import BUILT_IN
from domain.scope import ScopeChanged, ScopeDefined, ScopeRetired
from tests.domain.history import NOW, given, loosely

scope = loosely(scope_page)

FACTS: dict[str, Any] = {
    "now": NOW,
    "name": "catalog:read",
    "description": "See the catalogue",
    "caller_scope": frozenset(),
}


def after(*events, name="catalog:read"):
    return given(scope, f"scope:{name}", ScopeDefined(name=name, description="See the catalogue"), *events)


def test_a_scope_is_defined_then_described_anew() -> None:
    assert scope.put(scope.INITIAL, **FACTS).events == (
        ScopeDefined(name="catalog:read", description="See the catalogue"),
    )
    changed = scope.put(after(), **FACTS | {"description": "Read it"}).events
    assert changed == (ScopeChanged(old="See the catalogue", new="Read it"),)
    assert after(*changed).description == "Read it"


def test_the_same_description_is_no_event() -> None:
    outcome = scope.put(after(), **FACTS)
    assert (outcome.events, outcome.refusal) == ((), None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "two words"),
        ("name", 'quo"te'),
        ("name", "Catalog:read"),
        ("name", "x" * 129),
        ("description", ""),
        ("description", "x" * 301),
        ("description", "a\nb"),
    ],
)
def test_what_cannot_stand_is_refused_with_its_field(field, value) -> None:
    outcome = scope.put(scope.INITIAL, **FACTS | {field: value})
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, field)


@pytest.mark.parametrize("name", ["people:everything", "audit:", "keys:everything"])
def test_names_of_administrative_families_are_reserved(name) -> None:
    outcome = scope.put(scope.INITIAL, **FACTS | {"name": name, "caller_scope": ADMINISTRATIVE_SCOPES | {name}})
    assert outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


@pytest.mark.parametrize("name", sorted(ADMINISTRATIVE_SCOPES))
def test_admin_scopes_are_described_by_holders_and_never_retired(name) -> None:
    facts = FACTS | {"name": name}
    assert scope.put(scope.INITIAL, **facts).refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE
    assert scope.put(scope.INITIAL, **facts | {"caller_scope": frozenset({name})}).refusal is None
    assert scope.retire(after(name=name), now=NOW, name=name).refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_nobody_defines_describes_or_retires_a_built_in_scope(name) -> None:
    facts = FACTS | {"name": name, "caller_scope": ADMINISTRATIVE_SCOPES}
    for state in (scope.INITIAL, after(name=name)):
        assert scope.put(state, **facts).refusal.reason is Forbidden.BUILT_IN_SCOPE
        assert scope.retire(state, now=NOW, name=name).refusal.reason is Forbidden.BUILT_IN_SCOPE


def test_a_scope_in_use_is_not_retired() -> None:
    assert scope.retire(after(), now=NOW, name="catalog:read", in_use=True).refusal.reason is Conflict.IN_USE
    assert scope.retire(after(), now=NOW, name="catalog:read").events == (ScopeRetired(),)


def test_a_retired_scope_is_unknown_and_can_be_defined_again() -> None:
    state = after(ScopeRetired())
    assert scope.retire(state, now=NOW, name="catalog:read").refusal.reason is NotFound.UNKNOWN
    assert isinstance(scope.put(state, **FACTS).events[0], ScopeDefined)
