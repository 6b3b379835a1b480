"""Nonces: random bytes that are used once, and told with what they were used for.

They are drawn many at a time, because asking the system for each lets other threads go first.
"""

import os
import threading


class _Ahead(threading.local):
    """What a thread drew ahead. A forked process must not use its parent's: a key takes a nonce once."""

    octets = b""


_ahead = _Ahead()
_AHEAD = 2_040


def nonce(count: int) -> bytes:
    """`count` bytes from the system's generator."""
    if len(_ahead.octets) < count:
        _ahead.octets = os.urandom(_AHEAD)
    drawn, _ahead.octets = _ahead.octets[:count], _ahead.octets[count:]
    return drawn


def _forget_ahead() -> None:
    _ahead.octets = b""


os.register_at_fork(after_in_child=_forget_ahead)
