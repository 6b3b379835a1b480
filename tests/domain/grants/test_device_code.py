"""The device grant: given a device that waits, when a person decides, and what is decided once more under the lock."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import consent
from domain.decision import (
    AccessDenied,
    AuthorizationPending,
    Conflict,
    ExpiredToken,
    FactorRefused,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidTarget,
    PersonDenied,
    SlowDown,
    UnauthorizedClient,
)
from domain.event import SECOND
from domain.factors.realm_policy import RealmPolicy
from domain.grant import CodeRefused, DeviceApproved, DeviceDenied, DeviceRequested
from domain.grants import device_code
from domain.grants.device_code import INTERVAL, INTERVAL_MAXIMUM, LEAST_LIFETIME, DeviceRequest, Pace
from domain.grants.grant_type import Parties, TokenRequest
from domain.session import Authentication
from tests.domain.history import loosely
from tests.domain.story import CONSENTED, PAUL, PUBLIC, START, THIRD_PARTY, Story, digest, parties

GRANTS = (device_code.GRANT_TYPE, "refresh_token")
DEVICE = replace(PUBLIC, client_id="tv", grant_types=GRANTS, redirect_uris=())
OWN = replace(THIRD_PARTY, client_id="tv", grant_types=GRANTS, redirect_uris=())
CODE = digest("device")
WAITING = DeviceRequest("g1", "tv", None, (), CODE, START, START + 600 * SECOND)
BY_PASSWORD = Authentication(at=START, acr="urn:grantlog:acr:1", amr=("pwd",))


def reason(outcome: Any) -> Any:
    return None if outcome.refusal is None else outcome.refusal.reason


def approve(story: Story, by: Parties | None = None, request: DeviceRequest = WAITING) -> Any:
    facts: dict[str, Any] = {"session_id": "browser", "authentication": BY_PASSWORD}
    return story.decide(device_code.approve, request=request, parties=by or parties(DEVICE), **facts)


def deny(story: Story, by: Parties | None = None, request: DeviceRequest = WAITING) -> Any:
    return story.decide(device_code.deny, request=request, parties=by or parties(DEVICE), session_id="browser")


def redeem(story: Story, by: Parties | None = None) -> Any:
    facts: dict[str, Any] = {"minted": story.mint(), "lifetimes": story.lifetimes}
    request = TokenRequest(presented=CODE)
    return story.decide(device_code.issue, request=request, parties=by or parties(DEVICE), **facts)


# The device asks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "by", [parties(DEVICE, account=None), parties(OWN, account=None)], ids=lambda by: by.client.type
)
def test_only_who_authenticated_leaves_a_fact(by: Parties) -> None:
    outcome = device_code.ask(Story().state, now=START, request=WAITING, parties=by)
    named = DeviceRequested(client_id="tv", secret_id="s1", secret_version=1, code=CODE, lifetime=600)
    assert (outcome.refusal, outcome.events) == (None, () if by.client is DEVICE else (named,))


@pytest.mark.parametrize(
    ("by", "changes", "expected"),
    [
        (parties(replace(DEVICE, enabled=False)), {}, InvalidClient.DISABLED),
        (parties(replace(DEVICE, grant_types=("refresh_token",))), {}, UnauthorizedClient.GRANT_TYPE),
        (parties(DEVICE), {"asked": ("other",)}, InvalidScope.OUTSIDE_CLIENT),
        (parties(DEVICE), {"resource": ("https://else.example",)}, InvalidTarget.OUTSIDE_CLIENT),
        (
            parties(replace(OWN, scope=("people:read",)), known=frozenset({"people:read"})),
            {"asked": ("people:read",)},
            InvalidScope.OUTSIDE_CLIENT,
        ),
    ],
)
def test_what_it_may_not_have_is_refused(by: Parties, changes: Any, expected: Any) -> None:
    outcome = device_code.ask(Story().state, now=START, request=replace(WAITING, **changes), parties=by)
    assert (reason(outcome), outcome.events) == (expected, ())


def test_a_grant_begins_once() -> None:
    story = Story()
    approve(story)
    assert reason(device_code.ask(story.state, now=START, request=WAITING, parties=parties(DEVICE))) is Conflict.EXISTS


def test_a_hasty_device_is_slowed_and_half_a_second_is_forgiven() -> None:
    assert Pace().is_kept(START)
    pace = Pace(START)
    assert not pace.is_kept(START + INTERVAL * SECOND - SECOND // 2 - 1)
    assert pace.is_kept(START + INTERVAL * SECOND - SECOND // 2)
    assert pace.after(START + INTERVAL * SECOND) == Pace(START + INTERVAL * SECOND, INTERVAL)
    for times in range(1, 20):
        pace = pace.after(START)
        assert pace.interval == min(INTERVAL * (times + 1), INTERVAL_MAXIMUM)


@pytest.mark.parametrize(
    ("request_", "pace", "later", "client_id", "expected"),
    [
        (WAITING, Pace(), 0, "tv", AuthorizationPending.UNDECIDED),
        (WAITING, Pace(START), 1, "tv", SlowDown.TOO_SOON),
        (WAITING, Pace(START), 600, "tv", ExpiredToken.UNANSWERED),
        (replace(WAITING, denied=True), Pace(), 0, "tv", PersonDenied.DENIED),
        (replace(WAITING, denied=True), Pace(), 0, "another", InvalidGrant.FOREIGN_CLIENT),
    ],
)
def test_what_it_is_told_before_a_decision(
    request_: Any, pace: Pace, later: int, client_id: str, expected: Any
) -> None:
    now = START + later * SECOND
    assert device_code.waiting(request_, pace, now=now, client_id=client_id) is expected


# The person decides -------------------------------------------------------------------------------------------------


def test_an_approval_starts_the_grant_that_the_device_fetches() -> None:
    story = Story().later(100)
    assert reason(approve(story)) is None
    told: dict[str, Any] = {"client_id": "tv", "account_id": "paul", "session_id": "browser", "code": CODE}
    approved = DeviceApproved(scope="orders catalog:read", lifetime=500, authentication=BY_PASSWORD, **told)
    assert story.events == [approved]
    assert reason(redeem(story)) is None
    assert story.types[1:] == ["grant.code_redeemed", "grant.tokens_issued"]


def test_what_it_is_for_stands_in_both_events() -> None:
    for_catalog = replace(WAITING, asked=("orders",), resource=("https://catalog.example",))
    own = parties(replace(OWN, resources=("https://catalog.example", "https://stock.example")))
    story = Story()
    [asked] = loosely(device_code).ask(story.state, now=START, request=for_catalog, parties=own).events
    assert (asked.asked, asked.resource) == ("orders", for_catalog.resource)
    approve(story, own, for_catalog)
    assert (story.events[0].asked, story.events[0].resource) == (None, for_catalog.resource)


def test_what_was_approved_at_the_last_moment_can_be_fetched() -> None:
    story = Story().later(599)
    approve(story)
    assert story.events[0].lifetime == LEAST_LIFETIME


def test_what_was_asked_for_is_kept_where_roles_narrowed_it() -> None:
    story = Story()
    member = replace(parties().roles[0], scopes=("orders",))
    approve(story, parties(DEVICE, roles=(member,)), replace(WAITING, asked=("orders", "catalog:read")))
    assert (story.events[0].scope, story.events[0].asked) == ("orders", "orders catalog:read")


UNDECIDABLE: list[tuple[Parties, dict[str, Any], Any]] = [
    (parties(DEVICE), {"expires_at": START}, ExpiredToken.UNANSWERED),
    (parties(DEVICE), {"denied": True}, ExpiredToken.UNANSWERED),
    (parties(replace(DEVICE, enabled=False)), {}, InvalidClient.DISABLED),
    (parties(DEVICE, account=None), {}, AccessDenied.ACCOUNT),
    (parties(DEVICE, account=replace(PAUL, enabled=False)), {}, AccessDenied.ACCOUNT),
    (parties(DEVICE, account=replace(PAUL, erased=True)), {}, AccessDenied.ACCOUNT),
    (parties(DEVICE, account=replace(PAUL, realm="administration")), {}, AccessDenied.ACCOUNT),
]


@pytest.mark.parametrize("decide", [approve, deny])
@pytest.mark.parametrize(("by", "changes", "expected"), UNDECIDABLE)
def test_there_is_nothing_to_decide(decide: Any, by: Parties, changes: Any, expected: Any) -> None:
    outcome = decide(Story(), by, replace(WAITING, **changes))
    assert (reason(outcome), outcome.events) == (expected, ())


@pytest.mark.parametrize(
    ("by", "changes", "expected"),
    [
        (parties(DEVICE, consent=None), {}, AccessDenied.CONSENT),
        (parties(DEVICE, consent=consent.INITIAL), {}, AccessDenied.CONSENT),
        (parties(DEVICE, consent=replace(CONSENTED, scope=("orders",))), {}, AccessDenied.CONSENT),
        (parties(DEVICE, roles=()), {}, InvalidScope.NOTHING_LEFT),
        (parties(DEVICE, policy=RealmPolicy(second_factor="required")), {}, FactorRefused.ENROLMENT),
        (parties(DEVICE), {"resource": ("https://else.example",)}, InvalidTarget.OUTSIDE_CLIENT),
    ],
)
def test_what_changed_since_the_page_is_not_approved(by: Parties, changes: Any, expected: Any) -> None:
    outcome = approve(Story(), by, replace(WAITING, **changes))
    assert (reason(outcome), outcome.events) == (expected, ())


def test_each_decision_is_the_last() -> None:
    for first, event in ((approve, DeviceApproved), (deny, DeviceDenied)):
        story = Story()
        [decided] = first(story).events
        assert (type(decided), decided.account_id, decided.session_id) == (event, "paul", "browser")
        assert [reason(decide(story)) for decide in (approve, deny)] == [Conflict.ENDED] * 2
    assert story.state.ended_reason == "person"
    assert reason(redeem(story)) is InvalidGrant.UNKNOWN


# The device fetches -------------------------------------------------------------------------------------------------


def test_another_client_ends_nothing() -> None:
    story = Story()
    approve(story)
    assert reason(redeem(story, parties(replace(DEVICE, client_id="else")))) is InvalidGrant.FOREIGN_CLIENT
    assert story.events[1:] == [CodeRefused(reason="foreign_client")]
    assert reason(redeem(story, parties(replace(DEVICE, grant_types=())))) is UnauthorizedClient.GRANT_TYPE
    assert story.events[2:] == [CodeRefused(reason="unauthorized_client")]
    assert reason(redeem(story)) is None


def test_a_code_of_a_browser_is_no_device_code() -> None:
    story = Story()
    story.code()
    assert reason(redeem(story)) is InvalidGrant.UNKNOWN


def test_a_code_that_was_fetched_twice_ends_the_grant() -> None:
    story = Story()
    approve(story)
    redeem(story)
    assert reason(redeem(story)) is InvalidGrant.REPLAYED
    assert story.state.ended_reason == "code_replay"
