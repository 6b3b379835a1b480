"""Passwords: argon2id (RFC 9106), never more at once than the machine can bear, and how hard one is to guess."""

import asyncio
import os
import re
from base64 import b64encode
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from threading import Condition, Lock
from typing import Any, Generic, NamedTuple, TypeVar
from unicodedata import normalize

import msgspec
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError

T = TypeVar("T")
Item = TypeVar("Item", bound=Hashable)

MIN_CHARACTERS = 8
MAX_CHARACTERS = 128
MAX_BYTES = 1024
"""More than any password that may be set takes, however its letters are put together when it is typed."""

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


# Whose turn it is: round by round one of each address, and within an address one of each person. A storm of callers
# waits behind itself: whoever comes from elsewhere waits for no more than those who came from as many other addresses,
# whatever the length of their queues. It decides nothing by time or chance, and knows no thread.


class Asker(NamedTuple):
    """For whom something is done: the address that asks, and the person it is about. Texts that mean nothing here."""

    address: str = ""
    person: str = ""


class FairQueue(Generic[Item]):
    """At most `running` at a time, at most `share` of them for one address; at most `room` wait. Not thread-safe."""

    def __init__(self, *, running: int, share: int, room: int) -> None:
        self._running = running
        self._share = share
        self._room = room
        self._queues: OrderedDict[str, OrderedDict[str, deque[Item]]] = OrderedDict()
        """By address and person, in the order of their turns."""
        self._askers: dict[Item, Asker] = {}
        self._waiting_at: Counter[str] = Counter()
        self._waiting_for: Counter[str] = Counter()
        self._running_at: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many have no turn yet."""
        return len(self._askers)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._askers and not self._running_at

    def put(self, asker: Asker, item: Item) -> Item | None:
        """One more that waits. Who has to go for it is returned: the newest of the longest queue, or this one itself.

        Nobody goes for one who waits in as long a queue. The longest is that of an address, and among addresses with
        one each that of a person.
        """
        self._enter(asker, item)
        if len(self._askers) <= self._room + self._free():
            return None
        leaving = self._newest_of_the_longest(asker, item)
        self.remove(leaving)
        return leaving

    def take(self) -> tuple[Asker, Item] | None:
        """The next one; it runs until `done`. None where nobody may have a turn now."""
        if not self._free():
            return None
        for address, people in self._queues.items():
            if self._running_at[address] < self._share:
                person, queue = next(iter(people.items()))
                item = queue[0]
                # Both go to the end of their round.
                self._queues.move_to_end(address)
                people.move_to_end(person)
                self.remove(item)
                self._running_at[address] += 1
                return Asker(address, person), item
        return None

    def done(self, asker: Asker) -> None:
        """One that ran does not run any more."""
        _less(self._running_at, asker.address)

    def remove(self, item: Item) -> None:
        """It waits no longer; nothing if it does not wait."""
        asker = self._askers.pop(item, None)
        if asker is None:
            return
        people = self._queues[asker.address]
        people[asker.person].remove(item)
        if not people[asker.person]:
            del people[asker.person]
        if not people:
            del self._queues[asker.address]
        _less(self._waiting_at, asker.address)
        _less(self._waiting_for, asker.person)

    def _free(self) -> int:
        return self._running - self._running_at.total()

    def _enter(self, asker: Asker, item: Item) -> None:
        self._queues.setdefault(asker.address, OrderedDict()).setdefault(asker.person, deque()).append(item)
        self._askers[item] = asker
        self._waiting_at[asker.address] += 1
        self._waiting_for[asker.person] += 1

    def _newest_of_the_longest(self, asker: Asker, item: Item) -> Item:
        address, most = self._waiting_at.most_common(1)[0]
        if most > 1:
            if most == self._waiting_at[asker.address]:
                address = asker.address
            people = self._queues[address]
            longest = max(map(len, people.values()))
            # Of as long ones the one whose turn comes last.
            return next(queue[-1] for queue in reversed(people.values()) if len(queue) == longest)
        person, most = self._waiting_for.most_common(1)[0]
        if most == self._waiting_for[asker.person]:
            return item
        return next(other for other in reversed(self._askers) if self._askers[other].person == person)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


NOBODY = Asker()
"""For whom the server itself asks."""


class _Job(NamedTuple):
    """Work that waits for a thread."""

    work: Callable[[], Any]
    future: "Future[Any]"

    def __hash__(self) -> int:
        return id(self.future)

    def __eq__(self, other: object) -> bool:
        return self is other


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
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._queue: FairQueue[_Job] = FairQueue(running=workers, share=max(1, workers // 2), room=waiting)
        self._changing = Condition()
        self._closed = False
        self._nobody = _hash_of_nothing(self._parameters)

    async def hash(self, password: str, asker: Asker = NOBODY) -> str:
        """The encoded hash, salt and parameters included. Raises Overloaded; ValueError for an `unacceptable` text."""
        octets = _octets(password)
        if isinstance(octets, Unacceptable) or unacceptable(password):
            raise ValueError(f"this text cannot become a password: {unacceptable(password)}")
        return await self._run(asker, lambda: self._argon2.hash(octets))

    async def verify(
        self, encoded: str | None, password: str, asker: Asker = NOBODY, *, like: str | None = None
    ) -> Verification:
        """Whether this is the password. Without a hash (unknown user) the answer is no, and costs as much time as if
        `like` were theirs; without that, as a new hash.

        A text that could never be a password costs the same too. May raise Overloaded; raises argon2's InvalidHashError
        when the stored hash is none.
        """
        octets = _octets(password)
        if encoded is None or isinstance(octets, Unacceptable):
            tried = b"" if isinstance(octets, Unacceptable) else octets
            stored = encoded or like
            against = self._nobody if stored is None else _nobodys(stored)
            await self._run(asker, lambda: self._matches(against, tried))
            return Verification(False, False)
        matches = await self._run(asker, lambda: self._matches(encoded, octets))
        return Verification(matches, matches and self.needs_rehash(encoded))

    def needs_rehash(self, encoded: str) -> bool:
        """Whether a hash is weaker in any respect than a new one would be. A stronger one is left as it is."""
        had = extract_parameters(encoded)
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
        self._pool.shutdown(wait=True)

    def _matches(self, encoded: str, octets: bytes) -> bool:
        try:
            return self._argon2.verify(encoded, octets)
        except VerifyMismatchError:
            return False

    @property
    def waiting(self) -> int:
        """Calls that have no thread yet."""
        return self._queue.waiting

    async def _run(self, asker: Asker, work: Callable[[], T]) -> T:
        future: Future[T] = Future()
        job = _Job(work, future)
        with self._changing:
            if self._closed:
                raise RuntimeError("no password is looked at any more")
            leaving = self._queue.put(asker, job)
            self._begin()
        if leaving is not None and leaving.future.set_running_or_notify_cancel():
            leaving.future.set_exception(HasherOverloaded())
        # Who hangs up while waiting makes room. Work that has begun keeps its place until it is done, so that nobody
        # can have more of it going on than there are threads.
        future.add_done_callback(lambda _: self._leave(job))
        return await asyncio.wrap_future(future)

    def _begin(self) -> None:
        """Gives free threads to whose turn it is."""
        while (turn := self._queue.take()) is not None:
            self._pool.submit(self._work, *turn)

    def _work(self, asker: Asker, job: _Job) -> None:
        if job.future.set_running_or_notify_cancel():
            try:
                job.future.set_result(job.work())
            except BaseException as error:
                job.future.set_exception(error)
        with self._changing:
            self._queue.done(asker)
            self._begin()
            self._changing.notify_all()

    def _leave(self, job: _Job) -> None:
        with self._changing:
            self._queue.remove(job)
            self._changing.notify_all()


def _hash_of_nothing(parameters: Argon2Parameters) -> str:
    """A well-formed hash of no known password, to verify against when there is no user.

    It is put together from random bytes instead of being computed, so it costs nothing at start and no first unknown
    user waits for it; verifying against it takes exactly as long as against a real one.
    """
    costs = f"m={parameters.memory},t={parameters.passes},p={parameters.lanes}"
    return f"$argon2id$v=19${costs}${_random(_SALT_BYTES)}${_random(_HASH_BYTES)}"


def _nobodys(stored: str) -> str:
    """A hash of no known password that costs exactly what this one costs. Raises argon2's InvalidHashError."""
    had = extract_parameters(stored)
    costs = stored.rpartition("$")[0].rpartition("$")[0]
    return f"{costs}${_random(had.salt_len)}${_random(had.hash_len)}"


def _random(size: int) -> str:
    return b64encode(os.urandom(size)).rstrip(b"=").decode()


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
