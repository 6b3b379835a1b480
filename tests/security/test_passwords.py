"""Passwords: what is accepted, what matches, and what happens when too many come at once."""

import asyncio
from functools import partial
from threading import Event, Semaphore, Thread
from unittest.mock import Mock

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError

from security import passwords
from security.fair_queue import NOBODY, Asker
from security.gathering import Gathering
from security.passwords import (
    Argon2Parameters,
    Hasher,
    HasherOverloaded,
    Unacceptable,
    Verification,
    unacceptable,
)
from tests.started import PATIENCE

# As cheap as argon2 goes: these tests are about behaviour.
CHEAP = Argon2Parameters(memory=64, passes=2, lanes=1)


@pytest.fixture
def hasher():
    made = Hasher(CHEAP)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("", Unacceptable.TOO_SHORT),
        ("seven77", Unacceptable.TOO_SHORT),
        ("eight888", None),
        ("        ", None),
        # Eight code points as typed, of which normalising leaves four (NIST SP 800-63B counts what is compared).
        ("a\u0308" * 4, Unacceptable.TOO_SHORT),
        ("🔑" * 7, Unacceptable.TOO_SHORT),
        ("🔑" * 8, None),
        ("x" * 128, None),
        ("🔑" * 128, None),
        ("x" * 129, Unacceptable.TOO_LONG),
        # 64 code points of which normalising makes 18 each, and 130 of which it leaves 65.
        ("\ufdfa" * 64, Unacceptable.TOO_LONG),
        ("a\u0308" * 65, Unacceptable.TOO_LONG),
        ("x" * 2000 + "\ud800", Unacceptable.TOO_LONG),
        ("surrogate\ud800", Unacceptable.NOT_TEXT),
    ],
)
def test_lengths(password, problem):
    assert unacceptable(password) is problem


async def test_the_right_password_matches_and_others_do_not(hasher):
    encoded = await hasher.hash("correct horse")
    assert await hasher.verify(encoded, "correct horse") == (True, False)
    for wrong in ("correct hors", "Correct horse", " correct horse", "correct horse\0", "", "x" * 5000, "\ud800"):
        assert await hasher.verify(encoded, wrong) == (False, False)


async def test_hash_is_argon2id_with_its_parameters_and_a_fresh_salt():
    hasher = Hasher()
    one, other = await hasher.hash("correct horse"), await hasher.hash("correct horse")
    hasher.close()
    assert one != other
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct" not in one


async def test_keyboards_that_compose_letters_differently_agree(hasher):
    encoded = await hasher.hash("Zürich-Straße ﬁ")
    assert await hasher.verify(encoded, "Zu\u0308rich-Straße fi") == (True, False)
    assert await hasher.verify(encoded, "Zürich-Strasse fi") == (False, False)


async def test_nothing_is_cut_off(hasher):
    encoded = await hasher.hash("x" * 127 + "a")
    assert (await hasher.verify(encoded, "x" * 127 + "a")).ok
    assert not (await hasher.verify(encoded, "x" * 127 + "b")).ok


@pytest.mark.parametrize("password", ["seven77", "x" * 129, "surrogate\ud800"])
async def test_an_unacceptable_password_is_never_hashed(hasher, password):
    with pytest.raises(ValueError, match="cannot become a password") as refused:
        await hasher.hash(password)
    assert password not in str(refused.value)


async def test_password_shorter_than_the_minimum_still_verifies(hasher):
    old = hasher._argon2.hash(b"short")
    assert (await hasher.verify(old, "short")).ok


async def test_nobody_has_a_password(hasher):
    for password in ("correct horse", "", "x" * 5000):
        assert await hasher.verify(None, password) == (False, False)


@pytest.mark.parametrize(("encoded", "password"), [(None, "correct horse"), (None, "x" * 5000), ("real", "x" * 5000)])
async def test_who_cannot_match_costs_one_full_hash_too(hasher, monkeypatch, encoded, password):
    if encoded:
        encoded = await hasher.hash("correct horse")
    verified = []
    matches = hasher._matches

    def observed(against, octets):
        verified.append(against)
        return matches(against, octets)

    monkeypatch.setattr(hasher, "_matches", observed)
    assert not (await hasher.verify(encoded, password)).ok
    (against,) = verified
    assert extract_parameters(against) == extract_parameters(await hasher.hash("correct horse"))


async def test_raised_parameters_rehash_the_right_password_only(hasher):
    encoded = await hasher.hash("correct horse")
    for stronger in (Argon2Parameters(128, 2, 1), Argon2Parameters(64, 3, 1)):
        raised = Hasher(stronger)
        assert await raised.verify(encoded, "correct horse") == (True, True)
        assert await raised.verify(encoded, "wrong horse") == (False, False)
        assert not raised.needs_rehash(await raised.hash("correct horse"))
        # A hash stronger than asked for is not weakened.
        assert await hasher.verify(await raised.hash("correct horse"), "correct horse") == (True, False)
        raised.close()


async def test_other_variants_of_argon2_verify_and_are_replaced(hasher):
    other = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1, type=Type.I).hash("correct horse")
    assert await hasher.verify(other, "correct horse") == (True, True)


async def test_a_stored_hash_that_is_none_is_an_error(hasher):
    with pytest.raises(InvalidHashError):
        await hasher.verify("no hash", "correct horse")


@pytest.fixture
def crowded(monkeypatch):
    """One thread that is held up, and room for one more."""
    hasher = Hasher(CHEAP, threads=1, waiting=1)
    held, matches = Event(), hasher._matches
    monkeypatch.setattr(hasher, "_matches", lambda *pair: held.wait() and matches(*pair))
    yield hasher, held
    held.set()
    hasher.close()


async def test_full_waiting_room_makes_the_server_overloaded(crowded):
    hasher, held = crowded
    accepted = [asyncio.ensure_future(hasher.verify(None, "correct horse")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(HasherOverloaded):
        await hasher.verify(None, "correct horse")
    held.set()
    assert await asyncio.gather(*accepted) == [(False, False)] * 2
    assert await hasher.verify(None, "correct horse") == (False, False)


async def test_disconnect_frees_no_place_while_the_thread_works(crowded):
    hasher, held = crowded
    running, queued = (asyncio.ensure_future(hasher.verify(None, "correct horse")) for _ in range(2))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(HasherOverloaded):
        await hasher.verify(None, "correct horse")
    held.set()
    assert await queued == (False, False)


async def test_the_event_loop_is_free_while_a_password_is_verified(crowded):
    hasher, held = crowded
    verifying = asyncio.ensure_future(hasher.verify(None, "correct horse"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not verifying.done()
    held.set()
    assert await verifying == (False, False)


async def test_closing_finishes_what_was_accepted(hasher):
    accepted = asyncio.ensure_future(hasher.hash("correct horse"))
    await asyncio.sleep(0)
    hasher.close()
    assert (await accepted).startswith("$argon2id$")
    with pytest.raises(RuntimeError):
        await hasher.hash("correct horse")


def test_the_room_is_left_when_the_pool_takes_no_more(hasher):
    hasher.close()
    for _ in range(200):
        with pytest.raises(RuntimeError):
            asyncio.run(hasher.verify(None, "correct horse"))


async def test_thread_that_cannot_start_costs_no_place(monkeypatch):
    hasher, start, left = Hasher(CHEAP, threads=2), Thread.start, 0

    def limited(thread):
        nonlocal left
        if not left:
            raise RuntimeError("can't start new thread")
        left -= 1
        start(thread)

    monkeypatch.setattr(Thread, "start", limited)
    for _ in range(5):
        with pytest.raises(HasherOverloaded):
            await hasher.verify(None, "correct horse")
    left = 1
    # One is enough for all.
    assert await asyncio.gather(*(hasher.verify(None, "correct horse") for _ in range(4))) == [(False, False)] * 4
    left = 1
    assert await hasher.verify(None, "correct horse") == (False, False)
    assert len(hasher._threads) == 2
    hasher.close()


class Held:
    """A hasher whose threads go on when a test says so; who was looked at, in order."""

    def __init__(self, threads: int, waiting: int = 64) -> None:
        self.hasher = Hasher(CHEAP, threads=threads, waiting=waiting)
        self.begun: list[str] = []
        self._steps = Semaphore(0)
        self._arrived = Semaphore(0)
        self._matches = self.hasher._matches
        self.hasher._matches = self._observed  # type: ignore[method-assign]

    def _observed(self, encoded: str, octets: bytes) -> bool:
        self.begun.append(octets.decode())
        self._arrived.release()
        self._steps.acquire()
        return self._matches(encoded, octets)

    def ask(self, address: str, person: str, password: str) -> "asyncio.Task[Verification]":
        return asyncio.ensure_future(self.hasher.verify(None, password, Asker(address, person)))

    async def until_begun(self, number: int) -> list[str]:
        """What has begun when so many more have."""
        for _ in range(number):
            await asyncio.to_thread(self._arrived.acquire)
        return self.begun

    def go_on(self, number: int = 1) -> None:
        self._steps.release(number)


@pytest.fixture
def patient(monkeypatch):
    """Two threads, whose answers wait an hour for each other."""
    monkeypatch.setattr(passwords, "Gathering", partial(Gathering, longest=3600))
    return Held(threads=2)


async def test_answers_are_given_together_while_more_are_made(patient):
    asked = [patient.ask(address, "paul", address) for address in ("a", "b", "c")]
    await patient.until_begun(2)
    patient.go_on()
    await patient.until_begun(1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(each.done() for each in asked)
    patient.go_on(2)
    assert await asyncio.gather(*asked) == [(False, False)] * 3
    patient.hasher.close()


async def test_an_answer_with_nobody_behind_it_waits_for_nobody(patient):
    patient.go_on()
    assert await patient.ask("a", "paul", "alone") == (False, False)
    patient.hasher.close()


async def test_who_is_refused_waits_for_nobodys_answer(monkeypatch):
    monkeypatch.setattr(passwords, "Gathering", partial(Gathering, longest=3600))
    held = Held(threads=1, waiting=1)
    asked = [held.ask("a", "paul", str(n)) for n in range(3)]
    with pytest.raises(HasherOverloaded):
        await asked[2]
    held.go_on(2)
    assert await asyncio.gather(*asked[:2]) == [(False, False)] * 2
    held.hasher.close()


async def test_an_answer_is_given_whatever_comes_of_the_next(hasher, monkeypatch):
    job = passwords._Job(lambda: "found", Gathering(asyncio.get_running_loop()))
    hasher._queue.put(NOBODY, job)
    hasher._queue.take()
    monkeypatch.setattr(hasher, "_begin", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        hasher._work(NOBODY, job)
    assert await asyncio.wait_for(job.waiter, PATIENCE) == "found"


async def test_no_answer_waits_beyond_its_time_for_others(monkeypatch):
    monkeypatch.setattr(passwords, "Gathering", partial(Gathering, longest=0))
    held = Held(threads=2)
    asked = [held.ask(address, "paul", address) for address in ("a", "b")]
    await held.until_begun(2)
    held.go_on()
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == len(waiting) == 1
    held.go_on()
    assert await asyncio.gather(*asked) == [(False, False)] * 2
    held.hasher.close()


async def test_a_right_password_waits_behind_no_storm_from_elsewhere():
    held = Held(threads=1)
    storm = [held.ask("storm", "paul", f"wrong {n}") for n in range(60)]
    await held.until_begun(1)
    home, other = held.ask("home", "paul", "right"), held.ask("home", "ada", "also right")
    await asyncio.sleep(0)
    for _ in range(4):
        held.go_on()
        await held.until_begun(1)
    assert held.begun == ["wrong 0", "wrong 1", "right", "wrong 2", "also right"]
    held.go_on(62)
    await asyncio.gather(*storm, home, other)
    held.hasher.close()


async def test_address_has_half_of_the_threads_and_others_find_one():
    held = Held(threads=4)
    storm = [held.ask("storm", str(n), f"wrong {n}") for n in range(10)]
    assert await held.until_begun(2) == ["wrong 0", "wrong 1"]
    assert held.hasher.waiting == 8
    home = held.ask("home", "paul", "right")
    assert (await held.until_begun(1))[-1] == "right"
    held.go_on(11)
    await asyncio.gather(*storm, home)
    held.hasher.close()


async def test_a_full_room_has_place_for_who_comes_from_elsewhere():
    held = Held(threads=1, waiting=3)
    storm = [held.ask("storm", "paul", f"wrong {n}") for n in range(6)]
    await held.until_begun(1)
    home = held.ask("home", "paul", "right")
    await asyncio.sleep(0)
    held.go_on(4)
    assert await home == (False, False)
    told = await asyncio.gather(*storm, return_exceptions=True)
    assert [isinstance(each, HasherOverloaded) for each in told] == [False] * 3 + [True] * 3
    held.hasher.close()


async def test_disconnect_while_waiting_frees_the_place_at_no_cost():
    held = Held(threads=1, waiting=1)
    running, queued = held.ask("a", "paul", "first"), held.ask("b", "paul", "second")
    await held.until_begun(1)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    third = held.ask("c", "ada", "third")
    await asyncio.sleep(0)
    held.go_on(2)
    await asyncio.gather(running, third)
    assert held.begun == ["first", "third"]
    held.hasher.close()
