"""Nonces are used once: by nobody twice, and not by a child process after its parent."""

import os

from security.nonces import nonce


def test_no_nonce_is_handed_out_twice():
    made = [nonce(12) for _ in range(5_000)]
    assert {len(each) for each in made} == {12}
    assert len(set(made)) == len(made)


def test_a_forked_process_draws_its_own():
    nonce(12)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, nonce(12))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 12) != nonce(12)
    os.close(reading)
    os.close(writing)
