"""The catalogue of events: what was stored once must be readable for ever."""

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from docs import generate
from domain.events import AGGREGATES, EVENTS
from domain.moving.demo_history import DemoHistoryBegins
from tests.golden import examples, files

BY_TAG = {event.type: event for event in EVENTS}


def test_no_tag_is_used_twice() -> None:
    assert [tag for tag, count in Counter(event.type for event in EVENTS).items() if count > 1] == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_a_tag_is_a_noun_and_a_verb_in_the_past(event) -> None:
    noun, _, verb = event.type.partition(".")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", event.type)
    assert noun in AGGREGATES
    if event is DemoHistoryBegins:
        # It tells of what follows it.
        return
    assert any(
        word.endswith("ed") or word in ("given", "withdrawn", "seen", "read", "reset") for word in verb.split("_")
    ), verb


def test_tags_are_neither_renamed_nor_dropped_nor_unlisted() -> None:
    assert sorted(BY_TAG) == files.tags(), "a new tag is added by `python -m tests.golden`; an old one never changes"


def test_every_page_of_an_aggregate_is_in_the_catalogue() -> None:
    on_pages = [event for page in AGGREGATES.values() for event in page.EVENTS]
    assert Counter(on_pages) == Counter(EVENTS)
    for category, page in AGGREGATES.items():
        assert {event.type.partition(".")[0] for event in page.EVENTS} == {category}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_personal_values_belong_to_clients_people_or_actors(event) -> None:
    if event.personal:
        assert event.type.partition(".")[0] in ("client", "account", "audit", "grant", "hold", "incident", "usage")
    assert set(event.hidden) <= set(event.personal) <= {field.name for field in msgspec.structs.fields(event)}
    assert set(event.of_origin) <= set(event.personal)


@pytest.mark.parametrize("golden", files.goldens(), ids=lambda golden: f"{golden.tag}.{golden.number}")
def test_a_golden_event_is_decoded_and_encoded_identically(golden) -> None:
    assert msgspec.json.encode(msgspec.json.decode(golden.data, type=BY_TAG[golden.tag])) == golden.data


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_some_golden_event_has_every_field(event) -> None:
    fields = examples.fields_set(msgspec.json.decode(examples.data(event)))
    shapes = [
        examples.fields_set(msgspec.json.decode(golden.data)) for golden in files.goldens() if golden.tag == event.type
    ]
    assert any(fields <= shape for shape in shapes), "run `python -m tests.golden` to add the new shape"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_example_leaves_no_field_at_its_default(event) -> None:
    fields = msgspec.structs.fields(event)
    stored = msgspec.json.decode(examples.data(event))
    assert set(stored) == {field.encode_name for field in fields}


@pytest.mark.parametrize("category", AGGREGATES)
def test_a_page_refuses_events_of_others(category) -> None:
    page = AGGREGATES[category]
    foreign = next(event for event in EVENTS if event not in page.EVENTS)
    with pytest.raises(AssertionError, match="event"):
        page.evolve(page.INITIAL, examples.recorded(foreign, category))


@pytest.mark.parametrize("golden", files.goldens(), ids=lambda golden: f"{golden.tag}.{golden.number}")
def test_a_fold_takes_every_golden_event_in_any_state(golden) -> None:
    category = golden.tag.partition(".")[0]
    page = AGGREGATES[category]
    event = msgspec.json.decode(golden.data, type=BY_TAG[golden.tag])
    page.evolve(page.INITIAL, examples.recorded(type(event), category))


def test_the_page_of_events_is_the_catalogues() -> None:
    page = Path(__file__).parents[2] / "docs" / "events.md"
    assert page.read_text(encoding="utf-8") == generate.events(), "run `make docs`"
