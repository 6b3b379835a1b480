"""What ended together: one fact about any number of grants and sessions, obeyed until each of them tells of it."""

import pytest

from domain import ended_grants, grant, session
from domain.ended_grants import EndedTogether, Settled
from domain.event import Actor, Event, Recorded

NOW = 1_767_225_600_000_000


def after(*events: Event) -> ended_grants.State:
    state = ended_grants.INITIAL
    for position, event in enumerate(events, 100):
        recorded = Recorded(position, "", ended_grants.STREAM, 1, NOW, Actor("system"), None, None, None, event)
        state = ended_grants.evolve(state, recorded)
    return state


def test_positions_are_stored_as_distances_in_enough_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_grants, "TOGETHER", 2)
    outcome = ended_grants.end_together(ended_grants.INITIAL, now=NOW, incident_id="i", began=[9, 4, 11, 4])
    assert outcome.events == (
        EndedTogether(incident_id="i", began=(4, 5)),
        EndedTogether(incident_id="i", began=(11,)),
    )
    state = after(*outcome.events)
    assert [each.began for each in state.unsettled] == [{4, 9}, {11}]
    again = ended_grants.end_together(state, now=NOW, incident_id="j", began=[4, 12])
    assert again.events == (EndedTogether(incident_id="j", began=(12,)),)


def test_the_longest_event_fits_its_stored_form() -> None:
    longest = range(10**12, 10**12 + 10**9 * ended_grants.TOGETHER, 10**9)
    (event,) = ended_grants.end_together(ended_grants.INITIAL, now=NOW, incident_id="i" * 22, began=longest).events
    assert len(str(event)) < 60_000


def test_a_grant_is_over_that_began_there_and_no_other() -> None:
    state = after(EndedTogether(incident_id="i", began=(4, 5)))
    ended = ended_grants.applied(state, grant.State(exists=True, position=9))
    assert (ended.ended_at, ended.ended_reason, ended.ended_together) == (NOW, "secret_leak", 100)
    other = grant.State(exists=True, position=5)
    assert ended_grants.applied(state, other) is other
    assert ended_grants.applied(state, session.State(exists=True, started=4)).ended
    # What has ended by itself stays as it was.
    before = grant.State(exists=True, position=9, ended_at=NOW - 1, ended_reason="person")
    assert ended_grants.applied(state, before) is before


def test_each_tells_once_and_then_it_is_settled() -> None:
    state = after(EndedTogether(incident_id="i", began=(4,)), EndedTogether(incident_id="j", began=(4,)))
    ended = ended_grants.applied(state, grant.State(exists=True, position=4))
    assert grant.settle(ended, now=NOW).events == (grant.GrantEnded(reason="secret_leak"),)
    assert grant.settle(grant.State(exists=True, position=4), now=NOW).events == ()
    assert grant.end(ended, now=NOW, reason="person").events == ()
    assert ended_grants.settle(state, now=NOW, incident_id="i").events == (Settled(incident_id="i"),)
    # What another one ended as well goes on to be obeyed.
    other = after(
        EndedTogether(incident_id="i", began=(4,)), EndedTogether(incident_id="j", began=(7,)), Settled(incident_id="i")
    )
    assert ended_grants.applied(other, grant.State(exists=True, position=7)).ended_at == NOW
    left = after(EndedTogether(incident_id="i", began=(4,)), Settled(incident_id="i"))
    assert left == ended_grants.INITIAL
    assert ended_grants.settle(left, now=NOW, incident_id="i").events == ()
