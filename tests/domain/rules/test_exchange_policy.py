"""The policy of token exchange: which rules may stand, which one is meant, and what it lets through (RFC 8693)."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.decision import InvalidRequest, InvalidScope, InvalidTarget, Refusal
from domain.rules import exchange_policy
from domain.rules.client_metadata import ExchangeRule
from domain.rules.exchange_policy import GRANT_TYPE, RULES_MAXIMUM, SCOPES_MAXIMUM, TOGETHER
from tests.domain.story import SERVICE

CATALOG, STOCK = "https://catalog.example", "https://stock.example"
RULE = ExchangeRule(subject_client="shop", resource=CATALOG, scope=("orders",))
GATEWAY = replace(SERVICE, grant_types=(GRANT_TYPE,), token_exchange=(RULE,))


def rule(number: int, **changes: Any) -> ExchangeRule:
    return replace(RULE, subject_client=f"shop{number}", **changes)


def characters(rules: tuple[ExchangeRule, ...]) -> int:
    return sum(len(each.subject_client) + len(each.resource) + sum(map(len, each.scope)) for each in rules)


def of_length(length: int) -> tuple[ExchangeRule, ...]:
    """Rules that have so many characters together."""
    rules = tuple(rule(number, scope=("x" * 100,)) for number in range(10, 25))
    return (*rules[:-1], replace(rules[-1], scope=("x" * 100, "y" * (length - characters(rules)))))


def test_rules_stand_up_to_their_bounds() -> None:
    many = tuple(rule(number) for number in range(RULES_MAXIMUM))
    wide = (replace(RULE, scope=tuple(f"s{number}" for number in range(SCOPES_MAXIMUM))),)
    for rules in ((), (RULE,), many, wide, of_length(TOGETHER)):
        assert exchange_policy.registered(replace(GATEWAY, token_exchange=rules)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "public"},
        {"type": "dashboard"},
        {"grant_types": ("client_credentials",)},
        {"token_exchange": (RULE, RULE)},
        {"token_exchange": tuple(rule(number) for number in range(RULES_MAXIMUM + 1))},
        {"token_exchange": of_length(TOGETHER + 1)},
        *(
            {"token_exchange": (rule(1), replace(RULE, **wrong))}
            for wrong in (
                {"subject_client": "a shop"},
                {"subject_client": ""},
                {"subject_client": "s" * 129},
                {"resource": "https://catalog.example/#part"},
                {"resource": "a b"},
                {"resource": ""},
                {"scope": ()},
                {"scope": tuple(f"s{number}" for number in range(SCOPES_MAXIMUM + 1))},
                {"scope": ("orders", 'quo"ted')},
                {"scope": ("orders", "s" * 129)},
                {"scope": ("orders", "clients:read")},
                {"scope": ("account",)},
                {"scope": ("offline_access",)},
            )
        ),
    ],
)
def test_rules_beyond_them_are_refused(changes: Any) -> None:
    outcome = exchange_policy.registered(replace(GATEWAY, **changes))
    assert outcome is not None
    assert outcome.refusal is not None
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, "token_exchange")
    rules = changes.get("token_exchange", ())
    if len(rules) == 2 and rules[0] != rules[1]:
        assert str(outcome.refusal.detail).startswith("rule 2 ")


def test_the_rule_is_that_of_the_client_and_of_what_is_named() -> None:
    other = replace(RULE, resource=STOCK, scope=("stock",))
    more = replace(RULE, scope=("orders", "catalog:read"))
    gateway = replace(GATEWAY, token_exchange=(RULE, other, more))
    found = exchange_policy.chosen(gateway, "shop", (CATALOG,))
    assert found == replace(RULE, scope=("orders", "catalog:read"))
    assert exchange_policy.chosen(gateway, "shop", (STOCK,)) == other
    assert exchange_policy.chosen(GATEWAY, "shop", ()) == RULE
    for subject, named, expected in (
        ("shop", (), InvalidTarget.MISSING),
        ("shop", (CATALOG, STOCK), InvalidTarget.SEVERAL),
        ("shop", ("https://else.example",), InvalidTarget.OUTSIDE_CLIENT),
        ("another", (CATALOG,), InvalidTarget.OUTSIDE_CLIENT),
    ):
        refused = exchange_policy.chosen(gateway, subject, named)
        assert isinstance(refused, Refusal)
        assert refused.reason is expected


@pytest.mark.parametrize(
    ("asked", "held", "expected"),
    [
        (None, ("orders", "stock"), ("orders",)),
        (("orders",), ("orders", "stock"), ("orders",)),
        (None, ("stock",), InvalidScope.NOTHING_LEFT),
        (("stock",), ("orders", "stock"), InvalidScope.WIDENED),
        (("orders",), ("stock",), InvalidScope.WIDENED),
        ((), ("orders",), InvalidScope.NOTHING_LEFT),
    ],
)
def test_nothing_is_had_that_was_not_held_or_is_not_in_the_rule(asked: Any, held: Any, expected: Any) -> None:
    assert exchange_policy.scope_of(RULE, asked, held) == expected


def test_what_nobody_may_have_is_not_had_by_an_older_rule() -> None:
    older = replace(RULE, scope=("orders", "account", "offline_access"))
    assert exchange_policy.scope_of(older, None, ("orders", "account", "offline_access")) == ("orders",)
