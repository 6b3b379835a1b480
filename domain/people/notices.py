"""What people hear about their accounts by mail, and what of that they choose not to be told."""

from collections.abc import Collection
from typing import Literal, get_args

from domain.decision import Outcome, accept
from domain.event import Event, Moment

NoticeKind = Literal[
    "new_device",
    "password_changed",
    "factor_changed",
    "refresh_replayed",
    "contained",
    "factor_failed",
    "upstream_changed",
    "erasure_requested",
    "passkey_copied",
]
"""A sign-in from a new network or device; another password or second factor; a refresh token that was used twice; what
leaked and was ended; a right password without the second factor; another provider at which one signs in, or no more;
a wish to be erased; a passkey of which there may be a copy."""

ALWAYS: tuple[NoticeKind, ...] = (
    "new_device",
    "password_changed",
    "factor_changed",
    "upstream_changed",
    "erasure_requested",
    "passkey_copied",
)
"""Of these everybody is told: anyone who took an account over would switch them off first."""

SWITCHABLE: tuple[NoticeKind, ...] = tuple(each for each in get_args(NoticeKind) if each not in ALWAYS)


class NoticesChanged(Event, frozen=True, kw_only=True):
    """The person is not mailed of `off`, and of everything else."""

    type = "account.notices_changed"

    off: tuple[NoticeKind, ...]


EVENTS: tuple[type[Event], ...] = (NoticesChanged,)


def choose(before: Collection[NoticeKind], *, now: Moment, off: Collection[NoticeKind]) -> Outcome:
    """Has the person not notified of these, as far as that can be chosen. A repeat changes nothing."""
    chosen = tuple(each for each in SWITCHABLE if each in off)
    return accept() if set(chosen) == set(before) else accept(NoticesChanged(off=chosen))
