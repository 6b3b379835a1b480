"""Validity: one rule, every reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import account, client, consent
from domain.client_secret import SecretVersion
from domain.grants.validity import (
    ClientStanding,
    PersonStanding,
    Standing,
    TokenStanding,
    active_until,
    cause,
    of_client,
    of_person,
    only_time_decides,
    reason,
)

TOKEN = TokenStanding("access", position=10, issued_at=1000, expires_at=2000)
REFRESH = TokenStanding("refresh", position=10, issued_at=1000, expires_at=2000)
CLIENT = ClientStanding("enabled")
PERSON = PersonStanding("enabled")
ALIVE = Standing(TOKEN, "g1", CLIENT, PERSON)
NOW = 1500


@pytest.mark.parametrize(
    ("standing", "now", "expected"),
    [
        (None, NOW, "unknown"),
        (ALIVE, NOW, "active"),
        (replace(ALIVE, person=None), NOW, "active"),
        (ALIVE, 999, "not_yet_issued"),
        (ALIVE, 1000, "active"),
        (ALIVE, 1999, "active"),
        (ALIVE, 2000, "expired"),
        (replace(ALIVE, token=replace(TOKEN, ended=True)), NOW, "revoked"),
        (replace(ALIVE, token=replace(TOKEN, kind="code", ended=True)), NOW, "redeemed"),
        (replace(ALIVE, token=replace(REFRESH, rotated=True)), NOW, "rotated"),
        (replace(ALIVE, token=replace(REFRESH, rotated=True, grace_ends_at=NOW)), NOW, "rotated"),
        (replace(ALIVE, token=replace(REFRESH, rotated=True, grace_ends_at=NOW + 1)), NOW, "active"),
        (replace(ALIVE, token=replace(TOKEN, key_revoked_at=1200)), NOW, "revoked"),
        (replace(ALIVE, token=replace(TOKEN, key_revoked_at=2000)), NOW, "active"),
        (replace(ALIVE, token=replace(TOKEN, key_revoked_at=2000)), 3000, "expired"),
        (replace(ALIVE, grant_ended_at=1200), NOW, "grant_ended"),
        (replace(ALIVE, grant_ended_at=1200), 3000, "grant_ended"),
        (replace(ALIVE, grant_ended_at=2500), 3000, "expired"),
        (replace(ALIVE, client=ClientStanding("deleted")), NOW, "client_deleted"),
        (replace(ALIVE, client=ClientStanding("disabled")), NOW, "client_disabled"),
        (replace(ALIVE, client=ClientStanding("enabled", cutoff=11)), NOW, "client_disabled"),
        (replace(ALIVE, client=ClientStanding("enabled", cutoff=9)), NOW, "active"),
        (replace(ALIVE, client=ClientStanding("enabled", secret_cutoff=11)), NOW, "secret_ended"),
        (replace(ALIVE, client=ClientStanding("enabled", secret_cutoff=9)), NOW, "active"),
        (replace(ALIVE, client=ClientStanding("enabled", windows=((5, 11),))), NOW, "grant_ended"),
        (replace(ALIVE, client=ClientStanding("enabled", secret_windows=((5, 11),))), NOW, "secret_ended"),
        (replace(ALIVE, through=(CLIENT, ClientStanding("enabled", secret_cutoff=11))), NOW, "grant_ended"),
        (replace(ALIVE, through=(CLIENT, ClientStanding("disabled"))), NOW, "grant_ended"),
        (replace(ALIVE, through=(CLIENT, ClientStanding("enabled", cutoff=9))), NOW, "active"),
        (replace(ALIVE, person=PersonStanding("enabled", windows=((5, 11),))), NOW, "grant_ended"),
        (replace(ALIVE, person=PersonStanding("enabled", windows=((5, 10), (11, 20)))), NOW, "active"),
        (replace(ALIVE, person=PersonStanding("erased")), NOW, "person_erased"),
        (replace(ALIVE, person=PersonStanding("disabled")), NOW, "person_disabled"),
        (replace(ALIVE, person=PersonStanding("enabled", cutoff=11)), NOW, "person_disabled"),
        (replace(ALIVE, person=PersonStanding("enabled", password_cutoff=11)), NOW, "grant_ended"),
        (replace(ALIVE, person=PersonStanding("enabled", password_cutoff=11, password_except="g1")), NOW, "active"),
        (
            replace(ALIVE, person=PersonStanding("enabled", password_cutoff=11, password_except="g2")),
            NOW,
            "grant_ended",
        ),
        (replace(ALIVE, person=PersonStanding("enabled", consent_cutoff=11)), NOW, "grant_ended"),
        (replace(ALIVE, person=PersonStanding("enabled", consent_cutoff=9)), NOW, "active"),
    ],
)
def test_every_reason(standing, now, expected):
    assert reason(standing, now) == expected


def test_the_cause_is_finer_than_the_contract():
    assert cause(replace(ALIVE, person=PersonStanding("enabled", password_cutoff=11)), NOW) == "password_changed"
    assert cause(replace(ALIVE, person=PersonStanding("enabled", consent_cutoff=11)), NOW) == "consent_withdrawn"
    assert cause(replace(ALIVE, person=PersonStanding("enabled", windows=((5, 11),))), NOW) == "contained"
    assert cause(replace(ALIVE, client=ClientStanding("enabled", windows=((5, 11),))), NOW) == "contained"


def test_until_when_it_is_active_is_told_beforehand():
    assert active_until(ALIVE) == 2000
    assert active_until(replace(ALIVE, client=ClientStanding("disabled"))) == 1000
    rotated = replace(REFRESH, rotated=True)
    assert active_until(replace(ALIVE, token=rotated)) == 1000
    assert active_until(replace(ALIVE, token=replace(rotated, grace_ends_at=1600))) == 1600
    assert active_until(replace(ALIVE, token=replace(rotated, grace_ends_at=2600))) == 2000


STATES = st.builds(
    Standing,
    st.builds(
        TokenStanding,
        st.sampled_from(["access", "refresh", "code"]),
        st.integers(1, 50),
        st.integers(0, 100),
        st.integers(100, 200),
        st.booleans(),
    ),
    st.just("g1"),
    st.builds(
        ClientStanding, st.sampled_from(["enabled", "disabled", "deleted"]), st.integers(0, 50), st.integers(0, 50)
    ),
    st.none()
    | st.builds(PersonStanding, st.sampled_from(["enabled", "disabled", "erased"]), *[st.integers(0, 50)] * 2),
    st.none() | st.integers(0, 200),
)


@given(STATES, st.integers(100, 200), st.integers(0, 200))
def test_nothing_that_died_revives(standing, now, more):
    if reason(standing, now) != "active":
        assert reason(standing, now + more) != "active"
        enabled = replace(standing, client=replace(standing.client, cutoff=standing.client.cutoff + more))
        assert reason(enabled, now + more) != "active"


def test_a_standing_from_folds():
    secret = SecretVersion("s1", 1, "", 0, tokens_cutoff=7)
    known = client.State(exists=True, enabled=True, cutoff=5, secrets=(secret,))
    assert of_client(known, "s1") == ClientStanding("enabled", 5, 7)
    assert of_client(known, None) == ClientStanding("enabled", 5, 0)
    assert of_client(replace(known, enabled=False), None).state == "disabled"
    assert of_client(replace(known, deleted=True), None).state == "deleted"
    assert of_client(client.INITIAL, None).state == "deleted"
    paul = account.State(exists=True, enabled=True, cutoff=1, password_cutoff=2, password_except="g")
    assert of_person(paul, consent.State((), 3)) == PersonStanding("enabled", 1, 2, "g", 3)
    assert of_person(replace(paul, enabled=False), None) == PersonStanding("disabled", 1, 2, "g", 0)
    assert of_person(replace(paul, erased=True), None).state == "erased"
    assert of_person(account.INITIAL, None).state == "erased"


@given(STATES, st.booleans(), st.none() | st.integers(0, 200), st.integers(0, 250))
def test_where_only_time_decides_two_moments_tell_everything(standing, rotated, grace_ends_at, now):
    assert only_time_decides(ALIVE)
    token = replace(standing.token, rotated=rotated, grace_ends_at=grace_ends_at)
    standing = replace(standing, token=token)
    if only_time_decides(standing):
        expected = "not_yet_issued" if now < token.issued_at else "expired" if now >= token.expires_at else "active"
        assert reason(standing, now) == expected
        assert active_until(standing) == token.expires_at
