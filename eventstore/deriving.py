"""Keeps `projections.derived` up to the log: what each event adds to what is alive, and what it takes away.

What starts a grant says it all, and of grants that go on it is remembered how they stand. What ends something is the
matter of `ending`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from domain import account, grant, grant_code
from domain.event import SECOND, Moment, Recorded
from eventstore.continuing import CONTINUING, Standing
from eventstore.ending import cut, ended
from eventstore.grant_histories import RECENT, history, recent
from eventstore.lifespans import CutOffs, Parties
from eventstore.pending import Changes, Fresh, Pending
from eventstore.privacy import Privacy
from eventstore.recorder import store
from eventstore.sighting import Places
from eventstore.unsealing import Unsealing
from projections import derived, event_index, sightings
from projections.derived import NO_SECRET, Kind, Total

STEP = 1_000

GRANTS_KEPT = 20_000
"""Grants that are remembered as they stand, so that going on with one needs no look at its events."""

_ACCESS = int(Kind.ACCESS)
_CLOSING = (grant.TokenRevoked, grant.Ended)
_ISSUING = (grant_code.CodeIssued, grant.TokensIssued, grant.TokensRefreshed)


class Prepared(NamedTuple):
    """What a portion of the log becomes."""

    changes: Pending
    seen: Places
    erased: list[str]


class Deriving:
    """The follower's model."""

    name = derived.NAME

    def __init__(self) -> None:
        self._standing: OrderedDict[str, Standing] = OrderedDict()
        self._closing: dict[int, Changes] = {}

    def prepare(self, connection: Connection, recorded: Sequence[Recorded], unsealing: Unsealing) -> Prepared:
        """What a portion of the log changes."""
        self._look_back(connection, recorded)
        self._closing = _closed(connection, recorded)
        pending, places = Pending(), Places()
        for each in recorded:
            places.look(connection, unsealing, each)
            self._change(connection, each, pending)
        erased = [each.stream.partition(":")[2] for each in recorded if isinstance(each.event, account.Erased)]
        return Prepared(pending, places, erased)

    def keep(self, connection: Connection, prepared: Sequence[Prepared]) -> None:
        """Writes it, neighbours together. Erasures come last: they take away places of this very stretch too."""
        pending, places = Pending(), Places()
        for each in prepared:
            pending.add(each.changes)
            places.add(each.seen)
        pending.write(connection)
        sightings.add(connection, places)
        for each in prepared:
            for account_id in each.erased:
                sightings.forget(connection, account_id)

    def _change(self, connection: Connection, recorded: Recorded, pending: Pending) -> None:
        event = recorded.event
        match event:
            case grant.TokensIssued() if event.code is None:
                self._started(recorded, pending)
            case grant_code.CodeIssued():
                self._start(recorded, pending)
            case grant.TokensIssued() | grant.TokensRefreshed():
                self._continued(connection, recorded, pending)
            case grant_code.CodeRedeemed() | grant.SuccessorReplaced():
                self._moved(self._known(connection, recorded), recorded, pending)
            case grant.TokenRevoked() | grant.Ended():
                self._standing.pop(recorded.stream, None)
                pending.take(self._closing[recorded.position])
            case _:
                known = self._standing.get(recorded.stream)
                if known is not None and known.version == recorded.version - 1:
                    known.version = recorded.version
                change = cut(connection, recorded)
                if change is not None:
                    self._forget(recorded.stream)
                    pending.take(change)

    # -- grants -------------------------------------------------------------------------------------------------------
    def _started(self, recorded: Recorded, pending: Pending) -> None:
        event, now = recorded.event, recorded.time
        second, part = divmod(now, SECOND)
        refresh = None if event.refresh_token is None else event.refresh_lifetime or 0
        fresh = Fresh(event.client_id, event.secret_id, event.lifetime, refresh, second, part == 0)
        pending.fresh(fresh, event.account_id)
        _tell_person(event, now, pending)
        if event.refresh_token is not None:
            self._begin(recorded)

    def _start(self, recorded: Recorded, pending: Pending) -> None:
        event, now = recorded.event, recorded.time
        pending.moved(event.account_id, (), self._begin(recorded).rows(now))
        pending.issued(Total(event.client_id, NO_SECRET, grants=1, codes=1))
        until = now + event.lifetime * SECOND
        pending.person((event.account_id, event.client_id, NO_SECRET), now, until if until > now else 0)

    def _begin(self, recorded: Recorded) -> Standing:
        standing = Standing()
        standing.apply(recorded)
        self._remember(recorded.stream, standing)
        return standing

    def _continued(self, connection: Connection, recorded: Recorded, pending: Pending) -> None:
        event, now = recorded.event, recorded.time
        known = self._known(connection, recorded)
        first = event.secret_id is not None and not known.knows(event.secret_id)
        _tell_person(event, now, pending)
        self._moved(known, recorded, pending)
        if event.lifetime > 0:
            secret_id, until = event.secret_id or NO_SECRET, now + event.lifetime * SECOND
            access = (event.client_id, secret_id, _ACCESS, -(-until // SECOND), now // SECOND)
            pending.moved(event.account_id, (), (access,))
        pending.issued(
            Total(
                event.client_id,
                event.secret_id or NO_SECRET,
                grants=int(first),
                codes=int(event.secret_id is not None and getattr(event, "code", None) is not None),
                access_tokens=1,
                refresh_tokens=int(event.refresh_token is not None),
            )
        )

    def _moved(self, known: Standing, recorded: Recorded, pending: Pending) -> None:
        before = known.rows(recorded.time)
        known.apply(recorded)
        pending.moved(known.account_id, before, known.rows(recorded.time))

    # -- memory -------------------------------------------------------------------------------------------------------
    def _known(self, connection: Connection, recorded: Recorded) -> Standing:
        """The grant as it stood before an event."""
        stream = recorded.stream
        known = self._standing.get(stream)
        if known is None or known.version != recorded.version - 1:
            found = recent(connection, {stream: recorded.version}, RECENT - 1)[stream]
            parties = _parties(found)
            cutting = CutOffs(connection, [parties]).of(*parties, recorded.position - 1)
            known = self._remember(stream, Standing.of(found, cutting))
        self._standing.move_to_end(stream)
        return known

    def _look_back(self, connection: Connection, recorded: Sequence[Recorded]) -> None:
        """Reads the grants that go on in a portion and are not remembered as they stood, all at once."""
        while len(self._standing) > GRANTS_KEPT:
            self._standing.popitem(last=False)
        wanted: dict[str, Recorded] = {}
        seen: set[str] = set()
        for each in recorded:
            if each.stream in seen:
                continue
            if isinstance(each.event, CONTINUING) and each.version > 1:
                known = self._standing.get(each.stream)
                if known is None or known.version != each.version - 1:
                    wanted[each.stream] = each
            seen.add(each.stream)
        told = recent(connection, {stream: each.version for stream, each in wanted.items()}, RECENT - 1)
        parties = {stream: _parties(found) for stream, found in told.items()}
        cutting = CutOffs(connection, parties.values())
        for stream, found in told.items():
            self._remember(stream, Standing.of(found, cutting.of(*parties[stream], wanted[stream].position - 1)))

    def _forget(self, stream: str) -> None:
        """A cut-off of a client, a person or their consent: what goes on of theirs is looked at anew, which is rare."""
        category, _, name = stream.partition(":")
        client_id, account_id = (name, None) if category == "client" else (None, name)
        if category == "consent":
            account_id, _, client_id = name.partition(":")
        for each in [each for each, known in self._standing.items() if known.is_of(client_id, account_id)]:
            del self._standing[each]

    def _remember(self, stream: str, standing: Standing) -> Standing:
        self._standing[stream] = standing
        return standing


def catch_up(connection: Connection, privacy: Privacy, head: int) -> None:
    """Brings the counts up to the head within the caller's transaction, which holds the log's lock."""
    model, unsealing = Deriving(), Unsealing(privacy)
    while True:
        before = event_index.reached(connection, derived.NAME)
        if before >= head:
            return
        last = min(head, before + STEP)
        unsealing.begin()
        prepared = model.prepare(connection, [*store(connection).between(before, last)], unsealing)
        if event_index.advance(connection, derived.NAME, before, last):
            model.keep(connection, [prepared])


def _closed(connection: Connection, recorded: Sequence[Recorded]) -> dict[int, Changes]:
    """By position what the ends of grants and single tokens change, with what they look back on read together."""
    closing = [each for each in recorded if isinstance(each.event, _CLOSING)]
    # A stream that is closed twice in one portion is looked at twice.
    before = recent(connection, {each.stream: each.version for each in closing}, RECENT)
    told = {each.position: _told(connection, before[each.stream], each) for each in closing}
    parties = {position: _parties(found) for position, found in told.items()}
    cutting = CutOffs(connection, parties.values())
    return {at: ended(found, cutting.of(*parties[at], at)) for at, found in told.items()}


def _told(connection: Connection, before: Sequence[Recorded], closing: Recorded) -> Sequence[Recorded]:
    """A grant's events up to one of them."""
    told = [each for each in before if each.position < closing.position]
    if told and told[0].version == 1 and told[-1].version == closing.version - 1:
        return [*told, closing]
    return history(connection, closing.stream.partition(":")[2], closing.position)


def _parties(told: Sequence[Recorded]) -> Parties:
    """Whose a grant is, as whatever issued something says."""
    issuing = (each.event for each in told if isinstance(each.event, _ISSUING))
    return next(((event.client_id, event.account_id) for event in issuing), ("", None))


def _tell_person(event: grant.TokensIssued | grant.TokensRefreshed, now: Moment, pending: Pending) -> None:
    if event.account_id is None:
        return
    longest = max(event.lifetime, (event.refresh_lifetime or 0) if event.refresh_token is not None else 0)
    until = now + longest * SECOND if longest > 0 else 0
    pending.person((event.account_id, event.client_id, event.secret_id or NO_SECRET), now, until)
