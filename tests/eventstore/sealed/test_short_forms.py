"""Stored forms in short: they unpack to the text, to the byte, and nothing else unpacks."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from eventstore.leaked.marked import Mark
from eventstore.mapper import MAX_BYTES, PLACE
from eventstore.sealed import excerpt, form_dictionary
from eventstore.sealed.excerpt import excerpt as excerpt_of
from eventstore.sealed.short_forms import shortened, text_of
from tests.golden import files
from verifier import form_dictionary as of_verifier
from verifier.order import Row
from verifier.short_forms import in_full

DIGEST = "75aa14e70fb40132ebe7bf41cd4cd19efe50e5d759d2a668832cdc5ddac7b09d"
IDS = ["VU5nhqDrMKHPk2lSe8BiL2", "AoC1UMHmdeZEwHV1xNVXpV", "lowCYKXUBxl09kLbAE34dq", "LQtcSGmfiOrKdQtWklVpiL"]
TOKEN = "5d9dc9f81818e811892f902bd23f0824128b2f330c5c7fd0a6a3a4506513270e"
STREAMS = {"grant": f"grant:{IDS[0]}", "session": f"session:{IDS[0]}", "usage": f"usage:{TOKEN}"}
CREDENTIALS: dict[str, Any] = {"secret": {"secret_id": IDS[2]}, "key": {"key_id": "k" * 43}, "none": None}


def form_of(tag: str, data: Any, credential: Any = None, **others: Any) -> bytes:
    """A stored form as the mapper writes it."""
    actor = {"kind": "client", "id": IDS[1]} | ({} if credential is None else {"credential": credential})
    sealed = f"s1.client:{IDS[1]}.origin:2026-09."
    members = {
        "position": 12_345_678,
        "id": "69zA9tZ97lUvQl6VdVy1or",
        "type": tag,
        "stream": STREAMS.get(tag.partition(".")[0], f"client:{IDS[1]}"),
        "version": 3,
        "time": "2026-09-02T19:34:24.345389Z",
        "actor": actor,
        "data": data,
        "request_id": "VU5qQPpkkHNiyg9oj8yzLX",
        "ip": sealed + "YJmTqVhXYx8y5hsIwtAMV-XiwEErOtssvuS1o2g_ULbFSp0EFw",
        "user_agent": sealed + "cCOp0YlY_" * 15,
        "mac": TOKEN[:32],
    }
    return json.dumps(members | others, separators=(",", ":"), ensure_ascii=False).encode()


ISSUED = {
    "grant_type": "authorization_code",
    "client_id": IDS[1],
    "account_id": IDS[3],
    "scope": "catalog:read",
    "secret_id": IDS[2],
    "secret_version": 1,
    "access_token": TOKEN,
    "lifetime": 600,
    "signing_key": "B" * 43,
}
FORM = form_of("grant.tokens_issued", ISSUED, CREDENTIALS["secret"])
SHORT = shortened(FORM) or b""
STREAM = STREAMS["grant"]


def told(short: bytes, form: bytes) -> Row:
    """The row as the verifier reads it."""
    own = PLACE.decode(form)
    return Row(own.position, short, own.stream, own.version, own.type)


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_each_event_unpacks_to_its_text(credential: str) -> None:
    found = 0
    for golden in files.goldens():
        form = form_of(golden.tag, json.loads(golden.data), CREDENTIALS[credential])
        short = shortened(form)
        if short is not None:
            own = PLACE.decode(form)
            assert text_of(short, own.stream) == form
            assert in_full(told(short, form)).leaf == form
            assert len(short) < len(form) * 3 / 4
            assert not excerpt.is_excerpt(short)
            found += golden.tag.startswith(("grant.", "session.", "usage."))
    assert found > 40


def test_most_of_a_text_goes() -> None:
    form = form_of("grant.tokens_issued", {name: ISSUED[name] for name in ISSUED if name != "signing_key"})
    assert len(shortened(form) or form) < len(form) * 0.55


def test_what_queries_look_at_stands_beside_it() -> None:
    form = form_of("grant.tokens_issued", ISSUED | {"code": TOKEN, "asserted_by": IDS[0]}, CREDENTIALS["key"])
    short = json.loads(shortened(form) or b"")
    kept = json.loads(excerpt_of(form))
    assert kept["actor"] == {"kind": "client", "id": IDS[1], "credential": {"key_id": "k" * 43}}
    assert kept["data"] == {"account_id": IDS[3], "client_id": IDS[1], "code": True}
    marks = {"signing_key": "B" * 43, "asserted_by": IDS[0]}
    assert short == {"z1": short["z1"], "actor": kept["actor"], "data": kept["data"] | marks}
    assert set(Mark.__args__) == set(excerpt.MARKS)  # type: ignore[attr-defined]


def test_the_dictionary_is_what_it_was() -> None:
    """With another one nothing that was packed can be read."""
    assert sha256(form_dictionary.DICTIONARY).hexdigest() == DIGEST
    assert form_dictionary.DICTIONARY == of_verifier.DICTIONARY


@given(st.text(max_size=400), st.lists(st.from_regex(r"[0-9a-f]{30,70}|[\w-]{20,60}", fullmatch=True), max_size=120))
@example("\x01\x02\x03\x04\x05\x06", [TOKEN] * 100)
@example("é", [f"{number:022}" for number in range(120)])
def test_any_text_unpacks_to_itself(scope: str, values: list[str]) -> None:
    form = form_of("grant.tokens_issued", ISSUED | {"scope": scope, "audience": values})
    short = shortened(form)
    if short is not None:
        assert text_of(short, STREAM) == form
        assert in_full(told(short, form)).leaf == form


def packed_again(mould: bytes, octets: bytes = b"", length: int | None = None) -> bytes:
    """What somebody else packs so."""
    dictionary = zstandard.ZstdCompressionDict(form_dictionary.DICTIONARY, zstandard.DICT_TYPE_RAWCONTENT)
    frame = zstandard.ZstdCompressor(dict_data=dictionary).compress(mould)[4:]
    packed = (len(frame) if length is None else length).to_bytes(2) + frame + octets
    return b'{"z1":"%b"}' % b64encode(packed)


def replaced(at: int) -> bytes:
    return SHORT[:at] + (b"A" if SHORT[at : at + 1] != b"A" else b"B") + SHORT[at + 1 :]


def frame_of(length: int) -> bytes:
    """One that says how long it will be, and has nothing."""
    return b"\xa0" + length.to_bytes(4, "little") + b"\x01\x00\x00"


def with_its_parts(make: Callable[[bytes, bytes], bytes]) -> bytes:
    """The same short form of other parts: the text with its marks, and the values."""
    packed = b64decode(SHORT[7 : SHORT.index(b'"', 7)])
    end = 2 + int.from_bytes(packed[:2])
    unpacker = zstandard.ZstdDecompressor(
        zstandard.ZstdCompressionDict(form_dictionary.DICTIONARY, zstandard.DICT_TYPE_RAWCONTENT)
    )
    mould = unpacker.decompress(b"\x28\xb5\x2f\xfd" + packed[2:end])
    return b'{"z1":"%b"%b' % (b64encode(make(mould, packed[end:])), SHORT[SHORT.index(b'"', 7) + 1 :])


def framed(mould: bytes, *, says_length: bool = True) -> bytes:
    dictionary = zstandard.ZstdCompressionDict(form_dictionary.DICTIONARY, zstandard.DICT_TYPE_RAWCONTENT)
    packer = zstandard.ZstdCompressor(dict_data=dictionary, write_content_size=says_length)
    return packer.compress(mould)[4:]


def counted(frame: bytes, octets: bytes) -> bytes:
    return len(frame).to_bytes(2) + frame + octets


ODD = {
    "nothing": b"",
    "not said how long": with_its_parts(lambda mould, octets: counted(framed(mould, says_length=False), octets)),
    "more behind the frame": with_its_parts(lambda mould, octets: counted(framed(mould) + b"more", octets)),
    "an octet less": with_its_parts(lambda mould, octets: counted(framed(mould), octets[:-1])),
    "nothing packed": b'{"z1":""}',
    "no end": SHORT[:40],
    "no base64": b'{"z1":"%b"}' % (b"\xff" * 40),
    "another way": SHORT.replace(b"z1", b"z2"),
    "another character": replaced(60),
    "another length": replaced(8),
    "one octet more": re.sub(rb'"z1":"[^"]*', lambda m: b'"z1":"' + b64encode(b64decode(m[0][6:]) + b"1"), SHORT),
    "other members": SHORT.replace(IDS[3].encode(), IDS[0].encode()),
    "more members": SHORT[:-1] + b',"actor":{}}',
    "fewer members": SHORT.partition(b',"data"')[0] + b"}",
    "a space": SHORT.replace(b'","data"', b'", "data"'),
    "an excerpt": packed_again(b"{}"),
    "no JSON": packed_again(b'{"position"'),
    "no event": packed_again(b'{"position":1}'),
    "a deep one": packed_again(b'{"position":1,"type":"grant.ended","actor":{"kind":"a"},"data":{"a":' + b"[" * 30_000),
    "an unknown value": packed_again(b'{"position":1,"a":"\x06~"}'),
    "no values": packed_again(b'{"position":1,"a":"\x01\x02\x0599999;\x0499999;"}'),
    "values again and again": packed_again(b'{"p":"\x0540000;' + b"\x061" * 30_000, bytes(30_000)),
    "too long": packed_again(b'{"position":"' + bytes(MAX_BYTES)),
    "said to be too long": b'{"z1":"%b"}' % b64encode(b"\0\x08" + frame_of(1 << 31)),
    "said to be much too long": b'{"z1":"%b"}' % b64encode(b"\0\x08" + frame_of((1 << 32) - 1)),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_short_form_is_left_as_it_is(odd: str) -> None:
    assert ODD[odd] != SHORT
    assert text_of(ODD[odd], STREAM) is None
    assert in_full(told(ODD[odd], FORM)).leaf == ODD[odd]


@pytest.mark.parametrize("stream", [STREAMS["session"].replace("V", "W"), "grant:", "", 7, None, b"grant"])
def test_the_row_of_another_stream_has_another_text(stream: Any) -> None:
    assert text_of(SHORT, STREAM) == FORM
    assert text_of(SHORT, stream) != FORM


@pytest.mark.parametrize("stream", ["log", f"client:{IDS[0]}", "mac_key", "grants:1"])
def test_no_event_of_other_streams_is_in_short(stream: str) -> None:
    """What reads those by SQL alone would not find it."""
    form = form_of("log.archived", {}, stream=stream)
    assert shortened(form) is None
    short = packed_again(form)
    assert text_of(short, stream) is None
    assert in_full(told(short, form)).leaf == short
    assert text_of(short, STREAM) == form
