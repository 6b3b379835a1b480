"""Refreshing: rotation, narrowing, grace, replay and cut-offs."""

from functools import partial

import pytest
from msgspec.structs import replace

from domain import consent, grant
from domain.decision import InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, Outcome, UnauthorizedClient
from domain.grant import GrantEnded, RefreshRefused, RefreshReplayed, SuccessorReplaced, TokensRefreshed
from domain.grants import refused_credential
from domain.grants.grant_type import Lifetimes
from domain.rules.client_metadata import NO_KEYS, ClientKeys, PublicKey
from domain.rules.public_key import thumbprint
from domain.succession import BRANCHES
from tests.domain.story import (
    DASHBOARD,
    DAY,
    MEMBER,
    PAUL,
    PUBLIC,
    THIRD_PARTY,
    Story,
    digest,
    parties,
    redeemed,
    signed_in,
)

FIRST, SECOND = THIRD_PARTY.secrets


def reason(outcome):
    return None if outcome.refusal is None else outcome.refusal.reason


def tab(story, presented):
    return story.refresh(presented, parties(DASHBOARD))


def test_each_refresh_token_is_followed_by_another():
    story = redeemed().later(60)
    outcome = story.refresh("rt1", parties(secret_id="s2"))
    assert reason(outcome) is None
    [event] = outcome.events
    assert isinstance(event, TokensRefreshed)
    assert (event.refresh_token, event.secret_id, event.secret_version) == (digest("rt2"), "s2", 2)
    assert event.grace_ends_at is None
    assert outcome.result.refresh
    assert reason(story.refresh("rt2")) is None


def test_what_is_wrong_beside_a_good_token_is_recorded_boundedly():
    story = redeemed()
    for _ in range(20):
        assert reason(story.refresh("rt1", scope=("orders", "other"))) is InvalidScope.WIDENED
    assert story.events[-3:] == [RefreshRefused(reason="invalid_scope", refresh_token=digest("rt1"))] * 3
    # What tells of one in other hands is recorded all the same.
    for _ in range(20):
        story.refresh("rt1", parties(replace(THIRD_PARTY, client_id="foreign")))
    assert story.events[-2:] == [RefreshRefused(reason="foreign_client", refresh_token=digest("rt1"))] * 2
    assert story.types.count("grant.refresh_refused") == grant.REFUSALS_RECORDED
    assert reason(story.refresh("rt1")) is None


def test_a_bad_proof_is_recorded_of_the_own_client_alone():
    story = redeemed()
    before, refuse = len(story.events), partial(refused_credential.refuse_proof, presented=digest("rt1"))
    for _ in range(20):
        for kind in ("refresh", "code"):
            outcome = refuse(story.state, client_id="foreign", kind=kind)
            assert (reason(outcome), outcome.events) == (InvalidGrant.PROOF_KEY, ())
            for event in refuse(story.state, client_id=THIRD_PARTY.client_id, kind=kind).events:
                story.record(event)
    assert story.types[before:] == ["grant.refresh_refused", "grant.code_refused", "grant.refresh_refused"]
    assert {each.reason for each in story.events[before:]} == {"invalid_dpop_proof"}


def test_who_may_not_refresh_at_all_leaves_a_fact():
    story = redeemed()
    before, own = len(story.events), replace(THIRD_PARTY, grant_types=("authorization_code",))
    for _ in range(20):
        assert reason(story.refresh("rt1", parties(own))) is UnauthorizedClient.GRANT_TYPE
    # That another client has it is told all the same, though it hears no more than that it may not refresh.
    assert reason(story.refresh("rt1", parties(replace(own, client_id="foreign")))) is UnauthorizedClient.GRANT_TYPE
    assert [each.reason for each in story.events[before:]] == ["unauthorized_client"] * 3 + ["foreign_client"]
    assert {each.refresh_token for each in story.events[before:]} == {digest("rt1")}
    assert reason(story.refresh("rt1")) is None


def test_a_grant_gives_way_to_another_of_the_same():
    story, own = redeemed(), {"client_id": THIRD_PARTY.client_id, "account_id": PAUL.account_id}
    for other in ({"client_id": "foreign"}, {"account_id": "petra"}):
        assert grant.give_way(story.state, now=story.now, **(own | other)) == Outcome()
    assert grant.give_way(grant.INITIAL, now=story.now, **own) == Outcome()
    assert story.decide(grant.give_way, **own).events == (GrantEnded(reason="logout"),)
    assert grant.give_way(story.state, now=story.now, **own) == Outcome()


def test_a_used_token_ends_the_grant_and_is_recorded_once():
    story = redeemed()
    story.refresh("rt1")
    outcome = story.refresh("rt1")
    assert reason(outcome) is InvalidGrant.REPLAYED
    assert list(outcome.events) == [RefreshReplayed(refresh_token=digest("rt1")), GrantEnded(reason="refresh_replay")]
    assert reason(story.refresh("rt1")) is InvalidGrant.REPLAYED
    assert story.types.count("grant.refresh_replayed") == story.types.count("grant.ended") == 1
    assert reason(story.refresh("rt2")) is InvalidGrant.ENDED


def test_a_token_from_long_ago_is_a_replay_too():
    story = redeemed()
    for number in range(1, 30):
        assert reason(story.refresh(f"rt{number}")) is None
    assert reason(story.refresh("rt3")) is InvalidGrant.REPLAYED


def test_the_state_does_not_grow_with_refreshes():
    story = redeemed()
    sizes = set()
    for number in range(1, 60):
        story.later(60).refresh(f"rt{number}")
        sizes.add(len(repr(story.state)))
    assert max(sizes) - min(sizes) < 20


def test_a_foreign_client_ends_nothing_and_is_recorded_boundedly():
    story = redeemed()
    story.refresh("rt1")
    for presented in ("rt1", "rt2") * 5:
        outcome = story.refresh(presented, parties(replace(THIRD_PARTY, client_id="foreign")))
        assert reason(outcome) is InvalidGrant.FOREIGN_CLIENT
    refused = [each for each in story.events if isinstance(each, RefreshRefused)]
    assert [each.reason for each in refused] == ["foreign_client"] * 5
    # The one that was used before came first, and each is told by its own name.
    assert [each.refresh_token for each in refused] == [digest(f"rt{number}") for number in (1, 2, 1, 2, 1)]
    assert reason(story.refresh("rt2")) is None


def test_narrowing_holds_for_one_answer_and_widening_is_refused():
    story = redeemed()
    assert story.refresh("rt1", scope=("orders",)).result.scope == ("orders",)
    assert reason(story.refresh("rt2", scope=("orders", "other"))) is InvalidScope.WIDENED
    assert story.refresh("rt2").result.scope == ("orders", "catalog:read")


def test_what_client_or_person_lost_is_left_out():
    story = redeemed()
    narrower = parties(replace(THIRD_PARTY, scope=("orders",)))
    assert story.refresh("rt1", narrower).result.scope == ("orders",)
    assert reason(story.refresh("rt2", narrower, scope=("catalog:read",))) is InvalidScope.OUTSIDE_CLIENT
    fewer = parties(roles=(replace(MEMBER, scopes=("catalog:read",)),))
    assert story.refresh("rt2", fewer).result.scope == ("catalog:read",)
    gone = parties(roles=(replace(MEMBER, exists=False),))
    assert reason(story.refresh("rt4", gone)) is InvalidScope.NOTHING_LEFT


def test_idle_and_absolute_ends():
    idle = redeemed().later(30 * DAY)
    assert reason(idle.refresh("rt1")) is InvalidGrant.EXPIRED
    story = redeemed()
    for number in range(1, 5):
        assert reason(story.later(20 * DAY).refresh(f"rt{number}")) is None
    assert story.events[-1].refresh_lifetime == 10 * DAY
    assert reason(story.later(10 * DAY).refresh("rt5")) is InvalidGrant.EXPIRED


def test_a_clients_own_lifetimes_go_first():
    own = replace(THIRD_PARTY, access_token_lifetime=30, refresh_token_lifetime=7200)
    story = redeemed()
    story.refresh("rt1", parties(own))
    assert (story.events[-1].lifetime, story.events[-1].refresh_lifetime) == (30, 7200)


def test_within_the_grace_the_unused_successor_is_replaced():
    story = signed_in()
    tab(story, "rt1")
    story.later(9.999999)
    outcome = tab(story, "rt1")
    assert reason(outcome) is None
    assert outcome.events[0] == SuccessorReplaced(refresh_token=digest("rt2"), presented=digest("rt1"))
    assert outcome.events[1].refresh_token == digest("rt3")
    assert reason(tab(story, "rt3")) is None


def test_a_third_tab_within_the_grace_is_served_too():
    story = signed_in()
    for later in (0, 3, 3):
        assert reason(tab(story.later(later), "rt1")) is None
    assert story.types.count("grant.successor_replaced") == 2
    assert reason(tab(story, "rt4")) is None


def test_the_grace_ends_to_the_microsecond():
    story = signed_in()
    tab(story, "rt1")
    assert reason(tab(story.later(10), "rt1")) is InvalidGrant.REPLAYED


def test_coming_again_does_not_prolong_the_grace():
    story = signed_in()
    tab(story, "rt1")
    tab(story.later(6), "rt1")
    assert reason(tab(story.later(6), "rt1")) is InvalidGrant.REPLAYED
    assert story.state.ended_reason == "refresh_replay"


@pytest.mark.parametrize("tabs", [2, 3, 6])
@pytest.mark.parametrize("later", [0, 5, 3600])
def test_whichever_answer_the_browser_kept_goes_on(tabs, later):
    for kept in range(2, tabs + 2):
        story = signed_in()
        for _ in range(tabs):
            assert reason(tab(story, "rt1")) is None
        for _ in range(tabs):
            assert reason(tab(story.later(later / tabs) if later < 10 else story, f"rt{kept}")) is None
        assert reason(tab(story.later(later), f"rt{2 * tabs + 1}")) is None
        assert story.state.ended_at is None


def test_forty_rounds_of_six_tabs_however_the_answers_arrive():
    story, kept = signed_in(), 1
    for turn in range(40):
        for _ in range(6):
            assert reason(tab(story.later(0.5), f"rt{kept}")) is None
        kept = story.minted - turn % 6
    assert len(story.state.succession.tokens) < 20


def test_unused_successor_has_grace_in_its_window_then_is_replay():
    for later, expected in ((9.999999, None), (10, InvalidGrant.REPLAYED)):
        story = signed_in()
        tab(story, "rt1")
        tab(story, "rt1")
        assert reason(tab(story, "rt3")) is None
        assert reason(tab(story.later(later), "rt2")) is expected
        assert story.state.ended_reason == ("refresh_replay" if expected else None)


def test_two_holders_cannot_go_on_side_by_side():
    story = signed_in()
    tab(story, "rt1")
    tab(story, "rt1")
    one, other = "rt2", "rt3"
    for _ in range(4):
        assert reason(tab(story.later(1), one)) is None
        one = f"rt{story.minted}"
        assert reason(tab(story.later(1), other)) is None
        other = f"rt{story.minted}"
    # The window in which they parted has not been prolonged by what either of them did.
    assert reason(tab(story.later(1), other)) is None
    assert reason(tab(story.later(1), one)) is InvalidGrant.REPLAYED
    assert story.state.ended_reason == "refresh_replay"


def test_used_successor_ends_the_grace_despite_other_successors():
    for used in ("rt2", "rt3"):
        story = signed_in()
        tab(story, "rt1")
        tab(story, "rt1")
        assert reason(tab(story, used)) is None
        assert reason(tab(story, "rt1")) is InvalidGrant.REPLAYED
        assert story.state.ended_reason == "refresh_replay"


def test_a_page_in_a_loop_does_not_let_the_grant_grow():
    story = signed_in()
    for _ in range(300):
        assert reason(tab(story, "rt1")) is None
    assert len(story.state.succession.tokens) <= BRANCHES + 2
    assert reason(tab(story, f"rt{story.minted}")) is None


def test_event_without_presented_digest_means_the_previous_token():
    story = signed_in()
    tab(story, "rt1")
    story.record(SuccessorReplaced(refresh_token=digest("rt2")))
    story.record(replace(story.events[-2], refresh_token=digest("rt9")))
    assert reason(tab(story, "rt9")) is None
    assert reason(tab(story, "rt1")) is InvalidGrant.REPLAYED


def test_once_the_successor_is_used_there_is_no_grace():
    story = signed_in()
    tab(story, "rt1")
    tab(story, "rt2")
    assert reason(tab(story, "rt1")) is InvalidGrant.REPLAYED


def test_the_grace_never_exceeds_thirty_seconds():
    story = redeemed(lifetimes=Lifetimes(grace=3600))
    story.refresh("rt1")
    assert story.events[-1].grace_ends_at == story.now + 30_000_000
    assert reason(story.later(29.999999).refresh("rt1")) is None
    assert reason(story.later(0.000001).refresh("rt1")) is InvalidGrant.REPLAYED


def test_there_is_no_grace_after_the_end():
    story = signed_in()
    tab(story, "rt1")
    story.record(GrantEnded(reason="logout"))
    assert reason(tab(story, "rt1")) is InvalidGrant.ENDED


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (parties(replace(THIRD_PARTY, enabled=False)), InvalidClient.DISABLED),
        (parties(replace(THIRD_PARTY, deleted=True)), InvalidClient.DELETED),
        (parties(replace(THIRD_PARTY, cutoff=99)), InvalidGrant.CLIENT_CUT_OFF),
        (parties(replace(THIRD_PARTY, grant_types=("authorization_code",))), UnauthorizedClient.GRANT_TYPE),
        (parties(account=replace(PAUL, enabled=False)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=replace(PAUL, cutoff=99)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=replace(PAUL, erased=True)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=replace(PAUL, password_cutoff=99)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=replace(PAUL, password_cutoff=99, password_except="g1")), None),
        (parties(consent=consent.State((), 99)), InvalidGrant.CONSENT_WITHDRAWN),
        (parties(consent=consent.State(("orders",), 1, True)), None),
        (
            parties(
                replace(
                    THIRD_PARTY, secrets=(replace(THIRD_PARTY.secrets[0], tokens_cutoff=99), THIRD_PARTY.secrets[1])
                ),
                secret_id="s2",
            ),
            InvalidGrant.SECRET_CUT_OFF,
        ),
        (
            parties(replace(THIRD_PARTY, secrets=(replace(FIRST, revoked=True),))),
            InvalidClient.SECRET_REVOKED,
        ),
    ],
)
def test_cut_offs(by, expected):
    story = redeemed()
    assert reason(story.refresh("rt1", by)) is expected


def test_a_dashboards_grant_rests_on_no_consent():
    story = signed_in()
    assert reason(story.refresh("rt1", parties(DASHBOARD, consent=consent.State((), 99)))) is None


@pytest.mark.parametrize("proof", ["jkt", "x5t"])
def test_a_public_client_shows_the_key_that_its_grant_began_with(proof):
    native = parties(PUBLIC, **{proof: "own"})
    story = Story()
    story.code(native)
    story.redeem(native)
    for other in (parties(PUBLIC), parties(PUBLIC, **{proof: "another"})):
        assert reason(story.refresh("rt1", other)) is InvalidGrant.PROOF_KEY
    assert story.events[-1] == RefreshRefused(reason="proof_key", refresh_token=digest("rt1"))
    assert story.state.ended_at is None
    assert reason(story.refresh("rt1", native)) is None


def test_a_client_with_a_secret_may_change_its_key():
    story = Story()
    story.code()
    story.redeem(parties(jkt="own"))
    assert reason(story.refresh("rt1", parties(jkt="another"))) is None
    assert story.events[-1].dpop_jkt == "another"


KEY = PublicKey(kty="OKP", crv="Ed25519", x="A" * 43)
KEYED = replace(THIRD_PARTY, token_endpoint_auth_method="private_key_jwt", secrets=(), keys=ClientKeys(jwks=(KEY,)))


def test_the_refresh_token_of_a_client_with_keys_stays():
    by = parties(KEYED, secret_id=None, key_id=thumbprint(KEY))
    story = Story()
    story.code(by)
    story.redeem(by)
    for _ in range(3):
        outcome = story.refresh("rt1", by)
        assert (reason(outcome), outcome.result.stays) == (None, True)
        assert story.events[-1].presented == digest("rt1")
    assert story.types[3:] == ["grant.access_token_issued"] * 3
    # It lasts as long as the grant, idle or not.
    assert reason(story.later(60 * DAY).refresh("rt1", by)) is None
    assert reason(story.later(30 * DAY).refresh("rt1", by)) is InvalidGrant.EXPIRED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"revoked_keys": frozenset({thumbprint(KEY)})}, InvalidClient.ASSERTION_KEY),
        ({"keys": NO_KEYS}, InvalidClient.ASSERTION_KEY),
        ({"keys": ClientKeys(jwks_uri="https://app.example.test/jwks")}, None),
        ({"token_endpoint_auth_method": "self_signed_tls_client_auth"}, None),
        ({"token_endpoint_auth_method": "tls_client_auth"}, InvalidClient.ASSERTION_KEY),
        ({"token_endpoint_auth_method": "client_secret_basic"}, InvalidClient.ASSERTION_KEY),
        ({"enabled": False}, InvalidClient.DISABLED),
    ],
)
def test_a_key_that_proved_the_client_counts_under_the_lock(changes, expected):
    by = parties(KEYED, secret_id=None, key_id=thumbprint(KEY))
    story = Story()
    story.code(by)
    story.redeem(by)
    assert reason(story.refresh("rt1", replace(by, client=replace(KEYED, **changes)))) is expected
    # Whoever proved themselves by nothing is no such client either.
    assert reason(story.refresh("rt1", replace(by, key_id=None))) is InvalidClient.METHOD


def test_what_is_always_bound_is_not_refreshed_unproven():
    bound = replace(THIRD_PARTY, dpop_bound_access_tokens=True)
    story = Story()
    story.code(parties(bound))
    assert reason(story.redeem(parties(bound))) is InvalidRequest.PROOF_REQUIRED
    story.redeem(parties(bound, jkt="own"))
    assert reason(story.refresh("rt2", parties(bound))) is InvalidRequest.PROOF_REQUIRED
    assert reason(story.refresh("rt2", parties(bound, jkt="own"))) is None


def test_a_grant_that_does_not_exist():
    assert reason(Story().refresh("rt1")) is InvalidGrant.UNKNOWN
    assert Story().state == grant.INITIAL
