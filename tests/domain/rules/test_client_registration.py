"""Registering and changing clients (RFC 7591 §2), and who may hold administrative scopes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import client as client_page
from domain import client as domain_client
from domain.client import Attributes, ClientRegistered, ClientUpdated, Registration
from domain.client_secret import NewSecret, SecretIssued
from domain.decision import Conflict, Forbidden, InvalidRequest, NotFound
from domain.grants import GRANTS
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES, is_administrative
from domain.rules.pairwise import SectorDocument
from domain.rules.registration import Circumstances
from tests.domain.history import NOW, given, loosely

client = loosely(client_page)

STREAM = "client:c1"
KNOWN = ADMINISTRATIVE_SCOPES | {"orders", "catalog:read"}
WITHIN = Circumstances(
    caller_scope=frozenset(),
    known_scopes=KNOWN,
    grant_types=GRANTS,
    issuer="https://id.example.test",
)
SECRET: dict[str, Any] = {"secret": NewSecret("s1", "ab" * 32)}


def register(state, within=WITHIN, **asked) -> Any:
    return domain_client.register(state, now=NOW, registration=Registration(**asked), circumstances=within)


def update(state, within=WITHIN, **changed) -> Any:
    return domain_client.update(state, now=NOW, circumstances=within, **changed)


def called(*scopes: str) -> Circumstances:
    return replace(WITHIN, caller_scope=frozenset(scopes))


APP = Attributes(
    client_name="An app",
    redirect_uris=("https://app.example.test/cb",),
    grant_types=("authorization_code", "refresh_token"),
    scope=("orders", "catalog:read"),
)
SERVICE = Attributes(client_name="A service", grant_types=("client_credentials",), scope=("clients:read",))
DASHBOARD = Attributes(
    client_name="A dashboard",
    realm="administration",
    scope=("clients:read",),
    allowed_origins=("https://board.example.test",),
)


def registered(**changes):
    event = ClientRegistered(
        client_type="confidential",
        client_name="An app",
        redirect_uris=("https://app.example.test/cb",),
        grant_types=("authorization_code", "refresh_token"),
        scope=("orders",),
        token_endpoint_auth_method="client_secret_basic",
        realm="platform",
    )
    return msgspec.structs.replace(event, **changes)


def app(**changes):
    return given(client, STREAM, registered(**changes))


# register ---------------------------------------------------------------------------------------------------------


def test_a_confidential_client_comes_with_its_first_secret() -> None:
    outcome = register(client.INITIAL, attributes=APP, owner="ada@example.test", **SECRET)
    assert outcome.events == (
        registered(scope=("orders", "catalog:read"), owner="ada@example.test"),
        SecretIssued(secret_id="s1", version=1, sha256="ab" * 32),
    )


def test_a_public_client_has_no_secret() -> None:
    attributes = replace(APP, token_endpoint_auth_method="none")
    (event,) = register(client.INITIAL, attributes=attributes).events
    assert event.client_type == "public"


def test_a_dashboard_has_a_slug_and_the_grants_of_dashboards() -> None:
    within = called("clients:read")
    event, _ = register(client.INITIAL, within, attributes=DASHBOARD, slug="board", **SECRET).events
    assert (event.client_type, event.slug, event.grant_types) == ("dashboard", "board", ("password", "refresh_token"))


def test_a_client_is_registered_once() -> None:
    assert register(app(), attributes=APP, **SECRET).refusal.reason is Conflict.EXISTS


def test_a_slug_is_given_once() -> None:
    outcome = register(client.INITIAL, replace(WITHIN, slug_taken=True), attributes=DASHBOARD, slug="board", **SECRET)
    assert (outcome.refusal.reason, outcome.refusal.field) == (Conflict.NAME_TAKEN, "slug")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_name", ""),
        ("client_name", "x" * 201),
        ("client_name", "a\nb"),
        ("client_name", " padded"),
        ("redirect_uris", ()),
        ("redirect_uris", ("https://a.example/#part",)),
        ("redirect_uris", ("http://a.example/cb",)),
        ("redirect_uris", ("javascript:alert(1)",)),
        ("redirect_uris", ("https://a.example/cb", "https://a.example/cb")),
        ("redirect_uris", tuple(f"https://a.example/{n}" for n in range(51))),
        ("redirect_uris", tuple(f"https://a.example/{n}" + "x" * 1900 for n in range(9))),
        ("grant_types", ()),
        ("grant_types", ("password",)),
        ("grant_types", ("implicit",)),
        ("grant_types", ("authorization_code", "authorization_code")),
        ("scope", ("unknown",)),
        ("scope", ("orders", "orders")),
        ("scope", ("pro file",)),
        ("scope", tuple(f"s{n}" for n in range(101))),
        ("access_token_lifetime", 0),
        ("tokens_per_minute", 0),
        ("tokens_per_minute", 1_000_001),
        ("access_token_lifetime", 10**9),
        ("refresh_token_lifetime", -1),
        ("realm", "elsewhere"),
        ("allowed_origins", ("https://a.example/",)),
        ("allowed_origins", ("http://a.example",)),
        ("allowed_origins", ("null",)),
        ("allowed_origins", ("https://a.example:443",)),
        ("allowed_origins", tuple(f"https://a{n}.example" for n in range(21))),
        ("resources", ("catalog",)),
        ("resources", ("/catalog",)),
        ("resources", ("https://catalog.example#part",)),
        ("resources", ("https://catalog.example", "https://catalog.example")),
        ("resources", ("https://cat alog.example",)),
        ("resources", ("https://catalog.example/\u00e9",)),
        ("resources", ("https://catalog.example/" + "x" * 500,)),
        ("resources", tuple(f"urn:example:{n}" for n in range(21))),
        ("resources", tuple(f"urn:example:{n}" + "x" * 400 for n in range(3))),
        ("serves", ("catalog",)),
        ("serves", ("https://id.example.test",)),
        ("serves", ("https://catalog.example", "HTTPS://id.example.test/")),
    ],
)
def test_what_cannot_stand_is_refused_with_its_field(field, value) -> None:
    outcome = register(client.INITIAL, attributes=replace(APP, **{field: value}), **SECRET)
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, field)
    assert outcome.events == ()


@pytest.mark.parametrize(
    ("field", "attributes"),
    [
        ("grant_types", Attributes(grant_types=("client_credentials",), redirect_uris=())),
        ("require_pkce", Attributes(require_pkce=False)),
        ("serves", Attributes(serves=("https://catalog.example",))),
    ],
)
def test_a_public_client_may_not_do_what_takes_a_secret(field, attributes) -> None:
    public = replace(APP, token_endpoint_auth_method="none", **client.named(attributes))
    assert register(client.INITIAL, attributes=public).refusal.field == field


@pytest.mark.parametrize("owner", ["", "x" * 201, "a\x00b"])
def test_an_owner_is_a_short_line(owner) -> None:
    assert register(client.INITIAL, attributes=APP, owner=owner, **SECRET).refusal.field == "owner"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("slug", {"slug": "Not A Slug"}),
        ("slug", {"slug": "-board"}),
        ("allowed_origins", {"attributes": replace(DASHBOARD, allowed_origins=("https://elsewhere.test",))}),
        ("redirect_uris", {"attributes": replace(DASHBOARD, redirect_uris=("https://a.example/cb",))}),
        ("grant_types", {"attributes": replace(DASHBOARD, grant_types=("client_credentials",))}),
        ("serves", {"attributes": replace(DASHBOARD, serves=("https://catalog.example",))}),
        ("token_endpoint_auth_method", {"attributes": replace(DASHBOARD, token_endpoint_auth_method="none")}),
    ],
)
def test_a_dashboard_is_what_dashboards_are(field, changes) -> None:
    asked = SECRET | {"attributes": DASHBOARD, "slug": "board"} | changes
    assert register(client.INITIAL, called(*ADMINISTRATIVE_SCOPES), **asked).refusal.field == field


def test_a_refusal_never_repeats_what_was_typed() -> None:
    typed = "hunter2-hunter2"
    for attributes in (replace(APP, scope=(typed,)), replace(APP, redirect_uris=(typed,)), replace(APP, realm=typed)):
        assert typed not in register(client.INITIAL, attributes=attributes, **SECRET).refusal.detail


# Administrative scopes --------------------------------------------------------------------------------------------

SCOPES = st.lists(st.sampled_from(sorted(KNOWN)), unique=True, max_size=5).map(tuple)
CALLERS = st.frozensets(st.sampled_from(sorted(KNOWN)))
GRANT_TYPES = st.lists(
    st.sampled_from(["authorization_code", "refresh_token", "client_credentials"]), unique=True, min_size=1
).map(tuple)


@for_all(scope=SCOPES, caller=CALLERS, grants=GRANT_TYPES)
def test_registration_grants_own_scopes_and_to_services_alone(scope, caller, grants) -> None:
    attributes = replace(APP, scope=scope, grant_types=grants)
    outcome = register(client.INITIAL, called(*caller), attributes=attributes, **SECRET)
    asked = {name for name in scope if is_administrative(name)}
    if asked and grants != ("client_credentials",):
        assert outcome.refusal.reason is Forbidden.THIRD_PARTY
    elif not asked <= caller:
        assert outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE
    else:
        assert outcome.refusal is None


@for_all(before=SCOPES, after=SCOPES, caller=CALLERS)
def test_who_changes_a_service_could_give_it_what_it_had_and_has(before, after, caller) -> None:
    service = app(grant_types=("client_credentials",), redirect_uris=(), scope=before)
    outcome = update(service, called(*caller), changes=Attributes(scope=after))
    concerned = {name for name in (*before, *after) if is_administrative(name)}
    if after == before or concerned <= caller:
        assert outcome.refusal is None
    else:
        assert outcome.refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE


@for_all(scope=SCOPES, realm=st.sampled_from(["administration", "platform"]))
def test_admin_scopes_go_to_administration_dashboards_alone(scope, realm) -> None:
    attributes = replace(DASHBOARD, scope=scope, realm=realm)
    within = called(*ADMINISTRATIVE_SCOPES)
    outcome = register(client.INITIAL, within, attributes=attributes, slug="board", **SECRET)
    forbidden = realm == "platform" and any(is_administrative(name) for name in scope)
    assert (outcome.refusal is not None) is forbidden


@pytest.mark.parametrize(
    "changes",
    [
        Attributes(grant_types=("client_credentials", "refresh_token")),
        Attributes(grant_types=("authorization_code",), redirect_uris=("https://a.example/cb",)),
    ],
)
def test_service_with_admin_scopes_cannot_become_third_party(changes) -> None:
    service = app(grant_types=("client_credentials",), redirect_uris=(), scope=("people:write",))
    outcome = update(service, called(*ADMINISTRATIVE_SCOPES), changes=changes)
    assert outcome.refusal.reason is Forbidden.THIRD_PARTY


def test_dashboard_with_admin_scopes_cannot_change_its_realm() -> None:
    board = app(
        client_type="dashboard",
        slug="board",
        realm="administration",
        redirect_uris=(),
        grant_types=("password", "refresh_token"),
        scope=("people:write",),
    )
    outcome = update(board, called(*ADMINISTRATIVE_SCOPES), changes=Attributes(realm="platform"))
    assert outcome.refusal.reason is Forbidden.THIRD_PARTY


def test_change_needs_no_scope_that_it_leaves_as_it_is() -> None:
    service = app(grant_types=("client_credentials",), redirect_uris=(), scope=("people:write",))
    assert update(service, changes=Attributes(client_name="Another name")).refusal is None


# update -----------------------------------------------------------------------------------------------------------


def test_a_change_states_old_and_new_of_what_differs() -> None:
    changes = Attributes(client_name="Another", scope=("orders",), access_token_lifetime=60)
    outcome = update(app(), changes=changes)
    assert outcome.events == (
        ClientUpdated(
            old=Attributes(client_name="An app", access_token_lifetime=None),
            new=Attributes(client_name="Another", access_token_lifetime=60),
        ),
    )


def test_no_difference_is_no_event() -> None:
    outcome = update(app(), changes=Attributes(client_name="An app"), owner=None)
    assert (outcome.events, outcome.refusal) == ((), None)


def test_an_owner_is_replaced_and_removed() -> None:
    owned = app(owner="ada@example.test")
    assert update(owned, changes=Attributes(), owner="bob@example.test").events == (
        ClientUpdated(owner="bob@example.test"),
    )
    removal = update(owned, changes=Attributes(), owner=None).events
    assert removal == (ClientUpdated(owner_removed=True),)
    assert given(client, STREAM, registered(owner="ada@example.test"), *removal).owner is None


@pytest.mark.parametrize(("before", "after"), [("none", "client_secret_post"), ("client_secret_basic", "none")])
def test_a_client_stays_public_or_confidential(before, after) -> None:
    state = app(client_type="public" if before == "none" else "confidential", token_endpoint_auth_method=before)
    outcome = update(state, changes=Attributes(token_endpoint_auth_method=after))
    assert outcome.refusal.field == "token_endpoint_auth_method"


def test_what_is_gone_or_never_was_cannot_be_changed() -> None:
    for state in (client.INITIAL, given(client, STREAM, registered(), client.ClientDeleted())):
        assert update(state, changes=Attributes(client_name="New")).refusal.reason is NotFound.UNKNOWN


def test_the_largest_change_fits_into_a_stored_event() -> None:
    uris = tuple(f"https://{mark}.example/{n:02}" + "x" * 306 for mark in "ab" for n in range(50))
    scopes = tuple(f"{n:03}" + "s" * 37 for n in range(200))
    origins = tuple(f"https://{n:02}" + "o" * 245 for n in range(40))
    lists = [tuple(f"urn:{mark}:{n:02}" + "r" * 52 for n in range(20)) for mark in "abcd"]
    sector = SectorDocument("https://b.example/" + "s" * 494, frozenset(uris))
    within = replace(WITHIN, known_scopes=frozenset(scopes), sector=sector)
    before = registered(
        client_name='"' * 200,
        redirect_uris=uris[:50],
        scope=scopes[:100],
        allowed_origins=origins[:20],
        resources=lists[0],
        serves=lists[1],
        backchannel_logout_uri="https://a.example/" + "b" * 494,
        sector_identifier_uri="https://a.example/" + "s" * 494,
    )
    changes = Attributes(
        client_name="\U0001f600" * 200,
        redirect_uris=uris[50:],
        scope=scopes[100:],
        allowed_origins=origins[20:],
        resources=lists[2],
        serves=lists[3],
        backchannel_logout_uri="https://b.example/" + "b" * 494,
        sector_identifier_uri="https://b.example/" + "s" * 494,
    )
    outcome = update(given(client, STREAM, before), within, changes=changes, owner="\U0001f600" * 200)
    assert 50_000 < len(msgspec.json.encode(outcome.events[0])) < client.CHANGE_MAXIMUM


def test_a_change_that_is_too_large_is_refused() -> None:
    uris = tuple(f"https://a.example/{n:02}" + "x" * 1_000 for n in range(62))
    before = given(client, STREAM, registered(redirect_uris=uris, backchannel_logout_uri="https://a.example/logout"))
    outcome = update(before, changes=Attributes(redirect_uris=uris[:1], backchannel_logout_uri=None))
    assert (outcome.events, outcome.refusal.field) == ((), "redirect_uris")
    assert "too much" in outcome.refusal.detail
