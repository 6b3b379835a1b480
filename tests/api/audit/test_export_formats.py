"""Every type of event in every format of an export, held against the published schemas."""

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from api.audit import ocsf
from api.audit.queries import export
from api.audit.readings import ASKED
from api.audit.rendering import ENDED, REFUSED, ShownActor, ShownEvent, general_meaning, meaning, moments
from docs import generate
from domain import account
from domain.audit import Question
from domain.decision import InvalidGrant
from domain.event import Event
from domain.events import EVENTS
from domain.grant import GrantEndReason
from tests.golden import examples

ISSUER = "https://issuer.example"
ACTORS = (
    ShownActor("anonymous"),
    ShownActor("system", None, {"user": "operator"}),
    ShownActor("client", "client-1", {"secret_id": "secret-1"}),
    ShownActor("person", "person-1", {"grant_id": "grant-1"}),
    ShownActor("person", "person-1", {"session_id": "session-1"}),
)


_MOMENT = re.compile(r"^    (\w+): Moment(?: \| None)?(?: = .+)?$", re.MULTILINE)


def test_every_moment_of_events_and_states_is_told_as_a_time() -> None:
    named = {name for page in Path(account.__file__).parent.rglob("*.py") for name in _MOMENT.findall(page.read_text())}
    assert {"before", "offline_until", "expires_at"} <= named
    assert {name: moments({name: 0})[name] for name in named - {"time"}} == dict.fromkeys(
        named - {"time"}, "1970-01-01T00:00:00.000000Z"
    )


def shown(event: type[Event], actor: ShownActor, *, personal: bool) -> ShownEvent:
    """An example of the event as an auditor sees it, with or without personal values."""
    data = moments(msgspec.json.decode(examples.data(event)))
    sealed = ["ip", "user_agent"]
    for field in event.personal:
        value = "paul@example.test" if field == "email" else f"{field} in clear"
        data[field] = value if personal and field not in event.hidden else None
        if data[field] is None:
            sealed.append(f"data.{field}")
    return ShownEvent(
        position=4711,
        id="6Qd0xwzq7Zy1mYw8sVbN2c",
        type=event.type,
        stream=examples.recorded(event, event.type.partition(".")[0]).stream,
        version=3,
        time="2026-01-31T12:00:00.123456Z",
        actor=actor,
        request_id="7nXq2VbT0cLhR5dKw9PzEs",
        ip="2001:db8::1" if personal else None,
        user_agent="a browser" if personal else None,
        data=data,
        sealed=[path for path in sealed if not personal or path not in ("ip", "user_agent")],
        erased=[],
        meaning=meaning(event.type, data),
    )


def every(event: type[Event]) -> Iterator[ShownEvent]:
    for actor in ACTORS:
        yield shown(event, actor, personal=True)
        yield shown(event, actor, personal=False)


@cache
def published(class_uid: int) -> Any:
    """The published JSON schema of an OCSF class, as a validator."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(ocsf.VERSION))
    return jsonschema_rs.validator_for(schema.get_class_schema(schema.lookup_class_name_from_uid(class_uid)))


def written(name: export.ExportFormat, event: ShownEvent) -> bytes:
    return export.writer(name, ISSUER, "1.2.3").write(event)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_ocsf_record_is_valid_by_the_published_schema(event: type[Event]) -> None:
    for each in every(event):
        record = json.loads(written("ocsf", each))
        errors = [error.message for error in published(record["class_uid"]).iter_errors(record)]
        assert errors == [], record
        assert record["type_uid"] == record["class_uid"] * 100 + record["activity_id"]
        assert record["category_uid"] == record["class_uid"] // 1000
        assert record["metadata"]["version"] == "1.5.0"
        assert record["metadata"]["sequence"] == each.position
        assert record["unmapped"]["data"] == json.loads(msgspec.json.encode(each.data))


def test_every_event_type_has_an_ocsf_row_with_an_activity() -> None:
    raw = get_ocsf_schema(ocsf.VERSION)["classes"]
    names = {entry["uid"]: entry for entry in raw.values()}
    for tag, row in ocsf.TABLE.items():
        activities = names[row.class_uid]["attributes"]["activity_id"]["enum"]
        assert str(row.activity_id) in activities, tag
        if row.activity_id != ocsf.OTHER:
            assert activities[str(row.activity_id)]["caption"] == row.activity, tag
        assert names[row.class_uid]["caption"] == ocsf.CLASSES[row.class_uid]
    assert {row.class_uid for row in ocsf.TABLE.values()} == {3001, 3002, 3004, 6003}
    assert set(ocsf.TABLE) == {event.type for event in EVENTS}


# From the attributes of CloudEvents 1.0.2 §3 and the JSON format's §2 and §3.
CLOUD_EVENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string", "minLength": 1},
        "dataschema": {"type": "string", "format": "uri"},
        "data": {},
    },
    "patternProperties": {"^[a-z0-9]{1,20}$": {}},
    "additionalProperties": False,
    "not": {"required": ["data", "data_base64"]},
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_cloud_event_passes_the_specification_and_its_library(event: type[Event]) -> None:
    for each in every(event):
        line = written("cloudevents", each)
        record = json.loads(line)
        assert list(jsonschema_rs.validator_for(CLOUD_EVENT, validate_formats=True).iter_errors(record)) == []
        read = JSONFormat().read(CloudEvent, line)
        assert (read.get_id(), read.get_source(), read.get_type()) == (each.id, ISSUER, each.type)
        assert read.get_subject() == each.stream
        assert read.get_extension("sequence") == "00000000000000004711"
        assert record["data"] == json.loads(msgspec.json.encode(each))


def test_csv_has_a_header_and_gives_everything_back() -> None:
    writer = export.writer("csv", ISSUER, "1.2.3")
    events = [next(every(event)) for event in EVENTS]
    text = (writer.head + b"".join(writer.write(event) for event in events)).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(events)
    for row, event in zip(rows, events, strict=True):
        assert (row["position"], row["id"], row["type"], row["time"]) == ("4711", event.id, event.type, event.time)
        assert json.loads(row["data"]) == json.loads(msgspec.json.encode(event.data))


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"], ids=ascii
)
def test_no_user_agent_becomes_a_formula(start: str) -> None:
    event = msgspec.structs.replace(next(every(EVENTS[0])), user_agent=f'{start}HYPERLINK("https://evil.example")')
    (row,) = csv.reader(io.StringIO(written("csv", event).decode(), newline=""))
    assert row[export.COLUMNS.index("user_agent")].startswith("'" + start)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_every_event_has_a_meaning_in_a_sentence(event: type[Event]) -> None:
    assert event.__doc__, "the first sentence of an event's page is what it means"
    sentence = meaning(event.type, msgspec.json.decode(examples.data(event)))
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "`" not in sentence


def test_a_meaning_holds_the_values_that_it_names() -> None:
    assert meaning("account.sign_in_failed", {"count": 3, "window_seconds": 60}) == (
        "Sign-ins failed, 3 times within 60 seconds from one address."
    )
    at_once = meaning("account.sign_in_failed", {"count": 1, "window_seconds": 0})
    assert at_once == "Sign-ins failed, once from one address."
    rotated = meaning("client.secret_rotated", {"version": 2, "others_expire_in": 864_000, "not_before_in": 3_600})
    assert rotated == "Version 2 of the secret was made, to work after 1 hour; the others end after 10 days."
    searched = {"question": "events", "parameters": {"type": "client.*,role.*", "account_id": "x"}, "count": 1}
    assert meaning("audit.read", searched) == "Somebody searched the log for client.*, role.*: 1 record."
    read = {"question": "event", "parameters": {"position": "7"}, "count": 0, "unsealed": True}
    assert meaning("audit.read", read) == "Somebody read event 7: 0 records, with personal values."
    assert set(ASKED) == set(get_args(Question))
    assert "`" not in general_meaning("account.sign_in_failed")
    assert "window" not in general_meaning("account.sign_in_failed")
    assert meaning("signing_key.introduced", {"active_in": 0}) == "A key was made and published."
    assert meaning("consent.given", {"scope": ["orders"], "origins": ["https://shop.example"]}) == (
        "The person allowed the client this scope, at https://shop.example."
    )
    assert meaning("consent.given", {"scope": ["orders"]}) == "The person allowed the client this scope."
    followed = meaning("audit.stream_opened", {"first": 7, "parameters": {"type": "grant.*"}})
    assert followed == "Somebody began to follow the log from position 7 on."
    ended = "What had leaked was ended, with what had come of it"
    assert meaning("incident.contained", {"since_at": None}) == f"{ended}."
    assert meaning("incident.contained", {"since_at": 5}) == f"{ended}, as far as it was issued since a moment."
    taken = meaning("audit.list_export_opened", {"list_name": "people", "reading_id": "x", "unsealed": True})
    assert taken == "The whole list of people was handed out as a file."
    assert meaning("audit.export_closed", {"reading_id": "x", "count": 1, "completion": "complete"}) == (
        "An export is over: 1 record was handed out."
    )
    assert meaning("audit.export_closed", {"count": 250, "completion": "broken_off"}) == (
        "An export is over: 250 records were handed out, and the rest was not."
    )
    assert meaning("server.log_diverged", {"reason": "leaf", "position": 7}) == (
        "The log is not the one that its tree was built over."
    )
    linked = {"sub": "glogged@elsewhere.example", "upstream": "elsewhere"}
    assert "elsewhere.example" not in meaning("account.upstream_linked", linked)


def test_a_use_after_the_end_is_told_from_a_use() -> None:
    used = meaning("usage.token_first_seen", {"ended": None})
    assert used == "The token was used once."
    assert meaning("usage.token_first_seen", {"ended": "revoked"}) == (
        "The token was presented once after its end; it was dead already: revoked."
    )
    assert meaning("usage.token_seen", {"ended": "cut_off", "count": 3}) == (
        "The token was presented 3 times after its end; it was dead already: cut off."
    )
    assert meaning("usage.token_seen", {"ended": None, "count": 3}) == "The token was used 3 times more."


def test_every_reason_has_words_of_its_own() -> None:
    assert set(ENDED) == set(GrantEndReason.__args__)  # type: ignore[attr-defined]
    # Said in words of its own of what came along: of a client that may not use the grant type.
    assert set(REFUSED) == {reason.value for reason in InvalidGrant} | {"unauthorized_client"}


def test_what_came_with_a_bad_proof_is_not_called_good() -> None:
    """It was not looked at."""
    for reason, words in (("invalid_scope", "invalid scope"), ("invalid_dpop_proof", "invalid dpop proof")):
        told = meaning("grant.refresh_refused", {"reason": reason})
        assert told == f"A refresh was refused: what came with it was not right: {words}."


def test_the_page_of_the_mapping_tells_every_type() -> None:
    page = generate.ocsf_classes()
    assert all(f"`{tag}`" in page for tag in ocsf.TABLE)
