"""Scope: unknown and foreign names refuse, roles narrow silently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import role
from domain.refusal import InvalidScope
from domain.rules import scope

CLIENT = ("a", "b", "c")
KNOWN = frozenset({"a", "b", "c", "d"})


def roles(*scopes):
    return (role.State(exists=True, name="r", scopes=scopes),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("", None), (" ", None), ("a", ("a",)), ("b a b", ("b", "a")), (" a  b ", ("a", "b"))],
)
def test_parse(text, expected):
    assert scope.parse(text) == expected


@pytest.mark.parametrize(
    ("asked", "persons", "expected"),
    [
        (None, None, ("a", "b", "c")),
        (None, roles("c", "a", "x"), ("a", "c")),
        (None, roles(), InvalidScope.NOTHING_LEFT),
        (("c", "a"), None, ("c", "a")),
        (("a", "b"), roles("b"), ("b",)),
        (("a",), roles("b"), InvalidScope.NOTHING_LEFT),
        (("a", "x"), roles("a"), InvalidScope.UNKNOWN),
        (("a", "d"), roles("a", "d"), InvalidScope.OUTSIDE_CLIENT),
        (("a",), (role.State(exists=False, scopes=("a",)),), InvalidScope.NOTHING_LEFT),
    ],
)
def test_granted(asked, persons, expected):
    assert scope.granted(asked, within=CLIENT, known=KNOWN, roles=persons) == expected


def test_a_retired_scope_of_the_client_is_left_out():
    assert scope.granted(None, within=CLIENT, known={"a"}, roles=None) == ("a",)


NAMES = st.lists(st.sampled_from("abcdex"), unique=True).map(tuple)


@given(asked=st.none() | NAMES.filter(bool), original=NAMES.filter(bool), within=NAMES, persons=st.none() | NAMES)
def test_refreshing_never_widens(asked, original, within, persons):
    found = scope.refreshed(
        asked,
        original=original,
        within=within,
        known=KNOWN,
        roles=None if persons is None else roles(*persons),
    )
    if not isinstance(found, InvalidScope):
        assert found
        assert set(found) <= set(original) & set(within) & KNOWN
        assert asked is None or set(found) <= set(asked)
        assert persons is None or set(found) <= set(persons)
    if asked is not None and not set(asked) <= set(original):
        assert found is InvalidScope.WIDENED
