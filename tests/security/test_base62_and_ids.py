"""Base62 text, and the identifiers made of it."""

import os
import re
from collections import Counter
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import tokens


def test_every_character_is_drawn_equally_often():
    drawn = Counter(tokens.characters(62 * 4000))
    assert set(drawn) == set(tokens.ALPHABET)
    # Chi-squared with 61 degrees of freedom stays under 160 in all but one of 10¹⁰ runs; a plain modulo exceeds it.
    assert sum((count - 4000) ** 2 / 4000 for count in drawn.values()) < 160


@given(st.integers(0, 500))
def test_as_many_characters_as_asked_for(count):
    assert len(tokens.characters(count)) == count


def test_characters_are_redrawn_when_too_many_were_rejected(monkeypatch):
    rounds = iter([b"\xff" * 100, b"\x00\xff", b"\x01\x3d"])
    monkeypatch.setattr("security.tokens.os.urandom", lambda size: next(rounds))
    assert tokens.characters(3) == "01z"


@given(st.integers(0, 62**6 - 1))
def test_six_digits_count_in_base_62(number):
    digits = tokens.six_digits(number)
    value = 0
    for digit in digits:
        value = value * 62 + tokens.ALPHABET.index(digit)
    assert (len(digits), value) == (6, number)


@pytest.mark.parametrize(("number", "digits"), [(0, "000000"), (61, "00000z"), (62, "000010"), (2**32 - 1, "4gfFC3")])
def test_six_digits_of_known_numbers(number, digits):
    assert tokens.six_digits(number) == digits


def test_the_published_check_value_of_crc_32():
    # The catalogue of parametrised CRC algorithms gives CBF43926 for CRC-32/ISO-HDLC over these nine digits.
    assert crc32(b"123456789") == 0xCBF43926


def test_ids_are_unique_and_have_one_form():
    made = {tokens.new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[0-9A-Za-z]{22}", one) for one in made)


@pytest.mark.parametrize(
    ("number", "digits"), [(0, "0000000"), (62**6, "1000000"), (62**7 - 1, "zzzzzzz"), (62**7 + 1, "0000001")]
)
def test_seven_digits_are_the_last_seven(number, digits):
    assert tokens.seven_digits(number) == digits


@given(st.integers(0, 62**7 - 1), st.integers(0, 62**7 - 1))
def test_ordered_ids_sort_by_their_millisecond(one, other):
    earlier, later = sorted((one, other))
    first, second = tokens.ordered_id(earlier * 1000), tokens.ordered_id(later * 1000)
    assert len(first) == 22
    assert first[:7] <= second[:7]
    assert (first < second) or earlier == later


def test_ordered_ids_of_one_moment_are_unique():
    assert len({tokens.ordered_id(1_767_225_600_000_000) for _ in range(1000)}) == 1000


def test_names_drawn_ahead_are_never_handed_out_twice():
    made = [tokens.names(15) for _ in range(5_000)]
    assert len(set(made)) == 5_000
    assert {len(name) for name in made} == {15}


def test_a_forked_process_draws_its_own():
    tokens.names(15)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, tokens.names(15).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 15).decode() != tokens.names(15)
    os.close(reading)
    os.close(writing)
