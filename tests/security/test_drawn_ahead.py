"""What is drawn ahead is handed out once: to nobody twice, and not to a child process after its parent."""

import os
import threading

from security.tokens import AT_A_TIME, drawn_ahead

octets = drawn_ahead(os.urandom)


def test_no_octets_are_handed_out_twice():
    made = [octets(12) for _ in range(5_000)]
    assert {len(each) for each in made} == {12}
    assert len(set(made)) == len(made)


def test_a_forked_process_draws_its_own():
    octets(12)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, octets(12))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 12) != octets(12)
    os.close(reading)
    os.close(writing)


def test_each_thread_draws_its_own():
    drawn = []

    def draw(count: int) -> bytes:
        drawn.append(count)
        return os.urandom(count)

    take = drawn_ahead(draw)
    take(1)
    other = threading.Thread(target=take, args=(1,))
    other.start()
    other.join()
    take(1)
    assert [count for count in drawn if count] == [AT_A_TIME, AT_A_TIME]
