"""A client's life: disabled, enabled, deleted, its failures to authenticate."""

from functools import partial

import pytest

from domain import client as client_page
from domain import client as domain_client
from domain.client import (
    Attributes,
    AuthenticationFailed,
    ClientDeleted,
    ClientDisabled,
    ClientEnabled,
    ClientUpdated,
    TokenLimitReached,
)
from domain.client_secret import SecretIssued
from domain.decision import Forbidden, InvalidClient, InvalidRequest, NotFound, accept
from domain.event import Sealed
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.domain.history import NOW, given, loosely
from tests.domain.rules.test_client_registration import STREAM, registered

client = loosely(client_page)

ISSUED = SecretIssued(secret_id="s1", version=1, sha256="ab" * 32)


def after(*events):
    return given(client, STREAM, registered(owner="ada@example.test"), ISSUED, *events)


def test_a_client_is_what_it_was_registered_as() -> None:
    state = after()
    assert (state.exists, state.enabled, state.deleted, state.cutoff) == (True, True, False, 0)
    assert (state.client_id, state.type, state.scope, state.realm) == ("c1", "confidential", ("orders",), "platform")
    assert state.owner == Sealed("event-1", "owner", "sealed:ada@example.test")


enable = partial(client.enable, caller_scope=frozenset())


def test_enabling_a_client_needs_the_scopes_it_has() -> None:
    powerful = after(ClientUpdated(new=Attributes(scope=("people:write", "keys:write"))), ClientDisabled())
    outcome = client.enable(powerful, now=NOW, caller_scope=frozenset({"clients:write", "people:write"}))
    assert (outcome.events, outcome.refusal.reason) == ((), Forbidden.ADMINISTRATIVE_SCOPE)
    assert client.enable(powerful, now=NOW, caller_scope=ADMINISTRATIVE_SCOPES).events == (ClientEnabled(),)
    # Of one that is enabled already it is no news.
    assert enable(after(ClientUpdated(new=Attributes(scope=("keys:write",)))), now=NOW) == accept()


def test_disabling_cuts_off_and_enabling_revives_nothing() -> None:
    assert client.disable(after(), now=NOW).events == (ClientDisabled(),)
    assert client.enable(after(ClientDisabled()), now=NOW, caller_scope=frozenset()).events == (ClientEnabled(),)
    state = after(ClientDisabled(), ClientEnabled())
    assert (state.enabled, state.cutoff) == (True, 3)


@pytest.mark.parametrize(
    ("verb", "events"), [(client.disable, (ClientDisabled(),)), (enable, ()), (client.delete, (ClientDeleted(),))]
)
def test_a_repeat_changes_nothing(verb, events) -> None:
    outcome = verb(after(*events), now=NOW)
    assert (outcome.events, outcome.refusal) == ((), None)


def test_deleting_ends_everything() -> None:
    assert client.delete(after(), now=NOW).events == (ClientDeleted(),)
    state = after(ClientDeleted())
    assert (state.deleted, state.enabled, state.cutoff) == (True, False, 3)


@pytest.mark.parametrize("verb", [client.disable, enable])
@pytest.mark.parametrize("state", [client.INITIAL, after(ClientDeleted())], ids=["unknown", "deleted"])
def test_unknown_or_deleted_client_takes_no_command(verb, state) -> None:
    assert verb(state, now=NOW).refusal.reason is NotFound.UNKNOWN


def test_a_change_of_realm_cuts_off() -> None:
    assert after(ClientUpdated(new=Attributes(realm="administration"))).cutoff == 3
    assert after(ClientUpdated(new=Attributes(client_name="Other"))).cutoff == 0


@pytest.mark.parametrize(
    ("events", "reason"),
    [((), None), ((ClientDisabled(),), InvalidClient.DISABLED), ((ClientDeleted(),), InvalidClient.DELETED)],
)
def test_a_disabled_or_deleted_client_is_barred(events, reason) -> None:
    assert client.barred(after(*events)) is reason


def test_an_unknown_client_is_barred() -> None:
    assert client.barred(client.INITIAL) is InvalidClient.UNKNOWN


def test_failures_are_recorded_as_counts() -> None:
    event = AuthenticationFailed(reason="wrong_secret", count=7, window_seconds=60, address_limited=True)
    outcome = client.note_failed_authentication(
        after(), now=NOW, reason="wrong_secret", count=7, window_seconds=60, address_limited=True
    )
    assert outcome.events == (event,)
    assert after(event) == after()


def test_a_limit_that_was_reached_is_recorded_as_a_count() -> None:
    event = TokenLimitReached(limit=6_000, count=7, window_seconds=60)
    outcome = domain_client.note_limit_reached(after(), now=NOW, limit=6_000, count=7, window_seconds=60)
    assert outcome.events == (event,)
    assert after(event) == after()
    assert domain_client.note_limit_reached(client.INITIAL, now=NOW, limit=6_000).refusal.reason is NotFound.UNKNOWN
    bad = domain_client.note_limit_reached(after(), now=NOW, limit=6_000, count=0)
    assert bad.refusal.reason is InvalidRequest.MALFORMED


@pytest.mark.parametrize(("count", "window"), [(0, 60), (1, -1), (10**12, 60)])
def test_a_count_is_a_count(count, window) -> None:
    outcome = client.note_failed_authentication(after(), now=NOW, reason="method", count=count, window_seconds=window)
    assert outcome.refusal.reason is InvalidRequest.MALFORMED
