"""Live validation of tokens: one joined row, kept as long as the log says that nothing in it changed."""

from collections import OrderedDict
from collections.abc import Sequence
from random import randrange
from sys import intern
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection

from domain import grant
from domain.event import Moment
from domain.rules import validity
from eventstore.changes import Changes
from eventstore.privacy import Privacy
from eventstore.reading import Reader
from projections import accounts, roles, tokens

ABSENT = 20_000
"""Digests without a row that are remembered."""

TOKENS = 120_000
"""Tokens that are remembered, dead ones included. With a kilobyte for each a worker stays within 250 MiB."""

TERMS = 10_000
"""Terms that are remembered, so that tokens which have them in common share them."""


class Terms(msgspec.Struct, gc=False):
    """What tokens have in common that were issued alike, and the streams on which that depends.

    `scope` is what was issued, less what the person's roles have lost since. `said` is room for what the API says of
    all of them.
    """

    kind: validity.Kind
    client_id: str
    account_id: str | None
    secret_id: str | None
    scope: tuple[str, ...]
    username: str | None
    streams: tuple[str, ...]
    said: bytes = b""


class Known(msgspec.Struct, gc=False):
    """A token as it stood at position `as_of`. There are many of them: what is alike in many is in their terms.

    It depends on its grant's stream too. `standing` is None where only time decides.
    """

    digest: bytes
    terms: Terms
    grant: str
    issued_at: Moment
    expires_at: Moment
    active_until: Moment
    standing: validity.Standing | None
    as_of: int

    @property
    def grant_id(self) -> str:
        return self.grant.partition(":")[2]

    def reason(self, now: Moment) -> validity.Reason:
        """Why it is dead now, or `active`.

        That it is there is proof enough that it was issued, also to a clock that lags behind another node's.
        """
        now = max(now, self.issued_at)
        if now < self.active_until:
            return "active"
        return "expired" if self.standing is None else validity.reason(self.standing, now)


class Validation:
    """Answers by digest. What it keeps is bounded and never staler than the log.

    That a digest has no row is remembered for good: it belongs to nothing that was ever issued, or to what expired so
    long ago that its row is gone. Nobody can name a secret before it is made, since there are 178 random bits in it.
    """

    def __init__(self, reader: Reader, changes: Changes, privacy: Privacy, size: int = TOKENS) -> None:
        self._reader = reader
        self._changes = changes
        self._privacy = privacy
        self._size = size
        self._kept: dict[bytes, Known] = {}
        self._places: list[bytes] = []
        self._terms: dict[tuple[Any, ...], Terms] = {}
        self._absent: OrderedDict[bytes, None] = OrderedDict()

    async def find(self, digest: bytes) -> Known | None:
        """The token with this digest as of everything acknowledged before this call; None when it has no row."""
        if not self._reader.is_settled:
            await self._reader.settled()
        return self.remembered(digest) or await self.look_up(digest)

    def remembered(self, digest: bytes) -> Known | None:
        """The same where it is remembered, as of the last time that `Ledger.settled` was awaited."""
        known = self._kept.get(digest)
        if known is None or not self._changes.holds(known.as_of, known.grant, known.terms.streams):
            return None
        return known

    async def look_up(self, digest: bytes) -> Known | None:
        """The same where it is not remembered, for a caller who has asked `remembered`."""
        if digest in self._absent:
            return None
        known = await self._reader.find(self._load, digest)
        if known is None:
            self._absent[digest] = None
            if len(self._absent) > ABSENT:
                self._absent.popitem(last=False)
        elif self._changes.holds(known.as_of, known.grant, known.terms.streams):
            self._keep(known)
        return known

    def _keep(self, known: Known) -> None:
        if len(self._terms) >= TERMS:
            self._terms.clear()
        known.terms = self._terms.setdefault(astuple(known.terms), known.terms)
        if known.digest not in self._kept:
            if len(self._places) < self._size:
                self._places.append(known.digest)
            else:
                # Chance says who goes. Of a few more tokens in rotation than are kept, the one that came first would
                # be the very one that is asked for next, and then all of them would be looked up again and again.
                place = randrange(self._size)  # noqa: S311 - nothing secret depends on it
                del self._kept[self._places[place]]
                self._places[place] = known.digest
        self._kept[known.digest] = known

    def load(self, connection: Connection, digest: bytes) -> Known | None:
        """The token as this connection sees it, for asking again under the lock. Keeps nothing."""
        return self._load(connection, (digest,)).get(digest)

    def _load(self, connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Known]:
        # Every connection sees at least this much. What comes after it counts as a change, even where it is seen.
        as_of = self._changes.position
        verdicts = tokens.standings(connection, digests)
        people = {each.token.account_id for each in verdicts} - {None}
        rights = {account_id: _rights(connection, account_id) for account_id in people}
        return {
            each.token.digest: self._known(connection, each, rights.get(each.token.account_id), as_of)
            for each in verdicts
        }

    def _known(self, connection: Connection, verdict: tokens.Verdict, rights: "_Rights | None", as_of: int) -> Known:
        token, standing = verdict.token, verdict.standing
        scope = grant.names_of(token.scope)
        # Interned is what tokens of different terms have in common.
        client_id = intern(token.client_id)
        secret_id = None if token.secret_id is None else intern(token.secret_id)
        streams = [intern(f"client:{client_id}")]
        username = None
        if token.account_id is not None and rights is not None:
            streams += [f"account:{token.account_id}", f"consent:{token.account_id}:{token.client_id}", *rights.streams]
            if rights.allowed is not None:
                scope = tuple(name for name in scope if name in rights.allowed)
            username = self._privacy.open(connection, verdict.username)
        terms = Terms(token.kind, client_id, token.account_id, secret_id, scope, username, tuple(streams))
        return Known(
            token.digest,
            terms,
            f"grant:{token.grant_id}",
            token.issued_at,
            token.expires_at,
            validity.active_until(standing),
            None if validity.only_time_decides(standing) else standing,
            as_of,
        )


class _Rights(NamedTuple):
    """What a person's roles allow, and the streams of these; None for a person without a row."""

    streams: tuple[str, ...] = ()
    allowed: frozenset[str] | None = None


def _rights(connection: Connection, account_id: str | None) -> _Rights:
    person = None if account_id is None else accounts.by_id(connection, account_id)
    if person is None:
        return _Rights()
    streams = tuple([intern(f"role:{person.realm}:{name}") for name in person.roles])
    return _Rights(streams, roles.allowed_scopes(connection, person.realm, person.roles))
