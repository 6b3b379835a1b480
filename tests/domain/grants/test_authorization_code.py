"""The authorization code: given, when, then."""

import pytest
from msgspec.structs import replace

from domain import consent
from domain.decision import (
    AccessDenied,
    Conflict,
    FactorRefused,
    InvalidAuthorizationDetails,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    UnauthorizedClient,
)
from domain.factors.realm_policy import RealmPolicy
from domain.factors.second_factor import Factors
from domain.grant import CodeIssued, CodeRefused, CodeReplayed, GrantEnded, TokensIssued
from domain.grants import authorization_code
from domain.grants.grant_type import Lifetimes, TokenRequest
from domain.rules import pkce
from domain.session import Authentication
from tests.domain.story import (
    CALLBACK,
    MEMBER,
    PAUL,
    PUBLIC,
    START,
    THIRD_PARTY,
    VERIFIER,
    Story,
    digest,
    parties,
    redeemed,
)

WRONG = pkce.transform("w" * 43)
REQUIRED = RealmPolicy(second_factor="required")
WITH_FACTOR = replace(PAUL, factors=Factors(totp="f1"))
PASSWORD = Authentication(at=START, acr="urn:grantlog:acr:1", amr=("pwd",))
BOTH = replace(PASSWORD, acr="urn:grantlog:acr:2", amr=("pwd", "otp", "mfa"))


def reason(outcome):
    return None if outcome.refusal is None else outcome.refusal.reason


def test_a_code_names_who_what_and_where_to():
    story = Story()
    assert reason(story.code(asked=("orders", "catalog:read"))) is None
    [event] = story.events
    assert isinstance(event, CodeIssued)
    assert (event.client_id, event.account_id, event.session_id) == ("third", "paul", "browser")
    assert (event.scope, event.asked, event.redirect_uri, event.lifetime) == (
        "orders catalog:read",
        None,
        CALLBACK,
        60,
    )
    assert reason(story.code()) is Conflict.EXISTS


def test_roles_narrow_scope_and_the_event_keeps_what_was_asked():
    story = Story()
    by = parties(roles=(replace(MEMBER, scopes=("orders",)),))
    assert reason(story.code(by, asked=("orders", "catalog:read"))) is None
    assert (story.events[0].scope, story.events[0].asked) == ("orders", "orders catalog:read")


@pytest.mark.parametrize(
    ("by", "facts", "expected"),
    [
        (parties(replace(THIRD_PARTY, enabled=False)), {}, InvalidClient.DISABLED),
        (parties(replace(THIRD_PARTY, grant_types=("refresh_token",))), {}, UnauthorizedClient.GRANT_TYPE),
        (parties(account=replace(PAUL, enabled=False)), {}, AccessDenied.ACCOUNT),
        (parties(account=replace(PAUL, erased=True)), {}, AccessDenied.ACCOUNT),
        (parties(account=replace(PAUL, realm="administration")), {}, AccessDenied.ACCOUNT),
        (parties(consent=consent.INITIAL), {}, AccessDenied.CONSENT),
        (parties(consent=consent.State(("orders",), 0, True)), {}, AccessDenied.CONSENT),
        (parties(), {"uri": CALLBACK + "/"}, InvalidRequest.MALFORMED),
        (parties(), {"challenge": None}, InvalidRequest.PKCE_REQUIRED),
        (parties(), {"challenge": "short"}, InvalidRequest.MALFORMED),
        (parties(replace(PUBLIC, require_pkce=False)), {"challenge": None}, InvalidRequest.PKCE_REQUIRED),
        (parties(), {"asked": ("nothing:such",)}, InvalidScope.UNKNOWN),
        (parties(), {"asked": ("other",)}, InvalidScope.OUTSIDE_CLIENT),
        (parties(roles=()), {}, InvalidScope.NOTHING_LEFT),
        (parties(consent=None), {}, AccessDenied.CONSENT),
        (parties(), {"resource": ("https://else.example",)}, InvalidTarget.OUTSIDE_CLIENT),
        (parties(), {"details": ({"type": "payment"},)}, InvalidAuthorizationDetails.UNKNOWN_TYPE),
        (parties(policy=REQUIRED), {}, FactorRefused.ENROLMENT),
        (parties(policy=REQUIRED), {"authentication": PASSWORD}, FactorRefused.ENROLMENT),
        (parties(policy=REQUIRED, account=WITH_FACTOR), {"authentication": PASSWORD}, FactorRefused.MISSING),
    ],
)
def test_no_code_is_issued_and_nothing_is_committed(by, facts, expected):
    story = Story()
    assert reason(story.code(by, **facts)) is expected
    assert story.events == []


def test_who_showed_a_factor_gets_what_the_realm_asks_one_for():
    story = Story()
    assert reason(story.code(parties(policy=REQUIRED, account=WITH_FACTOR), authentication=BOTH)) is None
    assert story.events[0].authentication == BOTH


# An application of our own asks for the password itself ---------------------------------------------------------------

OWN = replace(THIRD_PARTY, client_id="own", first_party=True)


def challenged(by=None, authentication=PASSWORD, **request):
    stated = TokenRequest(**{"challenge": pkce.transform(VERIFIER)} | request)
    facts = {"request": stated, "code": digest("code"), "authentication": authentication, "lifetimes": Lifetimes()}
    story = Story()
    return story, story.decide(authorization_code.challenge_code, parties=by or parties(OWN), **facts)


def test_a_password_gives_a_code_that_sends_nobody_anywhere():
    story, outcome = challenged(scope=("orders",))
    assert reason(outcome) is None
    [event] = story.events
    assert (event.scope, event.redirect_uri, event.redirect_uri_given, event.session_id) == ("orders", "", False, None)
    assert reason(story.redeem(parties(OWN), redirect_uri=None)) is None
    again = {"request": TokenRequest(), "code": "", "authentication": PASSWORD, "lifetimes": Lifetimes()}
    assert reason(story.decide(authorization_code.challenge_code, parties=parties(OWN), **again)) is Conflict.EXISTS


@pytest.mark.parametrize(
    ("by", "request_", "expected"),
    [
        (parties(THIRD_PARTY), {}, UnauthorizedClient.GRANT_TYPE),
        (parties(replace(OWN, grant_types=("refresh_token",))), {}, UnauthorizedClient.GRANT_TYPE),
        (parties(replace(OWN, require_pushed_authorization_requests=True)), {}, UnauthorizedClient.GRANT_TYPE),
        (parties(replace(OWN, enabled=False)), {}, InvalidClient.DISABLED),
        (parties(OWN, secret_id="s9"), {}, InvalidClient.WRONG_SECRET),
        # The password changed, or the person was disabled, between the look and the lock.
        (parties(OWN, account=replace(PAUL, password_cutoff=7)), {}, InvalidGrant.CREDENTIALS),
        (parties(OWN, account=replace(PAUL, enabled=False)), {}, InvalidGrant.CREDENTIALS),
        (parties(OWN, account=replace(PAUL, realm="administration")), {}, InvalidGrant.CREDENTIALS),
        (parties(OWN, account=WITH_FACTOR), {}, FactorRefused.MISSING),
        (parties(OWN, policy=REQUIRED), {}, FactorRefused.ENROLMENT),
        (parties(OWN), {"challenge": None}, InvalidRequest.PKCE_REQUIRED),
        (parties(OWN), {"resource": ("https://else.example",)}, InvalidTarget.OUTSIDE_CLIENT),
        (parties(OWN), {"scope": ("other",)}, InvalidScope.OUTSIDE_CLIENT),
        (
            parties(replace(OWN, scope=("openid", "offline_access")), known=frozenset({"openid", "offline_access"})),
            {"scope": ("openid", "offline_access")},
            AccessDenied.CONSENT,
        ),
    ],
)
def test_no_password_gives_a_code_there(by, request_, expected):
    story, outcome = challenged(by, **request_)
    assert (reason(outcome), story.events) == (expected, [])


def test_a_factor_beside_the_password_does():
    story, outcome = challenged(parties(OWN, account=WITH_FACTOR, policy=REQUIRED), BOTH)
    assert reason(outcome) is None
    assert story.events[0].authentication == BOTH


# The code is redeemed -------------------------------------------------------------------------------------------------


def test_redeeming_issues_tokens_and_names_the_secret_version():
    story = redeemed()
    assert story.types == ["grant.code_issued", "grant.code_redeemed", "grant.tokens_issued"]
    event = story.events[-1]
    assert isinstance(event, TokensIssued)
    assert (event.secret_id, event.secret_version, event.code) == ("s1", 1, digest("code"))
    assert (event.lifetime, event.refresh_lifetime, event.refresh_ends_in) == (600, 30 * 86_400, 90 * 86_400)


def test_answer_states_scope_lifetime_and_refresh_token():
    story = Story()
    own = replace(THIRD_PARTY, grant_types=("authorization_code",), access_token_lifetime=120)
    story.code(parties(own))
    outcome = story.redeem(parties(own))
    assert (outcome.result.scope, outcome.result.expires_in, outcome.result.refresh) == (THIRD_PARTY.scope, 120, False)
    assert story.state.refresh is None


@pytest.mark.parametrize(
    ("by", "request_", "expected"),
    [
        (parties(), {"challenge": WRONG}, InvalidGrant.VERIFIER),
        (parties(), {"challenge": None}, InvalidGrant.VERIFIER),
        (parties(), {"challenge": pkce.transform("short")}, InvalidGrant.VERIFIER),
        (parties(), {"redirect_uri": CALLBACK + "/"}, InvalidGrant.REDIRECT_URI),
        (parties(), {"redirect_uri": None}, InvalidGrant.REDIRECT_URI),
        (parties(replace(THIRD_PARTY, client_id="foreign")), {}, InvalidGrant.FOREIGN_CLIENT),
    ],
)
def test_code_without_proof_is_refused_recorded_and_ends_nothing(by, request_, expected):
    for story in (Story(), redeemed()):
        if not story.events:
            story.code()
        before = len(story.events)
        assert reason(story.redeem(by, **request_)) is expected
        assert story.events[before:] == [CodeRefused(reason=expected.value)]
        assert story.state.ended_at is None


def test_refusals_of_a_code_are_bounded_and_the_right_one_passes():
    story = Story()
    story.code()
    for _ in range(20):
        story.redeem(challenge=WRONG)
    assert story.types.count("grant.code_refused") == 5
    assert reason(story.redeem()) is None


def test_who_may_not_redeem_at_all_leaves_a_fact():
    story, own = Story(), replace(THIRD_PARTY, grant_types=("client_credentials",))
    story.code()
    for _ in range(20):
        assert reason(story.redeem(parties(own))) is UnauthorizedClient.GRANT_TYPE
    assert reason(story.redeem(parties(replace(own, client_id="foreign")))) is UnauthorizedClient.GRANT_TYPE
    assert [each.reason for each in story.events[1:]] == ["unauthorized_client"] * 3 + ["foreign_client"]
    assert reason(story.redeem()) is None


def test_a_code_without_challenge_refuses_a_verifier():
    older = parties(replace(THIRD_PARTY, require_pkce=False))
    story = Story()
    assert reason(story.code(older, challenge=None)) is None
    assert reason(story.redeem(older)) is InvalidGrant.VERIFIER
    assert reason(story.redeem(older, challenge=None)) is None


def test_unnamed_redirect_uri_may_be_omitted_but_not_differ():
    story = Story()
    story.code(uri=None)
    assert reason(story.redeem(redirect_uri="https://else.example.test/")) is InvalidGrant.REDIRECT_URI
    assert reason(story.redeem(redirect_uri=None)) is None


def test_a_code_expires_to_the_microsecond():
    story = Story()
    story.code()
    story.now += 60 * 1_000_000
    assert reason(story.redeem()) is InvalidGrant.EXPIRED
    story.now -= 1
    assert reason(story.redeem()) is None


def test_replay_by_the_rightful_client_ends_the_grant_once():
    story = redeemed().later(3600)
    outcome = story.redeem()
    assert reason(outcome) is InvalidGrant.REPLAYED
    assert list(outcome.events) == [CodeReplayed(), GrantEnded(reason="code_replay")]
    assert reason(story.redeem()) is InvalidGrant.REPLAYED
    assert story.types.count("grant.code_replayed") == story.types.count("grant.ended") == 1
    assert reason(story.refresh("rt1")) is InvalidGrant.ENDED


def test_replay_after_another_end_is_recorded_once():
    story = redeemed()
    story.record(GrantEnded(reason="person"))
    for _ in range(3):
        assert reason(story.redeem()) is InvalidGrant.REPLAYED
    assert story.types.count("grant.code_replayed") == story.types.count("grant.ended") == 1


def test_what_happened_since_the_code_was_issued_counts():
    cutoff = 5
    for by, expected in (
        (parties(replace(THIRD_PARTY, cutoff=cutoff)), InvalidGrant.CLIENT_CUT_OFF),
        (parties(replace(THIRD_PARTY, enabled=False)), InvalidClient.DISABLED),
        (parties(replace(THIRD_PARTY, grant_types=())), UnauthorizedClient.GRANT_TYPE),
        (parties(secret_id=None), InvalidClient.METHOD),
        (parties(secret_id="never"), InvalidClient.WRONG_SECRET),
        (parties(account=replace(PAUL, enabled=False)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=replace(PAUL, cutoff=cutoff)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=replace(PAUL, password_cutoff=cutoff)), InvalidGrant.PERSON_CUT_OFF),
        (parties(account=None), InvalidGrant.PERSON_CUT_OFF),
        (parties(consent=consent.State((), cutoff)), InvalidGrant.CONSENT_WITHDRAWN),
        (parties(roles=()), InvalidScope.NOTHING_LEFT),
    ):
        story = Story()
        story.code()
        assert reason(story.redeem(by)) is expected
        assert story.state.code is not None
        assert not story.state.code.redeemed


def test_a_code_of_an_unknown_grant():
    assert reason(Story().redeem()) is InvalidGrant.UNKNOWN
    assert VERIFIER not in repr(redeemed())
