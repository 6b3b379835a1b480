"""How a command ends that a signal tells to: as by any failure, so that what it began is tidied up."""

import os
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

TOLD = (signal.SIGTERM, signal.SIGHUP)
"""A supervisor's, and that of a terminal which goes away. The interrupt is an exception by itself."""


class ToldToEnd(SystemExit):
    """A signal ends the command. What is half done goes, or is stopped, as this passes."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def carry_out(self) -> NoReturn:
        """Ends the process by the signal itself, so that its parent sees which."""
        signal.signal(self.number, signal.SIG_DFL)
        os.kill(os.getpid(), self.number)
        raise AssertionError("the process has ended")


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Has these signals raise `ToldToEnd` meanwhile, and not again while that passes: a terminal tells more than once
    that it goes away. What is to be ignored, as by nohup, stays so."""
    former = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in TOLD if signal.getsignal(number) is signal.SIG_DFL]
        former = {number: signal.signal(number, _Once()) for number in heeded}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class _Once:
    """Heeds a signal unless what it raised the last time still passes.

    Python drops an exception of a handler in places, such as where it writes out the prompt before it reads an answer.
    """

    def __init__(self) -> None:
        self._passing: weakref.ref[ToldToEnd] | None = None

    def __call__(self, number: int, _: object) -> None:
        if self._passing is None or self._passing() is None:
            told = ToldToEnd(number)
            self._passing = weakref.ref(told)
            try:
                raise told
            finally:
                # By its traceback it would keep itself.
                del told
