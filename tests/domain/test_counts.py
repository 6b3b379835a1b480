"""What anyone can repeat stands in the log as counts: uses of secrets, strangers, unknown clients; and starts."""

from functools import partial
from typing import Any

import pytest

from domain import realm as realm_page
from domain import server as server_page
from domain import usage as usage_page
from domain.decision import InvalidRequest
from tests.domain.history import NOW, given, loosely

realm, server, usage = loosely(realm_page), loosely(server_page), loosely(usage_page)


def test_uses_of_a_secret_add_up() -> None:
    first = usage.note(usage.INITIAL, now=NOW, client_id="c1", via="introspection").events
    assert first == (usage.FirstSeen(client_id="c1", via="introspection"),)
    more = usage.note(usage.INITIAL, now=NOW, client_id="c1", via="revocation", count=4, window_seconds=60).events
    assert more == (usage.Seen(client_id="c1", via="revocation", count=4, window_seconds=60),)
    state = given(usage, "usage:s1", *first, (NOW + 9, more[0]))
    assert (state.count, state.first_at, state.last_at) == (5, NOW, NOW + 9)


def note_token(count: int = 1, window_seconds: int = 0, **about: Any) -> Any:
    use = usage.TokenFirstSeen(**about)
    return usage.note_token(usage.INITIAL, now=NOW, use=use, count=count, window_seconds=window_seconds)


def test_uses_of_a_token_are_told_first_and_then_counted() -> None:
    about: dict[str, Any] = {
        "kind": "access",
        "via": "introspection",
        "client_id": "c",
        "account_id": "a",
        "seen_by": "server",
    }
    (first,) = note_token(**about, told_ip="192.0.2.1", told_user_agent="x" * 300).events
    assert (first.told_ip, len(first.told_user_agent)) == ("192.0.2.1", usage.TOLD_MAXIMUM)
    assert first.subject("usage:t") == "account:a"
    (more,) = note_token(4, 600, **about, ended="revoked").events
    assert note_token(0, **about).refusal.reason is InvalidRequest.MALFORMED
    state = given(usage, "usage:t", first, (NOW + 9, more))
    assert (state.count, state.after_end, state.first_at, state.last_at) == (5, 4, NOW, NOW + 9)


def test_what_is_told_of_a_services_token_is_about_the_service() -> None:
    (event,) = note_token(kind="access", via="api", client_id="c").events
    assert event.subject("usage:t") == "client:c"
    (event,) = note_token(kind="session", via="api").events
    assert event.subject("usage:t") == "usage:t"


def test_strangers_sign_ins_are_counted_without_their_names() -> None:
    refused = realm.UnknownUserRefused(count=3, window_seconds=60)
    assert realm.note(realm.INITIAL, now=NOW, refused=refused).events == (refused,)
    assert given(realm, "realm:platform", refused, refused).unknown_users_refused == 6


def test_unknown_clients_are_counted_without_their_names() -> None:
    refused = server.UnknownClientRefused()
    assert server.note(server.INITIAL, now=NOW, refused=refused).events == (refused,)
    assert given(server, "server", refused, refused).unknown_clients_refused == 2


def test_what_is_counted_together_names_nobody():
    assert given(realm, "realm:platform", realm.SignInsRefused(count=3, window_seconds=60)).sign_ins_refused == 3
    assert given(server, "server", server.ClientsRefused(count=2, window_seconds=5)).clients_refused == 2


NOTES = [
    (realm, realm.UnknownUserRefused),
    (realm, realm.SignInsRefused),
    (server, server.UnknownClientRefused),
    (server, server.ClientsRefused),
    (server, partial(server.RegistrationsRefused, reason="invalid_token")),
]


@pytest.mark.parametrize(("page", "refused"), NOTES)
@pytest.mark.parametrize("facts", [{"count": 0}, {"count": 1, "window_seconds": -1}])
def test_a_count_is_a_count(page, refused, facts) -> None:
    assert page.note(None, now=NOW, refused=refused(**facts)).refusal.reason is InvalidRequest.MALFORMED


def test_started_event_states_settings_and_changed_old_values() -> None:
    first = server.start(
        server.INITIAL, now=NOW, version="1", build="abc", settings={"port": 8400, "host": "::1"}
    ).events
    assert first == (server.ServerStarted(version="1", build="abc", settings={"port": 8400, "host": "::1"}),)
    state = given(server, "server", *first)
    second = server.start(state, now=NOW, version="2", settings={"port": 8500, "https": True}).events
    assert second == (
        server.ServerStarted(version="2", settings={"port": 8500, "https": True}, old={"port": 8400, "host": "::1"}),
    )
    state = given(server, "server", *first, (NOW + 5, second[0]))
    assert (state.version, state.build, state.settings["port"], state.started_at) == ("2", None, 8500, NOW + 5)


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("settings", {"version": "1", "settings": {"long": "x" * 24_000}}),
        ("version", {"version": "1" * 65, "settings": {}}),
        ("version", {"version": "1", "build": "b" * 129, "settings": {}}),
    ],
)
def test_a_start_fits_into_a_stored_event(field, facts) -> None:
    assert server.start(server.INITIAL, now=NOW, **facts).refusal.field == field
