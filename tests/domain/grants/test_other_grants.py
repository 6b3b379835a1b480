"""Client credentials, the fenced password grant, and what every grant type states."""

import pytest
from msgspec.structs import replace

from domain.client_secret import SecretVersion
from domain.decision import Conflict, InvalidClient, InvalidGrant, InvalidScope, UnauthorizedClient
from domain.grants import GRANTS
from tests.domain.story import DASHBOARD, PAUL, PUBLIC, SERVICE, START, THIRD_PARTY, Story, digest, parties


def reason(outcome):
    return None if outcome.refusal is None else outcome.refusal.reason


def test_every_grant_type_is_a_file_that_states_itself():
    names = [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "device_code",
        "token-exchange",
        "jwt-bearer",
        "password",
    ]
    for name, (grant_type, each) in zip(names, GRANTS.items(), strict=True):
        assert grant_type.rpartition(":")[2] == name
        assert each.issue.__module__ == f"domain.grants.{name.replace('-', '_')}"
    presented = [None if each.credential is None else each.credential.parameter for each in GRANTS.values()]
    assert presented == ["code", "refresh_token", None, "device_code", "subject_token", None, None]
    assert [name for each in GRANTS.values() for name in each.response_types] == ["code"]


def test_client_credentials_never_give_a_refresh_token():
    story = Story()
    both = replace(SERVICE, grant_types=("client_credentials", "refresh_token"))
    outcome = story.credentials(parties(both, account=None))
    assert reason(outcome) is None
    [event] = story.events
    assert (event.grant_type, event.account_id, event.refresh_token) == ("client_credentials", None, None)
    assert (event.secret_id, event.secret_version, event.scope) == ("s1", 1, "orders catalog:read")
    assert not outcome.result.refresh
    assert reason(story.credentials()) is Conflict.EXISTS


@pytest.mark.parametrize(
    ("by", "asked", "expected"),
    [
        (parties(SERVICE), ("nothing:such",), InvalidScope.UNKNOWN),
        (parties(SERVICE), ("other",), InvalidScope.OUTSIDE_CLIENT),
        (parties(replace(SERVICE, scope=())), None, InvalidScope.NOTHING_LEFT),
        (parties(SERVICE, known=frozenset()), None, InvalidScope.NOTHING_LEFT),
        (parties(THIRD_PARTY), None, UnauthorizedClient.GRANT_TYPE),
        (parties(replace(PUBLIC, grant_types=("client_credentials",))), None, UnauthorizedClient.GRANT_TYPE),
        (parties(replace(SERVICE, enabled=False)), None, InvalidClient.DISABLED),
        (parties(replace(SERVICE, exists=False)), None, InvalidClient.UNKNOWN),
        (parties(SERVICE, secret_id="gone"), None, InvalidClient.WRONG_SECRET),
        (
            parties(replace(SERVICE, secrets=(SecretVersion("s1", 1, digest("s1"), 0, expires_at=START),))),
            None,
            InvalidClient.SECRET_EXPIRED,
        ),
    ],
)
def test_client_credentials_refused(by, asked, expected):
    story = Story()
    assert reason(story.credentials(by, scope=asked)) is expected
    assert story.events == []


def test_a_dashboard_signs_a_person_in():
    story = Story()
    assert reason(story.sign_in()) is None
    [event] = story.events
    assert (event.grant_type, event.client_id, event.account_id) == ("password", "dash", "paul")
    assert event.refresh_token == digest("rt1")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (parties(THIRD_PARTY), UnauthorizedClient.PASSWORD_GRANT),
        (parties(replace(THIRD_PARTY, grant_types=("password",))), UnauthorizedClient.PASSWORD_GRANT),
        (parties(DASHBOARD, account=None), InvalidGrant.CREDENTIALS),
        (parties(DASHBOARD, account=replace(PAUL, enabled=False)), InvalidGrant.CREDENTIALS),
        (parties(DASHBOARD, account=replace(PAUL, erased=True)), InvalidGrant.CREDENTIALS),
        (parties(DASHBOARD, account=replace(PAUL, realm="administration")), InvalidGrant.CREDENTIALS),
        (parties(DASHBOARD, account=replace(PAUL, password_cutoff=7)), InvalidGrant.CREDENTIALS),
        (parties(DASHBOARD, roles=()), InvalidScope.NOTHING_LEFT),
        (parties(replace(DASHBOARD, enabled=False)), InvalidClient.DISABLED),
    ],
)
def test_signing_in_refused(by, expected):
    story = Story()
    assert reason(story.sign_in(by)) is expected
    assert story.events == []


def test_a_password_that_changed_before_it_was_verified_is_right():
    story = Story()
    changed = parties(DASHBOARD, account=replace(PAUL, password_cutoff=7))
    assert reason(story.sign_in(changed, password_cutoff=7)) is None
