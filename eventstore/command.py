"""What the ledger is asked to do: a command on one stream, a sweep over many. The room `commands` alone makes them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

from domain.decision import Outcome, Refusal
from eventstore.view import View

S = TypeVar("S")


class Command(msgspec.Struct, Generic[S], frozen=True):
    """One decision on one stream, whose state is an `S`.

    The ledger calls `decide(state, view)` under the append lock. `view` tells the time of the events, and what else the
    decision rests on as it is by then, whatever the caller had seen before. A refusal without facts is an answer too.

    `starts` says that the stream's id was made for this command, so that nobody has to look whether it has events; if
    it has, the append fails. `presented` is the digest of a code or token: the decision is then about the grant to
    which it belongs, which is looked up under the lock, for all commands of a transaction at once; `view.grant_of`
    tells what was found, and `stream` counts only when nothing was. `elsewhere` names, under the lock, a stream to
    which the command goes in the place of `stream`, or None. `alone` says that nothing else may share the transaction.
    `lives` says that what the stream is about lived a moment ago, so that nobody has to look whether it was archived.
    """

    stream: str
    decide: Callable[[S, View], Outcome | Refusal]
    starts: bool = False
    presented: bytes | None = None
    elsewhere: Callable[[View], str | None] | None = None
    alone: bool = False
    lives: bool = False

    def guarded(self, refusal: Callable[[View], Refusal | None]) -> "Command[S]":
        """The same command, refused with what `refusal` gives under the lock before anything is decided."""
        return msgspec.structs.replace(self, decide=lambda state, view: refusal(view) or self.decide(state, view))


class Sweep(msgspec.Struct, Generic[S], frozen=True):
    """One decision on each of any number of streams, in the transaction of the commands around it and after all of
    them were decided. What came of it is not among what is `recorded`: one portion of it is in memory at a time.

    `streams` is asked under the lock, portion by portion. The decision may record nothing, but must not refuse, since
    what came before has been written. A caller who sweeps has a transaction alone.
    """

    streams: Callable[[View], Iterable[Sequence[str]]]
    decide: Callable[[S, View], Outcome | Refusal]
