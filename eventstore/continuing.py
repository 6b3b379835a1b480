"""What a grant's next event changes of what is counted as alive, without looking back at all the earlier ones.

Most of what was ever issued can only expire. An event that continues a grant touches its code and those refresh tokens
that can still be presented; of everything else it is enough to know how long the longest of each secret version lives.
"""

from collections.abc import Sequence

from domain import grant, grant_code, succession
from domain.event import SECOND, Moment, Recorded
from domain.succession import Succession
from eventstore.lifespans import Cut, Life, Told, good_until, succeeded
from projections.derived import NO_SECRET, Kind, Row

_ACCESS, _REFRESH, _CODE, _GRANT, _NEWEST = map(int, Kind)

CONTINUING = (grant.TokensIssued, grant.TokensRefreshed, grant_code.CodeRedeemed, grant.SuccessorReplaced)
"""Events of which this knows what they change. Ends of a grant, and of single tokens, need its whole history."""


class _Token:
    """A code or refresh token that an event may still end."""

    __slots__ = ("issued_at", "kind", "latest", "secret_id", "until")

    def __init__(self, kind: int, secret_id: str, issued_at: Moment, until: Moment, latest: Moment) -> None:
        self.kind = kind
        self.secret_id = secret_id
        self.issued_at = issued_at
        self.until = until
        self.latest = latest
        """When it expires, or was cut off: it never lives longer than that."""

    def end(self, at: Moment) -> None:
        self.until = min(self.until, at)


class Standing:
    """A grant after `version` events of its stream."""

    __slots__ = (
        "_client_id",
        "_counted",
        "_counted_until",
        "_code",
        "_cut",
        "_longest",
        "_newest_at",
        "_newest_secret",
        "_presented",
        "_refreshing",
        "_succession",
        "account_id",
        "version",
    )

    def __init__(self) -> None:
        self.version = 0
        self.account_id: str | None = None
        self._client_id = ""
        self._counted: list[Row] | None = None
        self._counted_until: Moment = 0
        self._longest: dict[str, tuple[Moment, Moment]] = {}
        """By secret version: when the last of what no event can end any more expires, and the newest's issue."""
        self._code: _Token | None = None
        self._succession = Succession()
        self._presented: str | None = None
        self._refreshing: dict[str, _Token] = {}
        """Those of the succession."""
        self._cut: set[str] = set()
        """Secret versions whose newest was cut off: the grant does not count under them until they go on with it."""
        self._newest_secret = NO_SECRET
        self._newest_at: Moment = 0

    @classmethod
    def of(cls, history: Sequence[Recorded], cuts: Sequence[Cut] = ()) -> "Standing":
        """From the newest events of a grant, oldest first, and the cut-offs up to now that it is subject to."""
        told = Told()
        standing = cls()
        for recorded in history:
            told.tell(recorded)
            standing.version = recorded.version
        for life in told.alive(cuts):
            standing._client_id, standing.account_id = life.client_id, life.account_id
            standing._take(life, told)
        standing._succession, standing._presented = told.succession, told.presented
        return standing

    def _take(self, life: Life, told: Told) -> None:
        secret_id = life.secret_id or NO_SECRET
        until = 0
        latest = life.until if life.cut else life.expires_at
        if life.kind == "code":
            self._code = _Token(_CODE, secret_id, life.issued_at, life.until, latest)
        elif told.succession.find(life.sha256) is not None:
            self._refreshing[life.sha256] = _Token(_REFRESH, secret_id, life.issued_at, life.until, latest)
        else:
            until = life.until
        self._issued(secret_id, life.issued_at, until)
        if life.cut:
            self._cut.add(secret_id)

    def _issued(self, secret_id: str, at: Moment, until: Moment) -> None:
        known = self._longest.get(secret_id)
        self._longest[secret_id] = (until if known is None else max(known[0], until), at)
        self._cut.discard(secret_id)
        self._newest_secret, self._newest_at = secret_id, at

    def _settle(self, token: _Token) -> None:
        """No event can end it any more."""
        until, newest = self._longest[token.secret_id]
        self._longest[token.secret_id] = (max(until, token.until), newest)

    def is_of(self, client_id: str | None, account_id: str | None) -> bool:
        """Whether it is a grant of this client, and of this person, as far as they are given."""
        return client_id in (None, self._client_id) and account_id in (None, self.account_id)

    def knows(self, secret_id: str) -> bool:
        """Whether this secret version has authenticated for the grant."""
        return secret_id in self._longest

    def apply(self, recorded: Recorded) -> None:
        """Carries out one of `CONTINUING`, or the start of a grant."""
        self._counted = None
        event, now = recorded.event, recorded.time
        match event:
            case grant_code.CodeIssued():
                self._client_id, self.account_id = event.client_id, event.account_id
                until = now + event.lifetime * SECOND
                self._code = _Token(_CODE, NO_SECRET, now, until, until)
                self._issued(NO_SECRET, now, 0)
            case grant_code.CodeRedeemed():
                if self._code is not None:
                    self._code.end(now)
            case grant.SuccessorReplaced():
                self._presented = event.presented or self._succession.used
            case grant.TokensRefreshed():
                self._tokens(recorded)
            case grant.TokensIssued():
                self._client_id, self.account_id = event.client_id, event.account_id
                self._tokens(recorded)
        self.version = recorded.version

    def _tokens(self, recorded: Recorded) -> None:
        event, now = recorded.event, recorded.time
        before = self._succession
        self._succession = succeeded(before, self._presented, recorded)
        self._presented = None
        for each in before.tokens:
            token = self._refreshing[each.sha256]
            good = succession.good(self._succession, each.sha256)
            token.until = good_until(good, token.until, token.latest, now)
            if self._succession.find(each.sha256) is None:
                self._settle(self._refreshing.pop(each.sha256))
        secret_id = event.secret_id or NO_SECRET
        self._issued(secret_id, now, now + event.lifetime * SECOND)
        if event.refresh_token is not None:
            until = now + (event.refresh_lifetime or 0) * SECOND
            self._refreshing[event.refresh_token] = _Token(_REFRESH, secret_id, now, until, until)

    def rows(self, now: Moment) -> list[Row]:
        """What of it is counted at a moment, leaving out what no event can change. Moments never go back."""
        if self._counted is None or now >= self._counted_until:
            self._counted = self._count(now)
        return self._counted

    def _count(self, now: Moment) -> list[Row]:
        untils = {secret_id: until for secret_id, (until, _) in self._longest.items()}
        client_id, found = self._client_id, []
        ends: list[Moment] = []
        for token in (self._code, *self._refreshing.values()):
            if token is not None and token.until > now:
                until, secret_id = token.until, token.secret_id
                found.append((client_id, secret_id, token.kind, -(-until // SECOND), token.issued_at // SECOND))
                ends.append(until)
                if until > untils[secret_id]:
                    untils[secret_id] = until
        for secret_id, until in untils.items():
            if until > now:
                ends.append(until)
                if secret_id != NO_SECRET and secret_id not in self._cut:
                    at = self._longest[secret_id][1]
                    found.append((client_id, secret_id, _GRANT, -(-until // SECOND), at // SECOND))
        until = max(untils.values(), default=0)
        if until > now and self._newest_secret not in self._cut:
            found.append((client_id, self._newest_secret, _NEWEST, -(-until // SECOND), self._newest_at // SECOND))
        self._counted_until = min(ends, default=now)
        return found
