"""Incidents: reported, identified, contained, closed."""

import pytest

from domain import incident as incident_page
from domain.decision import Conflict, InvalidRequest, NotFound
from domain.incident import (
    EvidenceAdded,
    IncidentAssigned,
    IncidentClosed,
    IncidentContained,
    IncidentIdentified,
    IncidentReported,
    Numbers,
    SomebodyInformed,
)
from tests.domain.history import NOW, given, loosely

incident = loosely(incident_page)
STREAM = "incident:one"
REPORTED = IncidentReported(source="github", evidence="https://example.test", sha256="ab" * 32, kind="client_secret")
IDENTIFIED = IncidentIdentified(target="secret", client_id="c", secret_id="s")
CONTAINED = IncidentContained(numbers=Numbers(1, 2, 3, 1), rotated=True)


def after(*events):
    return given(incident, STREAM, REPORTED, *events)


def test_a_report_opens_an_incident_once() -> None:
    facts = {name: getattr(REPORTED, name) for name in REPORTED.__struct_fields__}
    assert incident.report(incident.INITIAL, now=NOW, **facts).events == (REPORTED,)
    assert incident.report(after(), now=NOW, **facts).refusal.reason is Conflict.EXISTS
    long = facts | {"evidence": "x" * (incident.EVIDENCE_MAXIMUM + 1)}
    assert incident.report(incident.INITIAL, now=NOW, **long).refusal.reason is InvalidRequest.MALFORMED
    state = after()
    assert (state.status, state.source, state.reported_at) == ("reported", "github", NOW)


def test_what_it_is_about_is_news_once() -> None:
    facts = {name: getattr(IDENTIFIED, name) for name in IDENTIFIED.__struct_fields__}
    assert incident.identify(after(), now=NOW, **facts).events == (IDENTIFIED,)
    state = after(IDENTIFIED)
    assert (state.status, state.client_id) == ("identified", "c")
    assert incident.identify(state, now=NOW, **facts).events == ()
    assert len(incident.identify(state, now=NOW, **facts | {"grant_id": "g"}).events) == 1


def test_more_evidence_is_added_until_it_is_closed() -> None:
    more = "and in a chat"
    assert incident.add_evidence(after(IDENTIFIED), now=NOW, evidence=more).events == (EvidenceAdded(evidence=more),)
    long = "x" * (incident.EVIDENCE_MAXIMUM + 1)
    assert incident.add_evidence(after(), now=NOW, evidence=long).refusal.field == "evidence"
    state = after(CONTAINED, EvidenceAdded(evidence=more))
    assert (state.status, state.evidence.text) == ("contained", f"sealed:{more}")
    assert incident.add_evidence(after(IncidentClosed()), now=NOW, evidence=more).refusal.reason is Conflict.ENDED


def test_what_is_told_opens_an_incident_or_goes_on_with_it() -> None:
    facts = {name: getattr(REPORTED, name) for name in REPORTED.__struct_fields__}
    assert incident.tell(incident.INITIAL, now=NOW, **facts).events == (REPORTED,)
    again = incident.tell(after(), now=NOW, source="command_line", evidence="and in a chat")
    assert again.events == (EvidenceAdded(evidence="and in a chat"),)
    assert incident.tell(after(), now=NOW, source="command_line").events == ()


def test_containments_add_up_and_the_first_one_stops_the_clock() -> None:
    (event,) = incident.contain(after(IDENTIFIED), now=NOW, numbers=Numbers(1, 2, 3, 1), rotated=True).events
    assert event == CONTAINED
    state = after(IDENTIFIED, (NOW + 5, CONTAINED), (NOW + 9, CONTAINED), IDENTIFIED)
    assert (state.status, state.contained_at, state.numbers) == ("contained", NOW + 5, Numbers(2, 4, 6, 2))


def test_it_is_closed_once_contained_or_not() -> None:
    assert incident.close(after(), now=NOW, note="false alarm").events == (IncidentClosed(note="false alarm"),)
    state = after(IncidentClosed(note="done"))
    assert (state.status, state.closed_at) == ("closed", NOW)
    assert incident.close(state, now=NOW, said="done").events == ()
    assert incident.close(state, now=NOW, note="done", said="done").events == ()
    assert incident.close(state, now=NOW, note="more", said="done").refusal.reason is Conflict.ENDED
    assert incident.contain(state, now=NOW, numbers=Numbers()).refusal.reason is Conflict.ENDED
    assert incident.identify(state, now=NOW, target="client").refusal.reason is Conflict.ENDED
    long = "x" * (incident.NOTE_MAXIMUM + 1)
    assert incident.close(after(), now=NOW, note=long).refusal.field == "note"


@pytest.mark.parametrize(
    ("verb", "facts"),
    [
        ("identify", {"target": "client"}),
        ("add_evidence", {"evidence": "x"}),
        ("contain", {"numbers": Numbers()}),
        ("inform", {"whom": "Sam"}),
        ("close", {}),
    ],
)
def test_of_what_nobody_reported_there_is_nothing_to_tell(verb, facts) -> None:
    assert getattr(incident, verb)(incident.INITIAL, now=NOW, **facts).refusal.reason is NotFound.UNKNOWN


def test_somebody_is_informed_until_it_is_closed() -> None:
    told = incident.inform(after(), now=NOW, whom=" Sam, by telephone ")
    assert told.events == (SomebodyInformed(whom="Sam, by telephone"),)
    assert after(*told.events) == after()
    for whom in (" ", "x" * (incident.INFORMED_MAXIMUM + 1)):
        assert incident.inform(after(), now=NOW, whom=whom).refusal.field == "whom"
    assert incident.inform(after(IncidentClosed()), now=NOW, whom="Sam").refusal.reason is Conflict.ENDED


def test_somebody_looks_after_it_until_it_is_closed() -> None:
    assert incident.assign(after(), now=NOW, account_id="ada").events == (IncidentAssigned(account_id="ada"),)
    state = after(IncidentAssigned(account_id="ada"))
    assert state.assignee == "ada"
    assert incident.assign(state, now=NOW, account_id="ada").events == ()
    assert incident.assign(state, now=NOW, account_id=None).events == (IncidentAssigned(account_id=None),)
    closed = after(IncidentAssigned(account_id="ada"), IncidentClosed())
    assert closed.assignee == "ada"
    assert incident.assign(closed, now=NOW, account_id=None).refusal.reason is Conflict.ENDED
