"""How long the codes and tokens of a grant live, as events and cut-offs tell: the raw material of what is counted as
alive."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import UNSET
from sqlalchemy import Connection, bindparam, or_, select, true

from domain import account, account_sign_in, client, client_secret, consent, cut_off, grant, grant_code, succession
from domain.event import SECOND, Moment, Recorded
from domain.rules.validity import Kind
from domain.succession import Good, Refresh, Succession
from eventstore.mapper import decoder
from eventstore.stored import ROW, events, named
from projections.prepared import Prepared


class Life(NamedTuple):
    """A code or token and until when it is alive. `cut` says that a cut-off ended it, of client, secret or person."""

    sha256: str
    kind: Kind
    client_id: str
    account_id: str | None
    secret_id: str | None
    grant_id: str
    position: int
    issued_at: Moment
    expires_at: Moment
    until: Moment
    cut: bool = False


class Cut(NamedTuple):
    """What was issued at positions `first` ≤ … < `last` died at `time`; `secret_id`, `except_grant` and `of_code`
    (grants that rest on a consent) narrow it."""

    first: int
    last: int
    time: Moment
    secret_id: str | None = None
    except_grant: str | None = None
    of_code: bool = False

    def ends(self, life: Life, code_grant: bool) -> bool:
        if not self.first <= life.position < self.last or life.until <= self.time:
            return False
        if self.secret_id is not None and self.secret_id != life.secret_id:
            return False
        return life.grant_id != self.except_grant and (code_grant or not self.of_code)


def lives(history: Iterable[Recorded], cuts: Sequence[Cut] = ()) -> list[Life]:
    """Every code and token that the events of one grant tell of, in the order of their issue."""
    found = Told()
    for recorded in history:
        found.tell(recorded)
    return found.alive(cuts)


class Told:
    """The lives of one grant as far as its events have been told, and which refresh tokens can still be presented."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.code_grant = False
        self.succession = Succession()
        self.presented: str | None = None

    def tell(self, recorded: Recorded) -> None:
        """One more event of the grant."""
        event, now = recorded.event, recorded.time
        match event:
            case grant_code.CodeIssued():
                self.code_grant = True
                self._issued(recorded, "code", event.code, event.lifetime)
            case grant_code.CodeRedeemed():
                for life in list(self.lives.values()):
                    if life.kind == "code":
                        self._ends(life.sha256, now)
            case grant.TokensIssued() | grant.TokensRefreshed():
                self._tokens(recorded)
            case grant.SuccessorReplaced():
                self.presented = event.presented or self.succession.used
            case grant.TokenRevoked():
                self._ends(event.access_token, now)
            case grant.Ended():
                for sha256 in list(self.lives):
                    self._ends(sha256, now)

    def alive(self, cuts: Sequence[Cut]) -> list[Life]:
        """Every code and token with what cut-offs left of its life, in the order of their issue."""
        return [_cut(life, cuts, self.code_grant) for life in self.lives.values()]

    def _tokens(self, recorded: Recorded) -> None:
        event = recorded.event
        self._issued(recorded, "access", event.access_token, event.lifetime)
        if event.refresh_token is not None:
            self._issued(recorded, "refresh", event.refresh_token, event.refresh_lifetime or 0)
        before = self.succession
        self.succession = succeeded(before, self.presented, recorded)
        self.presented = None
        if isinstance(event, grant.TokensIssued):
            self.code_grant = event.grant_type == "authorization_code"
        for token in before.tokens:
            life = self.lives[token.sha256]
            until = good_until(
                succession.good(self.succession, token.sha256), life.until, life.expires_at, recorded.time
            )
            self.lives[token.sha256] = life._replace(until=until)

    def _issued(self, recorded: Recorded, kind: Kind, sha256: str, lifetime: int) -> None:
        event, ends = recorded.event, recorded.time + lifetime * SECOND
        self.lives[sha256] = Life(
            sha256,
            kind,
            event.client_id,
            event.account_id,
            None if kind == "code" else event.secret_id,
            recorded.stream.partition(":")[2],
            recorded.position,
            recorded.time,
            ends,
            ends,
        )

    def _ends(self, sha256: str, at: Moment) -> None:
        life = self.lives.get(sha256)
        if life is not None and at < life.until:
            self.lives[sha256] = life._replace(until=at)


def succeeded(before: Succession, presented: str | None, recorded: Recorded) -> Succession:
    """The refresh tokens of a grant after the event that issued tokens, for the one that was presented."""
    event, now = recorded.event, recorded.time
    if event.refresh_token is None:
        return before
    expires_at = now + (event.refresh_lifetime or 0) * SECOND
    token = Refresh(event.refresh_token, recorded.position, event.secret_id, now, expires_at)
    if isinstance(event, grant.TokensIssued):
        return Succession((token,))
    return succession.followed(before, presented, token, now=now, grace_ends_at=event.grace_ends_at)


def good_until(good: Good, until: Moment, expires_at: Moment, now: Moment) -> Moment:
    """Until when a refresh token lives after another was used, which lived until a moment before, and would expire."""
    if not good.rotated:
        return until
    # The branch that goes on may be another one from now on, and the window of the one left over a later one.
    return min(until, now) if good.until is None else min(good.until, expires_at)


def _cut(life: Life, cuts: Sequence[Cut], code_grant: bool) -> Life:
    for cut in cuts:
        if cut.ends(life, code_grant):
            life = life._replace(until=cut.time, cut=True)
    return life


# Reading ----------------------------------------------------------------------------------------------------------

_CUTTING = (
    client.Disabled,
    client.Deleted,
    client.Updated,
    cut_off.ClientTokensEnded,
    client_secret.SecretRevoked,
    account.Disabled,
    account.Erased,
    account_sign_in.PasswordChanged,
    cut_off.AccountTokensEnded,
    consent.Withdrawn,
)
_TOPICS = [event.type for event in _CUTTING]

STREAMS_AT_ONCE = 500
"""Streams that one statement names."""

_CUT_OFFS = (
    select(*ROW).where(or_(*(events.c.topic == topic for topic in _TOPICS))).order_by(events.c.originator_version)
)
_OF_ONE = Prepared(_CUT_OFFS.where(events.c.originator_id == bindparam("b_stream")))
_OF_EACH = _CUT_OFFS.where(events.c.originator_id == named.c.stream).lateral("cutting")
OF_MANY = Prepared(select(_OF_EACH).join_from(named, _OF_EACH, true()))


def cuts(connection: Connection, client_id: str, account_id: str | None, position: int) -> list[Cut]:
    """Every cut-off up to a position that a grant of this client and person is subject to."""
    return CutOffs(connection, [(client_id, account_id)]).of(client_id, account_id, position)


Parties = tuple[str, str | None]
"""Client and person of a grant."""


class CutOffs:
    """The cut-offs of many clients and persons, read together."""

    def __init__(self, connection: Connection, parties: Iterable[Parties]) -> None:
        self._found: dict[str, list[Cut]] = {}
        streams = sorted({stream for each in parties for stream in _deciding(*each)})
        for start in range(0, len(streams), STREAMS_AT_ONCE):
            part = streams[start : start + STREAMS_AT_ONCE]
            for row in _cut_offs(connection, part):
                recorded = decoder(connection).recorded(row)
                self._found.setdefault(recorded.stream, []).extend(_cuts(recorded))

    def of(self, client_id: str, account_id: str | None, position: int) -> list[Cut]:
        """Those up to a position that a grant is subject to, in the order of the log."""
        found = [cut for stream in _deciding(client_id, account_id) for cut in self._found.get(stream, ())]
        return sorted((cut for cut in found if cut.last <= position), key=attrgetter("last"))


def _cut_offs(connection: Connection, streams: Sequence[str]) -> list[tuple[Any, ...]]:
    """The row of every cut-off of these streams."""
    if connection.dialect.name == "postgresql":
        return OF_MANY.all(connection, {"streams": list(streams)})
    return [row for stream in streams for row in _OF_ONE.all(connection, {"b_stream": stream})]


def _deciding(client_id: str, account_id: str | None) -> Iterator[str]:
    yield client.stream(client_id)
    if account_id is not None:
        yield account.stream(account_id)
        yield consent.stream(account_id, client_id)


def cut_of(recorded: Recorded) -> Cut | None:
    """The cut-off that an event is; None when it is none."""
    return next(_cuts(recorded), None)


def _cuts(recorded: Recorded) -> Iterator[Cut]:
    event, position, time = recorded.event, recorded.position, recorded.time
    match event:
        case client.Updated() if event.new.realm is UNSET:
            return
        case client_secret.SecretRevoked():
            if event.tokens == "revoke":
                yield Cut(0, position, time, secret_id=event.secret_id)
        case cut_off.ClientTokensEnded():
            yield Cut(event.first, position, time, secret_id=event.secret_id)
        case cut_off.AccountTokensEnded():
            yield Cut(event.first, position, time)
        case account_sign_in.PasswordChanged():
            yield Cut(0, position, time, except_grant=event.except_grant)
        case consent.Withdrawn():
            yield Cut(0, position, time, of_code=True)
        case _ if isinstance(event, _CUTTING):
            yield Cut(0, position, time)
