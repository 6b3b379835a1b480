"""Secret versions: rotation, ends, and what authenticates when."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import client as client_page
from domain import client_secret as secret_page
from domain.client import ClientDeleted, ClientDisabled
from domain.client_secret import (
    DAY,
    NewSecret,
    RotationAnnounced,
    RotationScheduled,
    RotationUnscheduled,
    SecretExpiredUsed,
    SecretIssued,
    SecretRevoked,
    SecretRotated,
)
from domain.decision import Conflict, Forbidden, InvalidClient, InvalidRequest, NotFound
from domain.event import SECOND
from domain.registering.foreign_secret import ForeignSecretEnded, ForeignSecretImported
from tests.domain.history import NOW, given, loosely
from tests.domain.rules.test_client_registration import STREAM, registered

client, client_secret = loosely(client_page), loosely(secret_page)

ONE, TWO, THREE = "11" * 32, "22" * 32, "33" * 32
ISSUED = SecretIssued(secret_id="s1", version=1, sha256=ONE)
NEW: dict[str, Any] = {"new": NewSecret("s2", TWO), "caller_scope": frozenset()}


def rotated(others_expire_in=None, **changes):
    new = SecretRotated(secret_id="s2", version=2, sha256=TWO, others_expire_in=others_expire_in)
    return replace(new, **changes)


def after(*events, **registration):
    return given(client, STREAM, registered(**registration), ISSUED, *events)


# rotate -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others_expire_in", [None, 0, 3600])
def test_rotation_adds_a_version_and_says_when_others_end(others_expire_in) -> None:
    outcome = client_secret.rotate(after(), now=NOW, others_expire_in=others_expire_in, **NEW)
    assert outcome.events == (rotated(others_expire_in),)
    old, new = after(*outcome.events).secrets
    assert old.expires_at == (None if others_expire_in is None else NOW + others_expire_in * SECOND)
    assert (new.version, new.sha256, new.created_at, new.expires_at) == (2, TWO, NOW, None)


def test_a_rotation_never_prolongs_an_end() -> None:
    state = after(rotated(60), rotated(3600, secret_id="s3", version=3, sha256=THREE))
    assert [version.expires_at for version in state.secrets] == [NOW + 60 * SECOND, NOW + 3600 * SECOND, None]


@pytest.mark.parametrize("soon", [0, 60])
def test_a_rotation_brings_a_later_end_forward(soon) -> None:
    state = after(rotated(3600), rotated(soon, secret_id="s3", version=3, sha256=THREE))
    assert [version.expires_at for version in state.secrets] == [NOW + soon * SECOND, NOW + soon * SECOND, None]


def test_a_rotation_gives_no_end_to_what_was_revoked() -> None:
    (one, _) = after(SecretRevoked(secret_id="s1", tokens="keep"), rotated(60)).secrets
    assert (one.revoked, one.expires_at) == (True, None)


def test_versions_are_numbered_on() -> None:
    outcome = client_secret.rotate(after(rotated()), now=NOW, **NEW | {"new": NewSecret("s3", THREE)})
    assert outcome.events[0].version == 3


def test_a_version_may_have_an_end_of_its_own() -> None:
    state = after(rotated(lifetime=60))
    assert state.secrets[1].expires_at == NOW + 60 * SECOND


@pytest.mark.parametrize(
    ("field", "asked"),
    [("others_expire_in", {"others_expire_in": -1}), ("secret_lifetime", {"new": NewSecret("s2", TWO, -1)})],
)
def test_spans_are_not_negative(field, asked) -> None:
    outcome = client_secret.rotate(after(), now=NOW, **NEW | asked)
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, field)


def test_a_public_client_has_nothing_to_rotate() -> None:
    public = given(client, STREAM, registered(client_type="public", token_endpoint_auth_method="none"))
    assert client_secret.rotate(public, now=NOW, **NEW).refusal.reason is Conflict.NOT_CONFIDENTIAL


def test_a_deleted_client_gets_no_secret() -> None:
    assert client_secret.rotate(after(ClientDeleted()), now=NOW, **NEW).refusal.reason is NotFound.UNKNOWN


def test_secret_of_a_mightier_service_is_shown_to_nobody() -> None:
    service = after(grant_types=("client_credentials",), redirect_uris=(), scope=("people:write",))
    assert client_secret.rotate(service, now=NOW, **NEW).refusal.reason is Forbidden.ADMINISTRATIVE_SCOPE
    facts = NEW | {"caller_scope": frozenset({"people:write"})}
    assert client_secret.rotate(service, now=NOW, **facts).refusal is None


def test_a_secret_that_nobody_is_shown_hands_out_no_scope() -> None:
    board = after(
        client_type="dashboard",
        slug="board",
        realm="administration",
        grant_types=("password", "refresh_token"),
        redirect_uris=(),
        scope=("people:write",),
    )
    assert client_secret.rotate(board, now=NOW, **NEW).refusal is None


# A schedule -------------------------------------------------------------------------------------------------------

POLICY = RotationScheduled(maximum_age=10 * DAY, overlap=3600, warning=DAY)
DUE = NOW + 10 * DAY * SECOND


def test_a_policy_names_the_version_that_it_begins_with() -> None:
    asked: dict[str, Any] = {"maximum_age": 10 * DAY, "overlap": 3600, "warning": DAY}
    told = replace(POLICY, secret_id="s1", made_at=NOW)
    assert client_secret.set_policy(after(), now=NOW, **asked).events == (told,)
    assert client_secret.set_policy(after(POLICY), now=NOW, **asked).events == ()
    assert len(client_secret.set_policy(after(POLICY), now=NOW, **asked | {"warning": 0}).events) == 1
    assert client_secret.set_policy(after(ClientDeleted()), now=NOW, **asked).refusal.reason is NotFound.UNKNOWN
    public = given(client, STREAM, registered(client_type="public", token_endpoint_auth_method="none"))
    assert client_secret.set_policy(public, now=NOW, **asked).refusal.reason is Conflict.NOT_CONFIDENTIAL


@pytest.mark.parametrize(
    ("field", "value"),
    [("maximum_age", DAY - 1), ("maximum_age", 5 * 365 * DAY + 1), ("overlap", 10 * DAY + 1), ("warning", -1)],
)
def test_what_a_policy_may_be_is_bounded(field, value) -> None:
    asked = {"maximum_age": 10 * DAY, "overlap": 0, "warning": 0, field: value}
    outcome = client_secret.set_policy(after(), now=NOW, **asked)
    assert (outcome.refusal.reason, outcome.refusal.field) == (InvalidRequest.MALFORMED, field)


def test_a_version_is_announced_once_and_in_time() -> None:
    told = RotationAnnounced(secret_id="s1", version=1, due_at=DUE)
    assert client_secret.announce(after(POLICY), now=DUE - DAY * SECOND - 1).events == ()
    assert client_secret.announce(after(POLICY), now=DUE - DAY * SECOND).events == (told,)
    assert client_secret.announce(after(POLICY, told), now=DUE).events == ()
    newer = after(POLICY, told, rotated())
    assert client_secret.announce(newer, now=DUE).events == (replace(told, secret_id="s2", version=2),)
    for state in (after(), after(POLICY, ClientDeleted()), after(POLICY, RotationUnscheduled())):
        assert client_secret.announce(state, now=DUE).events == ()


def test_a_version_is_due_at_its_age_and_not_before() -> None:
    assert not client_secret.is_due(after(POLICY), DUE - 1)
    assert client_secret.is_due(after(POLICY), DUE)
    assert not client_secret.is_due(after(POLICY, (DUE - 1, rotated())), DUE)
    for state in (after(), after(POLICY, ClientDeleted()), after(POLICY, RotationUnscheduled())):
        assert not client_secret.is_due(state, DUE)


def test_where_a_rotation_says_nothing_the_policy_does() -> None:
    (told,) = client_secret.rotate(after(POLICY), now=NOW, **NEW).events
    assert (told.lifetime, told.others_expire_in) == (10 * DAY + 3600, 3600)
    own = NEW | {"new": NewSecret("s2", TWO, 60), "others_expire_in": 0}
    (told,) = client_secret.rotate(after(POLICY), now=NOW, **own).events
    assert (told.lifetime, told.others_expire_in) == (60, 0)
    assert client_secret.remove_policy(after(POLICY), now=NOW).events == (RotationUnscheduled(),)
    assert client_secret.remove_policy(after(), now=NOW).events == ()


# A secret of another system -----------------------------------------------------------------------------------------


def foreign(*events):
    return given(client, STREAM, registered(), ForeignSecretImported(secret_hash="$2b$04$x"), *events)


def test_a_secret_is_adopted_when_its_very_hash_was_right() -> None:
    facts: dict[str, Any] = {"now": NOW, "new": NewSecret("s1", ONE, foreign=True)}
    state = foreign()
    hidden = state.foreign_secret.event_id
    adopted = client_secret.adopt(state, verified=hidden, known=False, **facts)
    assert adopted.events == (replace(ISSUED, foreign=True), ForeignSecretEnded())
    assert foreign(*adopted.events).foreign_secret is None
    for told, verified, known in (
        (state, "another event", False),
        (state, hidden, True),
        (foreign(ClientDeleted()), hidden, False),
        (foreign(*adopted.events), hidden, False),
    ):
        assert client_secret.adopt(told, verified=verified, known=known, **facts).events == ()


def test_a_secret_that_nobody_showed_ends_with_the_others() -> None:
    assert client_secret.rotate(foreign(), now=NOW, **NEW).events == (replace(rotated(), version=1),)
    ended = client_secret.rotate(foreign(), now=NOW, others_expire_in=3600, **NEW).events
    assert ended == (replace(rotated(3600), version=1), ForeignSecretEnded())
    assert client_secret.revoke_all(foreign(), now=NOW).events == (ForeignSecretEnded(),)


# A later beginning ------------------------------------------------------------------------------------------------


def later(state, not_before_in, **when):
    return client_secret.rotate(state, now=NOW, not_before_in=not_before_in, **NEW, **when).refusal


def lasting(lifetime):
    return given(client, STREAM, registered(), replace(ISSUED, lifetime=lifetime))


def test_version_begins_no_later_than_the_others_expire() -> None:
    assert later(lasting(60), 60) is None
    assert later(lasting(60), 60, others_expire_in=3600) is None
    for when in ({}, {"others_expire_in": 3600}):
        refusal = later(lasting(60), 61, **when)
        assert (refusal.reason, refusal.field) == (InvalidRequest.MALFORMED, "not_before_in")


def test_the_last_of_the_others_counts() -> None:
    state = after(rotated(60, lifetime=120))
    assert later(state, 120) is None
    assert later(state, 121).field == "not_before_in"
    assert later(after(rotated(60)), 3600) is None
    assert later(after(rotated(60)), 3600, others_expire_in=3599).field == "not_before_in"


def test_a_version_that_has_ended_does_not_count() -> None:
    assert later(after(SecretRevoked(secret_id="s1", tokens="keep")), 60).field == "not_before_in"
    assert later(after(rotated(0, lifetime=60)), 61).field == "not_before_in"


def test_version_not_yet_begun_counts_from_its_not_before() -> None:
    begun = rotated(120, lifetime=300, not_before_in=120)
    assert later(after(begun), 300) is None
    assert later(after(begun), 301).field == "not_before_in"
    # Its predecessor was ended before that, so nothing works meanwhile.
    gap = after(begun, SecretRevoked(secret_id="s1", tokens="keep"))
    assert later(gap, 200).field == "not_before_in"
    assert later(gap, 0) is None


def test_policy_version_begins_while_the_others_overlap() -> None:
    policy = RotationScheduled(maximum_age=86_400, overlap=3600, warning=0)
    assert later(after(policy), 3600) is None
    assert later(after(policy), 3601).field == "not_before_in"


def test_a_version_that_has_not_begun_opens_nothing() -> None:
    state = after(rotated(not_before_in=120))
    assert client.authenticate(state, TWO, NOW + 120 * SECOND - 1) is InvalidClient.SECRET_NOT_YET_VALID
    assert client.live_secret(state, "s2", NOW + 120 * SECOND - 1) is InvalidClient.SECRET_NOT_YET_VALID
    assert client.authenticate(state, TWO, NOW + 120 * SECOND).secret_id == "s2"


def test_a_dashboards_version_begins_at_once() -> None:
    state = after(client_type="dashboard", slug="board", grant_types=("password", "refresh_token"), redirect_uris=())
    assert later(state, 60).field == "not_before_in"
    assert later(state, 0) is None


def test_a_version_works_for_a_while_before_it_ends() -> None:
    facts = NEW | {"new": NewSecret("s2", TWO, 60)}
    assert client_secret.rotate(after(), now=NOW, not_before_in=59, **facts).refusal is None
    assert client_secret.rotate(after(), now=NOW, not_before_in=60, **facts).refusal.field == "not_before_in"


# revoke -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "cutoff"), [("keep", 0), ("revoke", 3)])
def test_revoking_ends_a_version_and_on_demand_its_tokens(tokens, cutoff) -> None:
    outcome = client_secret.revoke(after(), now=NOW, secret_id="s1", tokens=tokens)
    assert outcome.events == (SecretRevoked(secret_id="s1", tokens=tokens),)
    (version,) = after(*outcome.events).secrets
    assert (version.revoked, version.tokens_cutoff) == (True, cutoff)


@pytest.mark.parametrize(
    ("first", "then", "events"),
    [("keep", "keep", 0), ("revoke", "revoke", 0), ("revoke", "keep", 0), ("keep", "revoke", 1)],
)
def test_a_repeat_changes_nothing_unless_it_ends_more(first, then, events) -> None:
    state = after(SecretRevoked(secret_id="s1", tokens=first))
    outcome = client_secret.revoke(state, now=NOW, secret_id="s1", tokens=then)
    assert (len(outcome.events), outcome.refusal) == (events, None)


def test_a_version_ended_when_it_was_ended_first() -> None:
    (version,) = after(
        SecretRevoked(secret_id="s1", tokens="keep"), (NOW + SECOND, SecretRevoked(secret_id="s1", tokens="revoke"))
    ).secrets
    assert (version.revoked_at, version.tokens_cutoff) == (NOW, 4)


def test_revoking_ends_no_other_version() -> None:
    one, two = after(rotated(), SecretRevoked(secret_id="s2", tokens="revoke")).secrets
    assert (one.revoked, one.tokens_cutoff, two.revoked) == (False, 0, True)


def test_an_unknown_version_cannot_be_revoked() -> None:
    assert client_secret.revoke(after(), now=NOW, secret_id="other").refusal.reason is NotFound.UNKNOWN
    assert client_secret.note_dead_use(after(), now=NOW, secret_id="other", via="token").refusal is not None


# Authentication ---------------------------------------------------------------------------------------------------


def test_every_live_version_authenticates() -> None:
    state = after(rotated(60))
    assert client.authenticate(state, ONE, NOW).secret_id == "s1"
    assert client.authenticate(state, TWO, NOW).secret_id == "s2"
    assert client.live_secret(state, "s1", NOW).version == 1


@pytest.mark.parametrize(
    ("events", "at", "reason"),
    [
        ((rotated(0),), NOW, InvalidClient.SECRET_EXPIRED),
        ((rotated(60),), NOW + 60 * SECOND, InvalidClient.SECRET_EXPIRED),
        ((SecretRevoked(secret_id="s1", tokens="keep"),), NOW, InvalidClient.SECRET_REVOKED),
        ((ClientDisabled(),), NOW, InvalidClient.DISABLED),
        ((ClientDeleted(),), NOW, InvalidClient.DELETED),
    ],
)
def test_a_dead_version_does_not(events, at, reason) -> None:
    state = after(*events)
    assert client.authenticate(state, ONE, at) is reason
    assert client.live_secret(state, "s1", at) is reason


def test_a_wrong_secret_is_wrong_whatever_the_client() -> None:
    assert client.authenticate(after(), THREE, NOW) is InvalidClient.WRONG_SECRET
    assert client.authenticate(after(ClientDisabled()), THREE, NOW) is InvalidClient.WRONG_SECRET
    assert client.live_secret(after(), "other", NOW) is InvalidClient.WRONG_SECRET
    assert client.authenticate(client.INITIAL, ONE, NOW) is InvalidClient.UNKNOWN


def test_the_version_behind_a_digest_is_found_even_when_dead() -> None:
    state = after(SecretRevoked(secret_id="s1", tokens="keep"))
    assert client_secret.matching(state.secrets, ONE).secret_id == "s1"
    assert client_secret.matching(state.secrets, TWO) is None


@pytest.mark.parametrize(
    ("end", "ended"), [(rotated(0), "expired"), (SecretRevoked(secret_id="s1", tokens="keep"), "revoked")]
)
def test_the_use_of_a_dead_version_is_recorded(end, ended) -> None:
    outcome = client_secret.note_dead_use(after(end), now=NOW, secret_id="s1", via="token", count=3, window_seconds=60)
    assert outcome.events == (SecretExpiredUsed(secret_id="s1", ended=ended, via="token", count=3, window_seconds=60),)


def test_versions_are_forgotten_long_after_their_last_token() -> None:
    later = NOW + client_secret.FORGOTTEN_AFTER
    third = rotated(secret_id="s3", version=3, sha256=THREE)
    assert [v.secret_id for v in after(rotated(0), (later - 1, third)).secrets] == ["s1", "s2", "s3"]
    state = after(rotated(0), (later, third))
    assert [v.secret_id for v in state.secrets] == ["s2", "s3"]
    assert state.secrets_issued == 3
