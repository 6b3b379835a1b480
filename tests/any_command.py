"""Commands of any verb with any facts, for tests that bring about what nobody can ask the server for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from domain.decision import Outcome, Refusal
from eventstore.command import Command, Sweep
from eventstore.view import View


def any_command(
    stream: str,
    verb: Callable[..., Outcome],
    facts: Mapping[str, Any] | None = None,
    under_lock: Callable[[View], Mapping[str, Any] | Refusal] | None = None,
    **how: Any,
) -> Command[Any]:
    """The verb with these facts, and with those that are read under the lock."""

    def decide(state: Any, view: View) -> Outcome | Refusal:
        read: Mapping[str, Any] | Refusal = {} if under_lock is None else under_lock(view)
        return read if isinstance(read, Refusal) else verb(state, now=view.now, **(facts or {}), **read)

    return Command(stream, decide, **how)


def any_sweep(streams: Callable[[View], Iterable[Sequence[str]]], verb: Callable[..., Outcome]) -> Sweep[Any]:
    """The verb on each of the streams."""
    return Sweep(streams, lambda state, view: verb(state, now=view.now))
