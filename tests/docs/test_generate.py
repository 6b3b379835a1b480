from pathlib import Path

from docs.generate import events
from domain.events import EVENTS


def test_the_page_of_events_is_current():
    assert Path("docs/events.md").read_text(encoding="utf-8") == events(), "run `make docs`"


def test_every_event_of_the_catalogue_has_its_section():
    headings = [line for line in events().splitlines() if line.startswith("### ")]
    assert headings == sorted(f"### `{event.type}`" for event in EVENTS)


def test_personal_members_are_marked():
    assert events().count("| sealed") == sum(len(event.personal) for event in EVENTS)
