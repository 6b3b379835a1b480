"""What access tokens are for (RFC 8707): given, when, then."""

import pytest
from msgspec.structs import replace

from domain.decision import InvalidTarget, Refusal
from domain.grant import RefreshRefused, TokensIssued, TokensRefreshed
from domain.rules import audience
from tests.domain.story import DASHBOARD, SERVICE, THIRD_PARTY, Story, digest, parties

ISSUER = "https://id.example.test"
CATALOG, PRINTS = "https://catalog.example", "https://prints.example/api"
BOTH = parties(replace(THIRD_PARTY, resources=(CATALOG, PRINTS)), issuer=ISSUER)
ONE = parties(replace(THIRD_PARTY, resources=(CATALOG,)), issuer=ISSUER)
NONE = parties(issuer=ISSUER)


def reason(outcome):
    return None if outcome.refusal is None else outcome.refusal.reason


def audiences(story: Story) -> list[tuple[str, ...]]:
    return [event.audience for event in story.events if isinstance(event, TokensIssued | TokensRefreshed)]


@pytest.mark.parametrize(
    ("by", "expected"),
    [(NONE, ()), (ONE, (CATALOG,)), (BOTH, ())],
    ids=["the server's own", "the client's only one", "the server's own among several"],
)
def test_what_nobody_names_is_the_clients_only_one_or_the_server(by, expected) -> None:
    story = Story()
    story.code(by)
    story.later(1).redeem(by)
    story.refresh("rt1", by)
    assert audiences(story) == [expected, expected]


def test_authorized_resource_is_kept_and_code_redeemed_for_it() -> None:
    story = Story()
    story.code(BOTH, resource=(PRINTS, PRINTS))
    assert story.events[0].resource == story.state.resource == (PRINTS,)
    story.later(1).redeem(BOTH)
    story.refresh("rt1", BOTH)
    assert audiences(story) == [(PRINTS,), (PRINTS,)]
    assert story.state.audience == (PRINTS,)


def test_code_names_one_of_the_resources_refreshes_the_others() -> None:
    story = Story()
    story.code(BOTH, resource=(CATALOG, PRINTS))
    assert reason(story.later(1).redeem(BOTH)) is InvalidTarget.MISSING
    assert reason(story.redeem(BOTH, resource=(CATALOG, PRINTS))) is InvalidTarget.SEVERAL
    assert reason(story.redeem(BOTH, resource=(ISSUER,))) is InvalidTarget.NOT_APPROVED
    # The code is as good as before.
    assert reason(story.redeem(BOTH, resource=(PRINTS,))) is None
    refresh = f"rt{story.minted}"
    assert reason(story.refresh(refresh, BOTH, resource=(CATALOG,))) is None
    assert reason(story.refresh(f"rt{story.minted}", BOTH)) is None
    assert audiences(story) == [(PRINTS,), (CATALOG,), (PRINTS,)]


def test_what_a_refresh_may_not_name_changes_nothing() -> None:
    story = Story()
    story.code(BOTH, resource=(CATALOG,))
    story.later(1).redeem(BOTH)
    before = story.state
    assert reason(story.refresh("rt1", BOTH, resource=(PRINTS,))) is InvalidTarget.NOT_APPROVED
    assert reason(story.refresh("rt1", BOTH, resource=("https://else.example",))) is InvalidTarget.OUTSIDE_CLIENT
    assert story.state == replace(before, refusals=2)
    assert story.events[-2:] == [RefreshRefused(reason="invalid_target", refresh_token=digest("rt1"))] * 2


def test_refresh_without_a_resource_may_name_any_of_the_clients() -> None:
    story = Story()
    story.code(BOTH)
    story.later(1).redeem(BOTH)
    for place, (resource, expected) in enumerate([(PRINTS, (PRINTS,)), (CATALOG, (CATALOG,)), (ISSUER, ())], 1):
        assert reason(story.refresh(f"rt{place}", BOTH, resource=(resource,))) is None
        assert audiences(story)[-1] == expected


def test_a_resource_that_the_client_has_lost_is_given_no_more() -> None:
    story = Story()
    story.code(ONE, resource=(CATALOG,))
    assert reason(story.later(1).redeem(NONE)) is InvalidTarget.OUTSIDE_CLIENT
    story.redeem(ONE)
    assert reason(story.refresh(f"rt{story.minted}", NONE)) is InvalidTarget.OUTSIDE_CLIENT
    assert audiences(story) == [(CATALOG,)]


def test_no_code_for_a_resource_of_others() -> None:
    story = Story()
    outcome = story.code(ONE, resource=(CATALOG, PRINTS))
    assert (reason(outcome), outcome.refusal.field) == (InvalidTarget.OUTSIDE_CLIENT, "resource")
    assert PRINTS not in str(outcome.refusal.detail)
    assert story.events == []
    assert reason(story.code(ONE, resource=(CATALOG, ISSUER))) is None


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ((), (CATALOG,)),
        ((CATALOG, CATALOG), (CATALOG,)),
        ((ISSUER,), ()),
        ((PRINTS,), InvalidTarget.OUTSIDE_CLIENT),
        ((CATALOG + "/",), InvalidTarget.OUTSIDE_CLIENT),
        ((CATALOG, ISSUER), InvalidTarget.SEVERAL),
    ],
)
def test_a_client_that_acts_for_itself(resource, expected) -> None:
    story = Story()
    by = parties(replace(SERVICE, resources=(CATALOG,)), account=None, issuer=ISSUER)
    outcome = story.credentials(by, resource=resource)
    assert (audiences(story) or [reason(outcome)]) == [expected]


def test_dashboard_tokens_are_for_the_server_and_its_resources() -> None:
    by = parties(replace(DASHBOARD, resources=(CATALOG, PRINTS)), issuer=ISSUER)
    story = Story()
    story.sign_in(by)
    story.refresh("rt1", parties(replace(DASHBOARD, resources=(PRINTS,)), issuer=ISSUER))
    story.refresh("rt2", by, resource=(CATALOG,))
    story.refresh("rt3", parties(DASHBOARD, issuer=ISSUER))
    assert audiences(story) == [(ISSUER, CATALOG, PRINTS), (ISSUER, PRINTS), (CATALOG,), ()]


def test_a_dashboard_may_name_no_resource_of_others() -> None:
    story = Story()
    by = parties(replace(DASHBOARD, resources=(CATALOG,)), issuer=ISSUER)
    assert reason(story.sign_in(by, resource=(PRINTS,))) is InvalidTarget.OUTSIDE_CLIENT
    assert story.events == []


def test_a_refresh_keeps_to_the_first_audience_as_long_as_it_may() -> None:
    client = replace(THIRD_PARTY, resources=(CATALOG, PRINTS))
    kept = audience.chosen((), client=client, issuer=ISSUER, before=(PRINTS,))
    assert kept == (PRINTS,)
    lost = audience.chosen((), client=replace(client, resources=(CATALOG,)), issuer=ISSUER, before=(PRINTS,))
    assert lost == (CATALOG,)
    several = audience.chosen((), client=client, issuer=ISSUER, approved=(CATALOG, PRINTS), before=("urn:gone",))
    assert isinstance(several, Refusal)
    assert several.reason is InvalidTarget.MISSING
