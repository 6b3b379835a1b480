"""How hard a password is to guess, by zxcvbn: whether it may be set, and if not, what makes it easy.

zxcvbn knows common passwords, words and names, rows of keys, dates and repeats, and whatever words it is given. It is
written in Python and keeps what it was given in a table of its module, so it looks at one password at a time, in a
thread of its own. Its lists are loaded with the first password: most processes never look at one.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from threading import Lock
from unicodedata import normalize

from security.passwords import Overloaded

LOOKED_AT = 72
"""Characters, from the first, that are looked at: the time that it takes grows with more than their square."""

SCORE = 3
"""The least of zxcvbn's scores (0 to 4) that will do: over 10^8 guesses, "safely unguessable" to who has the hash."""

LOOKALIKES = frozenset("4@8({[<3691!|70$5+%2")
"""Characters that zxcvbn takes for letters too, in every combination."""

MANY = 6
"""Different ones of those, beyond which the time that all combinations take could be seconds."""

PART = 24
"""Characters of the parts that such a password is looked at in, until one is good: 300 ms, at most."""

WORDS = 500
"""Known words, at most: more than there are in a person's names, however long, before those of the platform."""

WAITING = 32
"""Passwords that one process has waiting."""

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_one_at_a_time = Lock()


class Weakness(StrEnum):
    """What makes a password easy to guess, by what is longest in it."""

    COMMON = "common"
    WORDS = "words"
    NAMES = "names"
    KNOWN = "known"
    KEYBOARD = "keyboard"
    REPEAT = "repeat"
    SEQUENCE = "sequence"
    DATE = "date"
    SHORT = "short"


_BY_DICTIONARY = {
    "passwords": Weakness.COMMON,
    "user_inputs": Weakness.KNOWN,
    "surnames": Weakness.NAMES,
    "male_names": Weakness.NAMES,
    "female_names": Weakness.NAMES,
}
_BY_PATTERN = {
    "dictionary": Weakness.WORDS,
    "spatial": Weakness.KEYBOARD,
    "repeat": Weakness.REPEAT,
    "sequence": Weakness.SEQUENCE,
    "regex": Weakness.DATE,
    "date": Weakness.DATE,
}


def weakness(password: str, known: Iterable[str | None] = ()) -> Weakness | None:
    """What makes a password too easy to guess; None if nothing does.

    `known` are texts that a guesser would try first, such as the person's names; their words count alone too. Takes
    some milliseconds, and 300 ms at worst.
    """
    text, words = normalize("NFKC", password)[:LOOKED_AT], list(_words(known))
    if not text:
        return Weakness.SHORT
    found: list[Weakness] = []
    for part in _parts(text):
        if (why := _look(part, words)) is None:
            # What is hard to guess in one part is no easier for what stands around it.
            return None
        found.append(why)
    return found[0]


class StrengthMeter:
    """Looks at passwords beside the event loop, and holds at most `waiting` of them."""

    def __init__(self, *, waiting: int = WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zxcvbn")
        self._room = waiting
        self._counting = Lock()

    async def weakness(self, password: str, known: Iterable[str | None] = ()) -> Weakness | None:
        """The same as the function. Raises Overloaded."""
        with self._counting:
            if not self._room:
                raise Overloaded()
            self._room -= 1
        looking = self._thread.submit(weakness, password, tuple(known))
        looking.add_done_callback(self._leave)
        return await asyncio.wrap_future(looking)

    def close(self) -> None:
        """Finish what was accepted and take no more."""
        self._thread.shutdown(wait=True)

    def _leave(self, _: object) -> None:
        with self._counting:
            self._room += 1


def _words(known: Iterable[str | None]) -> Iterator[str]:
    """Each text and the words in it, each once, as they are compared."""
    texts = [normalize("NFKC", text).lower() for text in known if text]
    words = (word for text in texts for word in (text, *_BETWEEN_WORDS.split(text)) if word)
    yield from list(dict.fromkeys(words))[:WORDS]


def _parts(text: str) -> list[str]:
    if len(LOOKALIKES.intersection(text)) <= MANY:
        return [text]
    return [text[start : start + PART] for start in range(0, len(text), PART)]


def _look(text: str, words: list[str]) -> Weakness | None:
    from zxcvbn import zxcvbn
    from zxcvbn.matching import RANKED_DICTIONARIES

    with _one_at_a_time:
        try:
            result = zxcvbn(text, words)
        finally:
            # Nobody's names stay there.
            RANKED_DICTIONARIES.pop("user_inputs", None)
    if result["score"] >= SCORE:
        return None
    matches = [each for each in result["sequence"] if each["pattern"] in _BY_PATTERN]
    if not matches:
        return Weakness.SHORT
    longest = max(matches, key=lambda each: len(each["token"]))
    return _BY_DICTIONARY.get(longest.get("dictionary_name", ""), _BY_PATTERN[longest["pattern"]])
