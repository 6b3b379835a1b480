"""Clients as the administration finds and lists them."""

from domain.client import Attributes, ClientDeleted, ClientDisabled, ClientEnabled, ClientRegistered, ClientUpdated
from domain.rules.client_metadata import NO_KEYS
from projections import clients
from tests.domain.history import NOW
from tests.projections.conftest import Log


def registered(name: str = "App", **changes) -> ClientRegistered:
    facts = {
        "client_type": "confidential",
        "client_name": name,
        "redirect_uris": ("https://app.example.test/cb",),
        "grant_types": ("authorization_code",),
        "scope": ("orders", "catalog:read"),
        "token_endpoint_auth_method": "client_secret_basic",
        "realm": "platform",
    }
    return ClientRegistered(**facts | changes)


def test_registered_client_is_found_with_all_its_metadata(log: Log) -> None:
    log.tell(
        "client:c1",
        registered(
            owner="ada@example.test",
            access_token_lifetime=300,
            allowed_origins=("https://a.test",),
            resources=("https://b.test", "urn:c"),
            serves=("https://a.test/api",),
        ),
    )
    found = clients.by_id(log.connection, "c1")
    assert found == clients.ClientRow(
        client_id="c1",
        position=1,
        type="confidential",
        slug=None,
        realm="platform",
        client_name="App",
        redirect_uris=("https://app.example.test/cb",),
        grant_types=("authorization_code",),
        scope=("orders", "catalog:read"),
        token_endpoint_auth_method="client_secret_basic",
        require_pkce=True,
        access_token_lifetime=300,
        refresh_token_lifetime=None,
        allowed_origins=("https://a.test",),
        tokens_per_minute=None,
        resources=("https://b.test", "urn:c"),
        serves=("https://a.test/api",),
        id_token_signed_response_alg="RS256",
        userinfo_signed_response_alg=None,
        token_endpoint_auth_signing_alg=None,
        first_party=False,
        token_exchange=(),
        keys=NO_KEYS,
        require_pushed_authorization_requests=False,
        post_logout_redirect_uris=(),
        backchannel_logout_uri=None,
        backchannel_logout_session_required=False,
        subject_type="public",
        sector_identifier_uri=None,
        self_registered=None,
        metadata_uri=None,
        dpop_bound_access_tokens=False,
        tls_client_certificate_bound_access_tokens=False,
        profile=None,
        require_signed_request_object=False,
        request_object_signing_alg=None,
        authorization_signed_response_alg=None,
        access_token_format="opaque",
        authorization_details_types=(),
        owner="event-1|owner|s1.ada@example.test",
        state="enabled",
        created_at=NOW,
        updated_at=NOW,
    )
    assert clients.by_id(log.connection, "c2") is None


def test_changes_show_and_leave_the_rest(log: Log) -> None:
    log.tell("client:c1", registered(owner="ada@example.test"))
    new = Attributes(client_name="Other", scope=(), access_token_lifetime=None, require_pkce=False)
    log.tell("client:c1", ClientUpdated(new=new), at=NOW + 7)
    found = clients.by_id(log.connection, "c1")
    assert found is not None
    assert (found.client_name, found.scope, found.require_pkce) == ("Other", (), False)
    assert (found.owner, found.redirect_uris, found.updated_at) == (
        "event-1|owner|s1.ada@example.test",
        ("https://app.example.test/cb",),
        NOW + 7,
    )
    log.tell("client:c1", ClientUpdated(owner_removed=True))
    assert (removed := clients.by_id(log.connection, "c1")) is not None
    assert removed.owner is None


def test_states(log: Log) -> None:
    def state():
        found = clients.by_id(log.connection, "c1")
        return found and found.state

    log.tell("client:c1", registered())
    log.tell("client:c1", ClientDisabled())
    assert state() == "disabled"
    log.tell("client:c1", ClientEnabled())
    assert state() == "enabled"
    log.tell("client:c1", ClientDeleted())
    assert state() == "deleted"


def test_a_dashboard_is_found_by_its_slug_until_it_is_deleted(log: Log) -> None:
    board = registered(client_type="dashboard", slug="board", realm="administration")
    log.tell("client:d1", board)
    assert clients.id_by_slug(log.connection, "board") == "d1"
    log.tell("client:d1", ClientDeleted())
    assert clients.id_by_slug(log.connection, "board") is None
    log.tell("client:d2", board)
    assert clients.id_by_slug(log.connection, "board") == "d2"


def test_pages_follow_one_another_without_the_deleted(log: Log) -> None:
    for number in range(5):
        log.tell(f"client:c{number}", registered(client_type="dashboard" if number % 2 else "confidential"))
    log.tell("client:c2", ClientDeleted())
    first = clients.page(log.connection, limit=2)
    assert [c.client_id for c in first.items] == ["c0", "c1"]
    second = clients.page(log.connection, limit=2, after=first.next)
    assert ([c.client_id for c in second.items], second.next) == (["c3", "c4"], None)
    assert [c.client_id for c in clients.dashboards(log.connection).items] == ["c1", "c3"]


def test_which_clients_may_have_a_scope(log: Log) -> None:
    log.tell("client:c1", registered(scope=("Profile", "a_b")))
    assert clients.may_name_scope(log.connection, "Profile") == ["c1"]
    assert clients.may_name_scope(log.connection, "aXb") == []
    log.tell("client:c1", ClientDeleted())
    assert clients.may_name_scope(log.connection, "Profile") == []


def test_origins_are_those_of_enabled_clients(log: Log) -> None:
    log.tell("client:c1", registered(allowed_origins=("https://a.test", "https://b.test")))
    log.tell("client:c2", registered(allowed_origins=("https://c.test",)))
    log.tell("client:c2", ClientDisabled())
    assert clients.may_allow_origin(log.connection, "https://b.test") == ["c1"]
    assert clients.may_allow_origin(log.connection, "https://c.test") == []
