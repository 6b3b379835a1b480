"""Live validation of tokens: one joined row, kept as long as the log says that nothing in it changed."""

from collections import OrderedDict
from typing import Any

import msgspec
from sqlalchemy import Connection

from domain.event import Moment
from domain.rules import validity
from eventstore.changes import Changes
from eventstore.privacy import Privacy
from eventstore.reading import Reader
from projections import accounts, roles, tokens

ABSENT = 20_000
"""Digests without a row that are remembered."""


class Known(msgspec.Struct, gc=False):
    """A token as it stood at position `as_of`, and the streams on which that depends.

    `scope` is what was issued, less what the person's roles have lost since. `answer` is room for what the API says of
    the token while it is as it is: it is kept and dropped together with the rest.
    """

    token: tokens.Found
    standing: validity.Standing
    grant_type: str
    scope: tuple[str, ...]
    username: str | None
    streams: tuple[str, ...]
    as_of: int
    active_until: Moment
    answer: Any = None

    def reason(self, now: Moment) -> validity.Reason:
        """Why it is dead now, or `active`."""
        if self.token.issued_at <= now < self.active_until:
            return "active"
        return validity.reason(self.standing, now)


class Validation:
    """Answers by digest. What it keeps is bounded and never staler than the log.

    That a digest has no row is remembered for good: it belongs to nothing that was ever issued, or to what expired so
    long ago that its row is gone. Nobody can name a secret before it is made, since there are 178 random bits in it.
    """

    def __init__(self, reader: Reader, changes: Changes, privacy: Privacy, size: int = 100_000) -> None:
        self._reader = reader
        self._changes = changes
        self._privacy = privacy
        self._size = size
        self._kept: OrderedDict[bytes, Known] = OrderedDict()
        self._absent: OrderedDict[bytes, None] = OrderedDict()

    async def find(self, digest: bytes) -> Known | None:
        """The token with this digest as of everything acknowledged before this call; None when it has no row."""
        if not self._reader.is_settled:
            await self._reader.settled()
        return self.remembered(digest) or await self.look_up(digest)

    def remembered(self, digest: bytes) -> Known | None:
        """The same where it is remembered, as of the last time that `Ledger.settled` was awaited."""
        known = self._kept.get(digest)
        return known if known is not None and self._changes.holds(known.as_of, known.streams) else None

    async def look_up(self, digest: bytes) -> Known | None:
        """The same where it is not remembered, for a caller who has asked `remembered`."""
        if digest in self._absent:
            return None
        known = await self._reader.run(self.load, digest)
        if known is None:
            self._absent[digest] = None
            if len(self._absent) > ABSENT:
                self._absent.popitem(last=False)
        elif self._changes.holds(known.as_of, known.streams):
            self._kept[digest] = known
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return known

    def load(self, connection: Connection, digest: bytes) -> Known | None:
        """The token as this connection sees it, for asking again under the lock. Keeps nothing."""
        # Every connection sees at least this much. What comes after it counts as a change, even where it is seen.
        as_of = self._changes.position
        verdict = tokens.standing(connection, digest)
        if verdict is None:
            return None
        token = verdict.token
        scope = tuple(token.scope.split(" "))
        streams = [f"grant:{token.grant_id}", f"client:{token.client_id}"]
        username = None
        if token.account_id is not None:
            streams += [f"account:{token.account_id}", f"consent:{token.account_id}:{token.client_id}"]
            person = accounts.by_id(connection, token.account_id)
            if person is not None:
                streams += [f"role:{person.realm}:{name}" for name in person.roles]
                allowed = roles.allowed_scopes(connection, person.realm, person.roles)
                scope = tuple(name for name in scope if name in allowed)
            username = self._privacy.open(connection, verdict.username)
        until = validity.active_until(verdict.standing)
        return Known(token, verdict.standing, verdict.grant_type, scope, username, tuple(streams), as_of, until)
