"""Reading the stored form: with msgspec and with Python's own library alike, whatever somebody put there."""

import pytest

from tests.verifier.published_log import events
from verifier.order import Order, Row, read_form, read_plainly

LEAF = next(iter(events(1)))["state"]
FORM = '{"position":%s,"id":"a","type":"t","stream":"s","version":1,"time":"x"%s}'

SPOILT = [
    "",
    "[]",
    "null",
    "\ufeff" + LEAF,
    LEAF + "x",
    LEAF.replace('"stream":', '"streams":'),
    *(FORM % (number, "") for number in ("1.0", "1e0", "true", "01", '"1"', "null", "-", "NaN")),
    *(FORM % ("1", f',"a":{value}') for value in ("NaN", "Infinity", ".5", '"\\ud800"', '"\\x"', '"\x01"', "\u00a01")),
    FORM % ("1", ","),
    FORM % ("1", ',"a":' + "[" * 50_000 + "]" * 50_000),
]
SOUND = [
    LEAF,
    FORM % ("1", ',"position":2'),
    FORM % ("-0", ""),
    FORM % ("1", ',"a":"\\ud83d\\ude00 \\\\ud800"'),
    f" {LEAF}\n",
]


@pytest.mark.parametrize("text", SPOILT, ids=range(len(SPOILT)))
def test_what_is_no_event_is_none_for_both(text: str) -> None:
    for read in (read_form, read_plainly):
        with pytest.raises((ValueError, RecursionError)):
            read(text)
    assert Order().fault(Row(1, text.encode())) == "what is stored there is not an event"


def test_what_is_an_event_is_the_same_for_both() -> None:
    assert read_form is not read_plainly
    for text in SOUND:
        members = ("position", "id", "type", "stream", "version", "time")
        one, other = (tuple(getattr(read(text), name) for name in members) for read in (read_form, read_plainly))
        assert one == other


def test_bytes_that_are_no_text_are_no_event() -> None:
    assert Order().fault(Row(1, LEAF.encode()[:-2] + b'\xff"}')) == "what is stored there is not an event"
