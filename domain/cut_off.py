"""Cut-offs that end tokens and nothing else: what a containment does to a client or a person.

Such a cut-off is one fact, however many tokens it ends: those issued at positions from `first` on, up to its own. It
needs no disabling, and nothing revives what it ended.
"""

import msgspec

from domain.event import Event, Moment, Recorded


class ClientTokensEnded(Event, frozen=True, kw_only=True):
    """The client's tokens and codes issued from the position `first` on are dead: all, or those of one secret version.

    `since_at` is the moment that `first` stands for; without it every token so far is meant.
    """

    type = "client.tokens_ended"
    in_doubt = True

    secret_id: str | None = None
    first: int = 0
    since_at: Moment | None = None


class AccountTokensEnded(Event, frozen=True, kw_only=True):
    """The person's tokens, codes and browser sessions from the position `first` on are dead, at every client."""

    type = "account.tokens_ended"
    in_doubt = True

    first: int = 0
    since_at: Moment | None = None


class Window(msgspec.Struct, frozen=True, array_like=True):
    """Dead positions: `first` ≤ position < `last`. With a `secret_id`, only what that version authenticated."""

    first: int
    last: int
    secret_id: str | None = None


Windows = tuple[Window, ...]
Stretch = tuple[int, int]
"""A window without its secret: first and last position."""


def window(recorded: Recorded) -> Window:
    """What a cut-off cuts."""
    event = recorded.event
    return Window(event.first, recorded.position, getattr(event, "secret_id", None))


def whole(found: Window) -> bool:
    """Whether it leaves nothing to any cut-off before it."""
    return found.first == 0 and found.secret_id is None


def added(windows: Windows, recorded: Recorded) -> Windows:
    """The windows after one more event, which may be a cut-off."""
    if not isinstance(recorded.event, ClientTokensEnded | AccountTokensEnded):
        return windows
    found = window(recorded)
    return (found,) if whole(found) else (*windows, found)


def of_secret(windows: Windows, secret_id: str | None) -> tuple[Stretch, ...]:
    """What was cut off of one secret version alone."""
    if secret_id is None or not windows:
        return ()
    return tuple([(each.first, each.last) for each in windows if each.secret_id == secret_id])


def of_all(windows: Windows) -> tuple[Stretch, ...]:
    """What was cut off whatever had authenticated it."""
    return tuple([(each.first, each.last) for each in windows if each.secret_id is None]) if windows else ()


def cutting(stretches: tuple[Stretch, ...], position: int) -> int | None:
    """The position of the cut-off that ended what was issued at a position; None when none did."""
    for first, last in stretches:
        if first <= position < last:
            return last
    return None
