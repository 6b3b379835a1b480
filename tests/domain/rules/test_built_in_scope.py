"""Built-in scopes in requests: independent of roles, never by omission where that would say more, for people alone."""

import pytest

from domain import scope as scope_page
from domain.client import State as Client
from domain.decision import Forbidden, InvalidScope
from domain.grants import GRANTS
from domain.role import State as Role
from domain.rules import registration
from domain.rules.built_in_scope import BUILT_IN, DESCRIPTIONS, forgoes_refreshing
from domain.rules.registration import Circumstances
from tests.domain.history import loosely

scope = loosely(scope_page)

KNOWN = frozenset({"catalog:read", *BUILT_IN})
ALL = ("openid", "catalog:read", "profile", "offline_access")
BUYER = Role(exists=True, scopes=("catalog:read",))


def test_no_role_has_to_allow_a_built_in_scope() -> None:
    given = scope.granted(ALL, within=ALL, known=KNOWN, roles=())
    assert given == ("openid", "profile", "offline_access")
    assert scope.granted(ALL, within=ALL, known=KNOWN, roles=(BUYER,)) == ALL


@pytest.mark.parametrize(
    ("dashboard", "expected"), [(False, ("catalog:read", "profile")), (True, ("openid", "catalog:read", "profile"))]
)
def test_openid_and_offline_access_are_not_supplied_by_omission(dashboard, expected) -> None:
    assert scope.granted(None, within=ALL, known=KNOWN, roles=(BUYER,), dashboard=dashboard) == expected


def test_a_refresh_keeps_what_was_asked_for() -> None:
    facts = {"original": ALL, "within": ALL, "known": KNOWN, "roles": (BUYER,)}
    assert scope.refreshed(None, **facts) == ALL
    assert scope.refreshed(("openid",), **facts) == ("openid",)
    assert scope.refreshed(("email",), **facts) is InvalidScope.WIDENED
    assert scope.refreshed(None, **facts | {"within": ("openid",)}) == ("openid",)


@pytest.mark.parametrize("asked", [None, ("catalog:read", "profile")])
def test_where_there_is_no_person_built_in_scopes_are_dropped(asked) -> None:
    assert scope.granted(asked, within=ALL, known=KNOWN, roles=None) == ("catalog:read",)
    assert scope.granted(("profile",), within=ALL, known=KNOWN, roles=None) is InvalidScope.NOTHING_LEFT


def test_an_authorization_request_is_judged_without_the_person() -> None:
    assert scope.requested(("openid",), within=ALL, known=KNOWN) is None
    assert scope.requested(None, within=("openid",), known=KNOWN) is InvalidScope.NOTHING_LEFT
    assert scope.requested(("email",), within=ALL, known=KNOWN) is InvalidScope.OUTSIDE_CLIENT
    assert scope.requested(("unheard",), within=ALL, known=KNOWN) is InvalidScope.UNKNOWN


def test_account_is_a_dashboards_whoever_was_registered_with_it() -> None:
    within = ("account", "catalog:read")
    facts = {"within": within, "known": KNOWN, "roles": (BUYER,)}
    assert scope.granted(("account",), **facts) is InvalidScope.OUTSIDE_CLIENT
    assert scope.granted(None, **facts) == ("catalog:read",)
    assert scope.refreshed(None, original=within, **facts) == ("catalog:read",)
    assert scope.granted(None, dashboard=True, **facts) == within


def test_account_is_registered_for_dashboards_alone() -> None:
    circumstances = Circumstances(
        caller_scope=frozenset(), known_scopes=KNOWN, grant_types=GRANTS, issuer="https://login.example"
    )
    shop = Client(client_name="Shop", grant_types=("client_credentials",), scope=("account", "profile"))
    refused = registration.refusal(shop, before=Client(), circumstances=circumstances)
    assert refused is not None
    assert refused.refusal.reason is Forbidden.THIRD_PARTY
    # Whoever has had a scope of that name goes on, and gets nothing for it.
    assert registration.refusal(shop, before=shop, circumstances=circumstances) is None
    dashboard = Client(
        client_name="Stock",
        type="dashboard",
        slug="stock",
        grant_types=registration.DASHBOARD_GRANT_TYPES,
        scope=("account", "openid"),
    )
    assert registration.refusal(dashboard, before=Client(), circumstances=circumstances) is None


@pytest.mark.parametrize(
    ("approved", "expected"),
    [(("openid",), True), (("openid", "offline_access"), False), (("catalog:read",), False), (("profile",), False)],
)
def test_who_asked_for_openid_alone_forgoes_refreshing(approved, expected) -> None:
    assert forgoes_refreshing(approved) is expected


def test_every_built_in_scope_has_words_for_the_consent_page() -> None:
    assert all(text and text[0].isupper() and not text.endswith(".") for text in DESCRIPTIONS.values())
