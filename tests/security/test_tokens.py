"""The format of secrets, and that a secret in memory never shows itself."""

import copy
import json
import pickle
import re
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import tokens
from security.tokens import ALPHABET, Format, Kind, Secret, six_digits

kinds = st.sampled_from(list(Kind))


def test_kinds_are_two_letters_and_say_what_they_are():
    assert [str(kind) for kind in Kind] == ["at", "rt", "ac", "cs", "ss", "dc", "ia", "ra", "pr", "ev"]
    assert len({kind.description for kind in Kind}) == len(Kind)
    assert Kind("at") is Kind.ACCESS_TOKEN
    assert Kind.ACCESS_TOKEN.description == "access token"


@given(kinds)
def test_a_minted_secret_has_the_contracts_form(kind):
    raw = tokens.mint(kind).reveal()
    match = re.fullmatch(r"glog_([a-z]{2})_([0-9A-Za-z]{30})([0-9A-Za-z]{6})", raw)
    assert match is not None
    assert match[1] == kind
    assert match[3] == six_digits(crc32(match[2].encode()))
    assert tokens.parse(raw) is kind
    assert re.search(tokens.DEFAULT.pattern(Kind(match[1])), f"token={raw};") is not None


def test_secrets_do_not_repeat():
    assert len({tokens.mint(Kind.ACCESS_TOKEN).reveal() for _ in range(1000)}) == 1000


@given(kinds, st.integers(0, 43), st.sampled_from(ALPHABET + "_-é\0 "))
def test_changing_any_character_is_noticed(kind, place, character):
    raw = tokens.mint(kind).reveal()
    changed = raw[:place] + character + raw[place + 1 :]
    # The checksum is over the random part; the kind stands before it and is part of what the digest is made of.
    if changed != raw and place not in (5, 6):
        assert tokens.parse(changed) is None


@given(kinds, st.integers(8, 42))
def test_swapping_neighbours_is_noticed(kind, place):
    raw = tokens.mint(kind).reveal()
    swapped = raw[:place] + raw[place + 1] + raw[place] + raw[place + 2 :]
    assert swapped == raw or tokens.parse(swapped) is None


@given(st.text(max_size=60))
def test_foreign_text_has_no_kind(text):
    assert tokens.parse(text) is None
    assert tokens.read(text) is None
    assert tokens.mask(text) == "unknown"


@pytest.mark.parametrize(
    "raw",
    ["glog_at_", "glog_xx_" + "0" * 36, "glog_at_" + "0" * 35, "glog_at_" + "０" * 36, "glog_at_" + "0" * 36 + "\n"],
)
def test_near_misses_have_no_kind(raw):
    assert tokens.parse(raw) is None


def test_a_known_secret_of_the_contract():
    # CRC-32 of thirty zeros, from zlib, in base62.
    raw = "glog_cs_" + "0" * 30 + six_digits(crc32(b"0" * 30))
    assert tokens.parse(raw) is Kind.CLIENT_SECRET


def test_an_installation_chooses_its_prefix():
    acme = Format("acme2")
    raw = acme.mint(Kind.REFRESH_TOKEN).reveal()
    assert raw.startswith("acme2_rt_")
    assert acme.parse(raw) is Kind.REFRESH_TOKEN
    assert tokens.parse(raw) is None
    assert acme.parse(tokens.mint(Kind.REFRESH_TOKEN).reveal()) is None


@pytest.mark.parametrize("prefix", ["", "a", "Acme", "2fa", "a_b", "a" * 17, "äcme", "acme\n"])
def test_other_prefixes_are_refused(prefix):
    with pytest.raises(ValueError, match="prefix"):
        Format(prefix)


def test_the_digest_is_sha_256_of_the_whole_text():
    # FIPS 180-4, the example of one block.
    assert tokens.digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    secret = Secret("abc")
    assert secret.sha256 == tokens.digest("abc")
    assert secret.hex == tokens.digest("abc").hex()


@given(st.text())
def test_any_text_has_a_digest(text):
    assert len(tokens.digest(text)) == len(tokens.digest(text + "\ud800")) == 32


def test_a_presented_secret_is_read_with_its_digest():
    minted = tokens.mint(Kind.CLIENT_SECRET)
    presented = tokens.read(minted.reveal())
    assert presented == minted
    assert presented is not None
    assert hash(presented) == hash(minted)
    assert presented.kind is Kind.CLIENT_SECRET
    assert minted != tokens.mint(Kind.CLIENT_SECRET)
    assert minted != minted.reveal()


@given(kinds)
def test_the_mask_is_kind_and_start_of_the_digest(kind):
    secret = tokens.mint(kind)
    assert secret.masked == tokens.mask(secret.reveal()) == f"{kind.value}:{secret.hex[:8]}"


SHOWN = {
    "repr": repr,
    "str": str,
    "format": lambda secret: f"{secret} {secret!r} {secret:>60}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - logging formats this way
    "in a container": lambda secret: repr([secret, {"token": secret}]),
    "copy": lambda secret: repr(copy.deepcopy(copy.copy(secret))),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_a_secret_never_shows_itself(show):
    secret = tokens.mint(Kind.CLIENT_SECRET)
    shown = show(secret)
    assert secret.masked in shown
    assert all(secret.reveal()[place : place + 6] not in shown for place in range(8, 39))


SERIALISED = {
    "pickle": pickle.dumps,
    "state": lambda secret: secret.__getstate__(),
    "json": json.dumps,
    "msgspec": msgspec.json.encode,
    "vars": vars,
}


@pytest.mark.parametrize("serialise", SERIALISED.values(), ids=SERIALISED)
def test_a_secret_cannot_be_serialised(serialise):
    secret = tokens.mint(Kind.CLIENT_SECRET)
    with pytest.raises(TypeError) as refused:
        serialise(secret)
    assert secret.reveal() not in str(refused.value)


@given(st.text() | st.binary(), st.text() | st.binary())
def test_same_is_equality_of_octets(left, right):
    def octets(value):
        return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")

    assert tokens.same(left, left)
    assert tokens.same(left, right) == (octets(left) == octets(right))
