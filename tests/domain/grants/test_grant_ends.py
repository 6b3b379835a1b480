"""Revoking one token, and ending a grant."""

import pytest

from domain import grant
from domain.decision import InvalidGrant, NotFound
from domain.event import ANONYMOUS, SECOND, Recorded
from tests.domain.story import DAY, Story, digest, redeemed


def reason(outcome):
    return None if outcome.refusal is None else outcome.refusal.reason


def revoke(story, kind, name, client_id="third", by="client", issued_to=None):
    facts = {"client_id": client_id, "issued_to": issued_to, "kind": kind, "sha256": digest(name), "by": by}
    return story.decide(grant.revoke_token, expires_at=grant_expiry(story), **facts)


def grant_expiry(story):
    issued = next(r for r in story.recorded if r.type == "grant.tokens_issued")
    return issued.time + issued.event.lifetime * SECOND


def test_an_access_token_ends_alone_and_once():
    story = redeemed()
    assert reason(revoke(story, "access", "at1")) is None
    assert reason(revoke(story, "access", "at1")) is None
    assert story.types.count("grant.token_revoked") == 1
    assert story.state.ended_at is None
    assert reason(story.refresh("rt1")) is None


def test_an_expired_access_token_needs_no_revocation():
    story = redeemed().later(600)
    assert reason(revoke(story, "access", "at1")) is None
    assert "grant.token_revoked" not in story.types


def test_revoked_tokens_are_forgotten_at_their_expiry():
    story = redeemed()
    revoke(story, "access", "at1")
    assert len(story.state.revoked) == 1
    story.later(600).refresh("rt1")
    assert len(story.state.revoked) == 0


@pytest.mark.parametrize(("by", "expected"), [("client", "client"), ("person", "person"), ("system", "administrator")])
def test_a_refresh_token_ends_its_grant_even_after_it_was_used(by, expected):
    story = redeemed()
    story.refresh("rt1")
    assert reason(revoke(story, "refresh", "rt1", client_id=None, by=by)) is None
    assert story.state.ended_reason == expected
    assert reason(revoke(story, "refresh", "rt1")) is None
    assert story.types.count("grant.ended") == 1


def test_another_clients_token_is_refused():
    story = redeemed()
    before = list(story.events)
    assert reason(revoke(story, "refresh", "rt1", client_id="foreign")) is InvalidGrant.FOREIGN_CLIENT
    assert story.events == before


def test_a_token_had_in_exchange_is_its_own_clients_to_revoke():
    story = redeemed()
    assert reason(revoke(story, "access", "at9", issued_to="gateway")) is InvalidGrant.FOREIGN_CLIENT
    assert reason(revoke(story, "access", "at9", client_id="gateway", issued_to="gateway")) is None
    assert story.types[-1] == "grant.token_revoked"
    assert story.state.ended_at is None


def test_nothing_is_left_to_revoke_of_a_grant_that_has_ended():
    story = redeemed()
    revoke(story, "refresh", "rt1")
    before = list(story.events)
    assert reason(revoke(story, "access", "at1")) is None
    assert story.events == before


def test_what_goes_on_with_a_grant():
    story = Story()
    assert grant.goes_on_with(story.state) is None
    story.code()
    assert grant.goes_on_with(story.state) == digest("code")
    story.redeem()
    story.refresh("rt1")
    assert grant.goes_on_with(story.state) == digest("rt2")
    revoke(story, "refresh", "rt2")
    assert grant.goes_on_with(story.state) is None


def test_ending_is_for_whoever_it_belongs_to_and_happens_once():
    story = redeemed()
    assert reason(story.decide(grant.end, reason="person", account_id="somebody")) is NotFound.UNKNOWN
    assert reason(story.decide(grant.end, reason="logout", client_id="foreign")) is NotFound.UNKNOWN
    assert reason(story.decide(grant.end, reason="person", account_id="paul")) is None
    assert reason(story.later(DAY).decide(grant.end, reason="administrator")) is None
    assert story.state.ended_reason == "person"
    assert reason(Story().decide(grant.end, reason="administrator")) is NotFound.UNKNOWN


def test_an_event_of_another_aggregate_is_a_bug():
    stranger = Recorded(1, "e", "grant:g1", 1, 0, ANONYMOUS, None, None, None, object())
    with pytest.raises(AssertionError, match="object"):
        grant.evolve(grant.INITIAL, stranger)


def test_every_event_has_its_own_tag_in_the_grants_name():
    tags = [event.type for event in grant.EVENTS]
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith("grant.") for tag in tags)
