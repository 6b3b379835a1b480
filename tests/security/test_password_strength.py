"""What is soon guessed and what is not, in bounded time, and that nobody's names stay in the library."""

import asyncio
import subprocess
import sys
from random import Random
from threading import Event
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security import passwords
from security.passwords import LOOKALIKES, MANY, HasherOverloaded, StrengthMeter, Weakness, weakness

PAUL = ("paul", "paul.baker@example.test", "Paul Åström-Baker", None)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("password1234", Weakness.COMMON),
        ("p@ssword1234", Weakness.COMMON),
        ("internationally", Weakness.WORDS),
        ("Christopher1", Weakness.NAMES),
        ("paul.baker@example.test", Weakness.KNOWN),
        ("Åströmbaker1", Weakness.KNOWN),
        ("a\u030astro\u0308mbaker", Weakness.KNOWN),
        ("cvbnm,./';lk", Weakness.KEYBOARD),
        ("aaaaaaaaaaaa", Weakness.REPEAT),
        ("paulpaulpaul", Weakness.REPEAT),
        ("abcdefghijkl", Weakness.SEQUENCE),
        ("31.12.1999 !", Weakness.DATE),
        ("ﾊﾟｽﾜｰﾄﾞ" * 2, Weakness.REPEAT),
        ("", Weakness.SHORT),
    ],
)
def test_what_is_soon_guessed_is_told_why(password: str, why: Weakness) -> None:
    assert weakness(password, PAUL) is why


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "a long and unguessable password",
        "gx7r-p2mq-9vtk",
        "日本語のパスワードです長い",
        "søvnløs i Århus",
    ],
)
def test_a_few_words_or_a_few_random_characters_will_do(password: str) -> None:
    assert weakness(password, PAUL) is None


@pytest.mark.parametrize(
    "known", ["Quillfeather", "ＱＵＩＬＬＦＥＡＴＨＥＲ", "x_quillfeather-y", "quillfeather@mail.example"]
)
def test_word_is_recognized_inside_others_and_in_any_spelling(known: str) -> None:
    assert weakness("Quillfeather7", ()) is not Weakness.KNOWN
    assert weakness("Quillfeather7", [None, "", known]) is Weakness.KNOWN


def test_of_parts_that_are_all_weak_the_first_tells_why() -> None:
    parts = ["abcdefghijklmnopqrstuvwx", "123456789012345678901234", "passwordpasswordpassword"]
    assert weakness("".join(parts)) is Weakness.SEQUENCE
    assert weakness("".join(reversed(parts))) is Weakness.REPEAT


def test_characters_beyond_the_72nd_make_nothing_stronger() -> None:
    assert weakness("a" * 72 + "gx7r-p2mq-9vtk") is Weakness.REPEAT
    assert weakness("a" * 58 + "gx7r-p2mq-9vtk") is None


def test_lookalikes_are_measured_in_parts_and_one_good_suffices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []
    genuine = passwords._look

    def look(text: str, words: list[str]) -> Weakness | None:
        looked.append(text)
        return genuine(text, words)

    monkeypatch.setattr(passwords, "_look", look)
    few, many = "".join(sorted(LOOKALIKES)[:MANY]), "".join(sorted(LOOKALIKES))
    assert weakness(few + "a" * 66) is None
    assert weakness("a" * 24 + many + "a" * 40) is None
    assert [len(text) for text in looked] == [72, 24, 24]


# Of every kind that some of the library's matchers take for something: digits of other scripts, what grows when it is
# folded, look-alikes, dates, halves of pairs that are none.
TEXTS = st.text(st.sampled_from("aA1٣²İßﬁ\u0130\u0301🔑日@$!|0./- \x00\u202e"), max_size=128) | st.text(max_size=128)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_no_text_is_too_odd_to_be_looked_at(text: str, known: list[str]) -> None:
    assert weakness(text, known) in (None, *Weakness)
    assert weakness(normalize("NFD", text), known) == weakness(normalize("NFC", text), known)


def test_names_do_not_stay_in_the_library() -> None:
    from zxcvbn.matching import RANKED_DICTIONARIES

    weakness("correct horse", PAUL)
    assert "user_inputs" not in RANKED_DICTIONARIES


async def test_passwords_beyond_the_capacity_are_rejected_others_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, goes_on = Event(), Event()

    def slow(password: str, known: object) -> None:
        begun.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(passwords, "weakness", slow)
    meter = StrengthMeter(waiting=2)
    try:
        first = asyncio.create_task(meter.weakness("one"))
        second = asyncio.create_task(meter.weakness("two"))
        # The loop goes on meanwhile.
        await asyncio.to_thread(begun.wait, 30)
        with pytest.raises(HasherOverloaded):
            await meter.weakness("three")
        second.cancel()
        await asyncio.wait([second])
        fourth = asyncio.create_task(meter.weakness("four"))
        goes_on.set()
        assert not any(await asyncio.gather(first, fourth))
    finally:
        goes_on.set()
        meter.close()


def test_words_are_told_apart_whoever_asks_at_the_same_time() -> None:
    chance = Random(14)  # noqa: S311 - made-up words, and the same ones each time
    words = ["".join(chance.choice("bcdfghjklmnp") for _ in range(12)) for _ in range(8)]

    async def ask() -> list[Weakness | None]:
        meters = [StrengthMeter(), StrengthMeter()]
        try:
            asked = [meters[place % 2].weakness(word, [words[place ^ 1]]) for place, word in enumerate(words)]
            return await asyncio.gather(*asked)
        finally:
            for meter in meters:
                meter.close()

    assert asyncio.run(ask()) == [None] * len(words)


def test_word_lists_are_loaded_with_the_first_password() -> None:
    # One interpreter for all of them, since each would load most of the server again.
    looked = "import sys, {module}; assert 'zxcvbn' not in sys.modules, '{module}'"
    program = "\n".join(looked.format(module=each) for each in ("api.app", "cli", "cli.person"))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
