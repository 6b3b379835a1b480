"""The refresh tokens of a grant that can still be presented: who followed whom, and until when each is good.

One token is followed by another when it is used. Within a grace window, which begins with that first use, it may come
again, for an answer that got lost or for a second tab, and is followed by one more. A browser keeps one of those
answers, and nobody can know which: so every one of them is good, until one of them is used.

- A token is good as long as no successor of it was used; one that was used, only within its window.
- Where one of several branches goes on, the others are left over: they are good within the window in which the branches
  parted, for requests that were already on their way, and never after it. Nothing prolongs that window, and the branch
  that was used last is the one that goes on, so two holders of one token's successors are found out when it closes.

What can never be presented again is forgotten. A digest that is not here, of which the caller knows that it belongs to
the grant, has been used up: presenting it is a replay (RFC 9700 §4.14.2).
"""

from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace

from domain.event import Moment

BRANCHES = 64
"""So many are kept at most, the newest ones: a page that loops within one window does not let a grant grow."""


NO_WINDOW: Moment = 0


class Refresh(msgspec.Struct, frozen=True):
    """A refresh token, and the client secret version under which it was issued.

    `follows` is the digest of the one it was handed out for. `grace_ends_at` is None until it is used, and then the end
    of its window, or `NO_WINDOW`. `over` says that a successor of it was used: it is only kept as the place where
    branches part.
    """

    sha256: str
    position: int
    secret_id: str | None
    issued_at: Moment
    expires_at: Moment
    follows: str | None = None
    grace_ends_at: Moment | None = None
    over: bool = False


class Succession(msgspec.Struct, frozen=True):
    """The tokens in the order of their issue; `used` is the digest of the one that was last used for the first time."""

    tokens: tuple[Refresh, ...] = ()
    used: str | None = None

    @property
    def newest(self) -> Refresh | None:
        """The one that was handed out last."""
        return self.tokens[-1] if self.tokens else None

    @property
    def former(self) -> Refresh | None:
        """The one that was used last, which a second tab may hold."""
        return None if self.used is None else self.find(self.used)

    def find(self, sha256: str) -> Refresh | None:
        """The token with this digest; None for one that was used up, or never was here."""
        # Asked five times with every refresh, and a generator costs twice as much.
        for token in self.tokens:
            if token.sha256 == sha256:
                return token
        return None


class Good(msgspec.Struct, frozen=True):
    """What the succession says of a token, its expiry apart. `rotated` marks one that is good for a window at most, and
    `until` is the end of that; None is no window at all.
    """

    rotated: bool
    until: Moment | None = None

    def at(self, now: Moment) -> bool:
        """Whether it may be presented."""
        return not self.rotated or (self.until is not None and now < self.until)


_USED_UP = Good(True)
_UNUSED = Good(False)


def good(succession: Succession, sha256: str) -> Good:
    """How good a token of the grant is, by who was used before and after it."""
    token = succession.find(sha256)
    if token is None or token.over:
        return _USED_UP
    if token.grace_ends_at is None and _is_unbranched(succession, token):
        return _UNUSED
    ends = [] if token.grace_ends_at is None else [token.grace_ends_at]
    parting = _parting(succession, token)
    if parting is not None:
        ends.append(parting)
    return Good(True, min(ends) or None) if ends else _UNUSED


def _is_unbranched(succession: Succession, newest: Refresh) -> bool:
    """Whether this is the newest token of a line that never parted, as nearly every one is: then nobody need be asked
    who followed whom."""
    tokens = succession.tokens
    if newest is not tokens[-1]:
        return False
    if len(tokens) == 1:
        return succession.used is None and newest.follows is None
    former = tokens[0]
    return len(tokens) == 2 and former.sha256 == succession.used == newest.follows and former.follows is None


def _parting(succession: Succession, token: Refresh) -> Moment | None:
    """When the window closes in which this branch and the one that goes on parted; None for the one that goes on."""
    if succession.used is None:
        return None
    line = _line(succession, token.sha256)
    if succession.used in line:
        return None
    for passed in _line(succession, succession.used):
        if passed in line:
            common = succession.find(passed)
            return None if common is None else common.grace_ends_at
    return None


def _line(succession: Succession, sha256: str) -> list[str]:
    """A token and those before it, newest first."""
    found: list[str] = []
    token = succession.find(sha256)
    while token is not None:
        found.append(token.sha256)
        token = None if token.follows is None else succession.find(token.follows)
    return found


def followed(
    succession: Succession, presented: str | None, successor: Refresh, *, now: Moment, grace_ends_at: Moment | None
) -> Succession:
    """The succession after `presented` was accepted and `successor` handed out for it; None is the newest.

    `grace_ends_at` is where the window of one that is used for the first time ends, if it has one; that of another
    stays.
    """
    token = succession.newest if presented is None else succession.find(presented)
    if token is None:
        # No decision leads here.
        return Succession((successor,))
    successor = replace(successor, follows=token.sha256)
    if token.grace_ends_at is None and not token.over and _is_unbranched(succession, token):
        used = replace(token, follows=None, grace_ends_at=grace_ends_at or NO_WINDOW)
        return Succession((used, successor), token.sha256)
    if token.grace_ends_at is not None:
        return _kept((*succession.tokens, successor), succession.used, now)
    tokens = [_of_use(each, token, grace_ends_at) for each in succession.tokens]
    return _kept((*tokens, successor), token.sha256, now)


def _of_use(each: Refresh, used: Refresh, grace_ends_at: Moment | None) -> Refresh:
    if each is used:
        return replace(each, grace_ends_at=grace_ends_at or NO_WINDOW)
    return replace(each, over=True) if each.sha256 == used.follows else each


def _kept(tokens: Sequence[Refresh], used: str | None, now: Moment) -> Succession:
    """Without what can never be presented again, and without places where nothing parts any more."""
    whole = Succession(tuple(tokens), used)
    others = [each for each in tokens[:-1] if not each.over and each.sha256 != used]
    kept = list(tokens)
    # Hardly any branch parts.
    if others:
        gone = {each.sha256 for each in others if not good(whole, each.sha256).at(now)}
        if len(others) - len(gone) > BRANCHES:
            gone |= {each.sha256 for each in [each for each in others if each.sha256 not in gone][:-BRANCHES]}
        kept = _without(tokens, gone)
    while passed := _passed(kept):
        kept = _without(kept, passed)
    return Succession(tuple(kept), used)


def _passed(tokens: Sequence[Refresh]) -> set[str]:
    """Tokens that are over and no place where branches part."""
    # Hardly any branch parts, so that to count them all takes longer.
    followed = [each.follows for each in tokens]
    return {each.sha256 for each in tokens if each.over and followed.count(each.sha256) < 2}


def _without(tokens: Sequence[Refresh], gone: Collection[str]) -> list[Refresh]:
    """The others, each of which follows the one before those that are gone."""
    if not gone:
        return list(tokens)
    before = {each.sha256: each.follows for each in tokens}
    kept = []
    for each in tokens:
        if each.sha256 not in gone:
            follows = each.follows
            while follows is not None and follows in gone:
                follows = before[follows]
            kept.append(each if follows == each.follows else replace(each, follows=follows))
    return kept
