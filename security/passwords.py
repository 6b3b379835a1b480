"""Passwords: argon2id (RFC 9106), never more at once than the machine can bear, and how hard one is to guess."""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache, partial
from hashlib import pbkdf2_hmac
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from time import perf_counter, thread_time
from typing import Any, NamedTuple, TypeVar
from unicodedata import normalize
from weakref import finalize

import msgspec
from argon2 import PasswordHasher, Type, extract_parameters

from security import password_hashes
from security.fair_queue import NOBODY, Asker, FairQueue
from security.gathering import Gathering, Ready

T = TypeVar("T")

MIN_CHARACTERS = 8
MAX_CHARACTERS = 128
MAX_BYTES = 1024
"""More than any password that may be set takes, however its letters are put together when it is typed."""

LONGEST_LOOK = 30.0
"""Seconds of work, beyond which nothing is made up for."""

KINDS_REMEMBERED = 64

_SALT_BYTES = 16
_HASH_BYTES = 32


class Argon2Parameters(msgspec.Struct, frozen=True):
    """What a hash costs: memory in KiB, passes, lanes. The defaults are the least that a server should ask for."""

    memory: int = 19_456
    passes: int = 2
    lanes: int = 1


class Unacceptable(StrEnum):
    """Why a text cannot become a password."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NOT_TEXT = "not_text"


class HasherOverloaded(Exception):
    """More passwords are waiting than the server will hold: answer 503 with `Retry-After`."""


class Verification(NamedTuple):
    """`needs_rehash` is true for a right password whose hash is weaker than the parameters now in force."""

    ok: bool
    needs_rehash: bool


def unacceptable(password: str) -> Unacceptable | None:
    """Why a text may not become a password: under 8 code points once normalised, or over 128, as typed or normalised.

    NIST SP 800-63B §5.1.1.2 counts code points, wants at least 8 and up to 64 of them, and forbids to cut a password
    short. When a password is verified neither bound holds, but one in bytes, which limits work.
    """
    octets = _octets(password)
    if isinstance(octets, Unacceptable):
        return octets
    characters = len(octets.decode())
    if max(characters, len(password)) > MAX_CHARACTERS:
        return Unacceptable.TOO_LONG
    return Unacceptable.TOO_SHORT if characters < MIN_CHARACTERS else None


def _octets(password: str) -> bytes | Unacceptable:
    """The bytes that are hashed: the NFKC form in UTF-8; or why there are none, over 1024 bytes as typed.

    NIST SP 800-63B §5.1.1.2 has passwords normalised by NFKC or NFKD before they are hashed, since keyboards differ in
    how they put an accented letter together. Nothing is folded or stripped: letter case and blanks count.
    """
    # The bound comes before normalising, which can make a text eighteen times as long.
    if len(password) > MAX_BYTES:
        return Unacceptable.TOO_LONG
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return Unacceptable.NOT_TEXT
    return Unacceptable.TOO_LONG if size > MAX_BYTES else normalize("NFKC", password).encode()


# With every password that is right, of hashes that few settings have ever made.
_parameters = lru_cache(maxsize=64)(extract_parameters)


def _blank(encoded: str) -> str:
    """The same encoded hash without anybody's salt and digest: its parameters are told by their lengths."""
    costs, salt, digest = ["", "", *encoded.rsplit("$", 2)][-3:]
    return "$".join((costs, "A" * len(salt), "A" * len(digest)))


class _Job:
    """Work that waits for a thread, and who waits for it."""

    __slots__ = ("_gathering", "waiter", "work")

    def __init__(self, work: Callable[[], Any], gathering: Gathering) -> None:
        self.work = work
        self._gathering = gathering
        self.waiter: asyncio.Future[Any] = gathering.loop.create_future()

    def carry_out(self) -> Ready:
        """Does it, in a thread."""
        try:
            return self.waiter, self.work(), None
        except BaseException as raised:
            return self.waiter, None, raised

    def tell(self, answer: Ready, *, more: bool) -> None:
        """Has the waiter hear of it, from any thread; soon, where `more` are at work."""
        self._gathering.hear(answer, more=more)

    def refuse(self) -> None:
        """Tells the waiter that there is no place."""
        self.tell((self.waiter, None, HasherOverloaded()), more=False)


def _serve(turns: "SimpleQueue[Callable[[], None] | None]") -> None:
    """What a thread does until it is told to end. It keeps nothing of what it did, nor who had it done."""
    while (turn := turns.get()) is not None:
        turn()
        del turn


class Hasher:
    """Hashes and verifies in `threads` threads, for one address in half of them, with `waiting` calls behind them."""

    def __init__(
        self, parameters: Argon2Parameters | None = None, *, threads: int | None = None, waiting: int = 64
    ) -> None:
        self._parameters = parameters or Argon2Parameters()
        self._argon2 = PasswordHasher(
            time_cost=self._parameters.passes,
            memory_cost=self._parameters.memory,
            parallelism=self._parameters.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
            type=Type.ID,
        )
        workers = threads or min(4, os.cpu_count() or 1)
        # The interpreter's own pools make three objects and take as many locks for each turn, which costs as much as a
        # page does where the hash has emptied the caches.
        self._turns: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._workers = workers
        finalize(self, _end, self._turns, workers)
        self._queue: FairQueue[_Job] = FairQueue(running=workers, share=max(1, workers // 2), room=waiting)
        self._changing = Condition()
        self._closed = False
        self._gathering: Gathering | None = None
        costs = self._parameters
        self._seconds: dict[str, float] = {}
        """How long a look takes here, by costs."""
        self._costs = f"$argon2id$v=19$m={costs.memory},t={costs.passes},p={costs.lanes}"

    async def hash(self, password: str, asker: Asker = NOBODY) -> str:
        """The encoded hash, salt and parameters included. Raises Overloaded; ValueError for an `unacceptable` text."""
        if problem := unacceptable(password):
            raise ValueError(f"this text cannot become a password: {problem}")
        return await self.rehash(password, asker)

    async def rehash(self, password: str, asker: Asker = NOBODY) -> str:
        """The same of a password that was verified, which other rules may have let be set. Raises Overloaded."""
        octets = _octets(password)
        if isinstance(octets, Unacceptable):
            raise ValueError(f"this text cannot have been a password: {octets}")
        return await self._run(asker, lambda: self._argon2.hash(octets))

    async def verify(
        self,
        encoded: str | None,
        password: str,
        asker: Asker = NOBODY,
        *,
        like: str | None = None,
        dearest: str | None = None,
    ) -> Verification:
        """Whether this is the password. Without a hash (unknown user) the answer is no, and costs as much time as if
        `like` were theirs; without that, as a new hash. A no costs as much as hashes with the costs `dearest` in any
        case, so that its time does not tell whose hash is of which kind.

        A text that could never be a password costs the same too. May raise Overloaded; raises argon2's InvalidHashError
        when the stored hash is none.
        """
        octets = _octets(password)
        if encoded is None or isinstance(octets, Unacceptable):
            typed = [b"" if isinstance(octets, Unacceptable) else octets]
            stored = encoded or like
            against = password_hashes.of_nobody(self._costs if stored is None else password_hashes.read(stored).costs)
        else:
            typed, against = [octets], encoded
        # Other systems do not normalise what is typed.
        if typed[0] and (raw := password.encode()) != octets:
            typed.append(raw)
        matched = await self._run(asker, lambda: self._look(against, typed, dearest))
        if encoded is None or matched is None:
            return Verification(False, False)
        return Verification(True, matched != octets or self.needs_rehash(encoded))

    def needs_rehash(self, encoded: str) -> bool:
        """Whether a hash is weaker in any respect than a new one would be, or no argon2id. A stronger one is left."""
        if not encoded.startswith("$argon2"):
            return True
        had = _parameters(_blank(encoded))
        return (
            had.type is not Type.ID
            or had.version < 19
            or had.memory_cost < self._parameters.memory
            or had.time_cost < self._parameters.passes
            or had.hash_len < _HASH_BYTES
        )

    def close(self) -> None:
        """Finish what was accepted and take no more."""
        with self._changing:
            self._closed = True
            self._changing.wait_for(lambda: self._queue.is_idle)
        _end(self._turns, len(self._threads))
        for thread in self._threads:
            thread.join()

    def _look(self, encoded: str, typed: list[bytes], dearest: str | None) -> bytes | None:
        """Which of the texts is the password, in a thread; None, which costs as much as the dearest, for none."""
        kept = password_hashes.read(encoded)
        # What others do for a thread is not on its own clock.
        clock = perf_counter if kept.has_lanes else thread_time
        begun = clock()
        found = next((octets for octets in typed if self._matches(encoded, octets)), None)
        spent = clock() - begun
        if found is None and dearest is not None:
            if kept.costs == dearest:
                self._learn(dearest, spent / len(typed))
            else:
                self._make_up(dearest, spent, len(typed))
        return found

    def _make_up(self, dearest: str, spent: float, times: int) -> None:
        """Works as long as the dearest kind would have, so many times, after what has been spent."""
        if dearest not in self._seconds:
            # Once a process, which takes longer than ever after.
            self._look(password_hashes.of_nobody(dearest), [b""], dearest)
        until = thread_time() + min(self._seconds[dearest] * times, LONGEST_LOOK) - spent
        while thread_time() < until:
            pbkdf2_hmac("sha256", b"", b"", 200)

    def _learn(self, costs: str, seconds: float) -> None:
        """Remembers how long it takes here, as it was of late."""
        if len(self._seconds) > KINDS_REMEMBERED:
            self._seconds.clear()
        self._seconds[costs] = (3 * self._seconds.get(costs, seconds) + seconds) / 4

    def _matches(self, encoded: str, octets: bytes) -> bool:
        return password_hashes.read(encoded).matches(octets)

    @property
    def waiting(self) -> int:
        """Calls that have no thread yet."""
        return self._queue.waiting

    async def _run(self, asker: Asker, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        if self._gathering is None or self._gathering.loop is not loop:
            self._gathering = Gathering(loop)
        job = _Job(work, self._gathering)
        with self._changing:
            if self._closed:
                raise RuntimeError("no password is looked at any more")
            leaving = self._queue.put(asker, job)
            self._begin()
        if leaving is not None:
            leaving.refuse()
        try:
            found: T = await job.waiter
        except asyncio.CancelledError:
            # Who hangs up while waiting makes room. Work that has begun keeps its place until it is done, so that
            # nobody can have more of it going on than there are threads.
            self._leave(job)
            raise
        return found

    def _begin(self) -> None:
        """Gives free threads to whose turn it is."""
        while (turn := self._queue.take()) is not None:
            if self._has_threads():
                self._turns.put(partial(self._work, *turn))
            else:
                self._queue.done(turn[0])
                turn[1].refuse()

    def _has_threads(self) -> bool:
        """Starts one more until there are all. Where the system has none left at present, those that there are do."""
        if (number := len(self._threads)) < self._workers:
            thread = Thread(target=_serve, args=(self._turns,), name=f"argon2_{number}", daemon=True)
            # As the interpreter says that it cannot start one.
            with suppress(RuntimeError):
                thread.start()
                self._threads.append(thread)
        return bool(self._threads)

    def _work(self, asker: Asker, job: _Job) -> None:
        answer = job.carry_out()
        with self._changing:
            self._queue.done(asker)
            try:
                self._begin()
            finally:
                # Whatever comes of the next, this one is done.
                job.tell(answer, more=self._queue.running > 0)
            if self._closed:
                self._changing.notify_all()

    def _leave(self, job: _Job) -> None:
        with self._changing:
            self._queue.remove(job)
            self._changing.notify_all()


def _end(turns: "SimpleQueue[Callable[[], None] | None]", threads: int) -> None:
    for _ in range(threads):
        turns.put(None)


# How hard a password is to guess, by zxcvbn: whether it may be set, and if not, what makes it easy.

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
                raise HasherOverloaded()
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
