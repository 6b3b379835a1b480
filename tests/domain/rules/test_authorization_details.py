"""Authorization details (RFC 9396): how they are read, who may ask for which, and what of them a token is for."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from domain.decision import InvalidAuthorizationDetails, Refusal
from domain.rules import authorization_details as details
from domain.rules.authorization_details import DEPTH, MAXIMUM, OBJECTS_MAXIMUM, TYPES_MAXIMUM
from tests.domain.story import THIRD_PARTY

ONE, TWO = {"type": "a", "n": 1}, {"type": "b", "n": [2]}


def of_length(length: int) -> str:
    empty = json.dumps([{"type": "a", "x": ""}], separators=(",", ":"))
    return empty.replace('""', f'"{"y" * (length - len(empty))}"')


def nested(depth: int) -> str:
    """An array with an object in it is two deep."""
    inner = depth - 2
    return '[{"type":"a","x":' + "[" * inner + "]" * inner + "}]"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ONE]),
        json.dumps([ONE] * OBJECTS_MAXIMUM),
        of_length(MAXIMUM),
        nested(DEPTH),
        f'[{{"type":"a","n":{2**63 - 1},"m":{-(2**63)},"f":1.5e300}}]',
        '[{"type":"ä \\\\ud83d\\\\ude00"}]'.replace("\\\\", "\\"),
    ],
)
def test_what_is_read(text: str) -> None:
    assert details.read(text) == tuple(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        "null",
        "[]",
        "[1]",
        "[{}]",
        '[{"type":1}]',
        json.dumps([ONE] * (OBJECTS_MAXIMUM + 1)),
        of_length(MAXIMUM + 1),
        nested(DEPTH + 1),
        "[" * 4_000,
        '[{"type":"a","type":"b"}]',
        '[{"type":"a","x":{"y":1,"y":1}}]',
        '[{"type":"a","n":NaN}]',
        '[{"type":"a","n":-Infinity}]',
        '[{"type":"a","n":1e999}]',
        f'[{{"type":"a","n":{2**63}}}]',
        f'[{{"type":"a","n":{-(2**63) - 1}}}]',
        '[{"type":"a\\u0000"}]',
        '[{"type":"a\\ud800"}]',
        # Shorter as it came than as it is kept.
        json.dumps([{"type": "a", "n": 1}], separators=(",", ":")).replace("1", "[" + ",".join(["1e99"] * 815) + "]"),
    ],
)
def test_what_is_malformed(text: str) -> None:
    found = details.read(text)
    assert isinstance(found, Refusal)
    assert (found.reason, found.field) == (InvalidAuthorizationDetails.MALFORMED, "authorization_details")


@pytest.mark.parametrize(
    ("schema", "types", "reason"),
    [
        ("true", ("a",), None),
        (None, ("a",), InvalidAuthorizationDetails.UNKNOWN_TYPE),
        ("true", ("b",), InvalidAuthorizationDetails.OUTSIDE_CLIENT),
        ('{"required":["m"]}', ("a",), InvalidAuthorizationDetails.SCHEMA),
    ],
)
def test_who_may_ask(schema: str | None, types: tuple[str, ...], reason: Any) -> None:
    client = replace(THIRD_PARTY, authorization_details_types=types)
    found = details.requested((ONE,), client=client, schema_of=lambda _: schema)
    assert (found and found.reason) == reason


def test_fewer_of_what_was_approved_are_had_and_never_others() -> None:
    assert details.places((TWO,), (ONE, TWO)) == (1,)
    assert details.places((TWO, ONE, TWO), (ONE, TWO)) == (0, 1)
    assert details.places(({"n": 1, "type": "a"},), (ONE,)) == (0,)
    for asked, within, among in (
        (({"type": "a", "n": 2},), (ONE, TWO), None),
        ((ONE,), None, None),
        ((ONE,), (ONE, TWO), (1,)),
    ):
        found = details.places(asked, within, among)
        assert isinstance(found, Refusal)
        assert found.reason is InvalidAuthorizationDetails.WIDENED
    assert details.places((TWO,), (ONE, TWO), (1,)) == (1,)


def test_the_objects_at_places_are_those_of_a_token() -> None:
    assert details.at((ONE, TWO), None) == (ONE, TWO)
    assert details.at((ONE, TWO), (1,)) == (TWO,)
    assert details.at((ONE, TWO), ()) is None
    assert details.at((ONE,), (0, 5)) == (ONE,)
    assert details.at(None, (0,)) is None


def test_a_person_reads_them_in_words() -> None:
    told = {"type": "a", "to": "Ada", "n": [1, 2.5], "is": {"good": True, "bad": None}}
    assert details.in_words(told) == (("to", "Ada"), ("n", "1, 2.5"), ("is", "good true, bad null"))


@pytest.mark.parametrize(
    ("types", "good"),
    [
        ((), True),
        (tuple(f"t{n}" for n in range(TYPES_MAXIMUM)), True),
        (tuple(f"t{n}" for n in range(TYPES_MAXIMUM + 1)), False),
        (("a", "a"), False),
    ],
)
def test_a_client_is_registered_for_few_types(types: tuple[str, ...], good: bool) -> None:
    assert (details.registered(replace(THIRD_PARTY, authorization_details_types=types)) is None) is good
