"""Keeps `projections.derived` up to the log: what each event adds to what is alive, and what it takes away.

Most events say it themselves. Where one ends something, the grant's own short history says what: the lives before the
event less the lives after it. A cut-off of a client or a secret version is one statement, whatever its size.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from domain import account, account_sign_in, client_secret, consent, cut_off, grant, grant_code
from domain.event import Moment, Recorded
from eventstore.counting import ISSUING, difference, pieces, total_of_code, totals
from eventstore.lifespans import Cut, Life, cut_of, cuts, history, lives
from eventstore.mapper import LogMapper
from eventstore.pending import Changes, Pending
from eventstore.privacy import Privacy
from eventstore.sighting import seen
from eventstore.stored import events
from projections import derived, event_index, sightings
from projections.derived import NO_SECRET, Cleared, Person, Piece, Total
from projections.grants import TABLE as GRANTS
from projections.sightings import Sighting

RECENT = 50
"""Events of a grant that a refresh looks back on. What is older has expired, or is outlived by what is newer."""

WHOLE = 5_000
"""Events of a grant that its end looks back on."""

GRANTS_OF_PERSON = 200
"""Grants of a person of which the newest decide until when anything of theirs is alive."""

STEP = 1_000

PEOPLE_OF_CLIENT = 1_000
"""People whom a cut-off since a moment looks at one by one; of more, those with something older alive count as none."""

_NEXT = (
    select(events.c.state)
    .where(events.c.id > bindparam("b_after"), events.c.id <= bindparam("b_last"))
    .order_by(events.c.id)
)


class Prepared(NamedTuple):
    """What a stretch of the log becomes."""

    changes: list[Changes]
    seen: list[Sighting]
    erased: list[str]


class Deriving:
    """The follower's model."""

    name = derived.NAME

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy

    def prepare(self, connection: Connection, recorded: Sequence[Recorded]) -> Prepared:
        """What a stretch of the log changes."""
        places: dict[tuple[str, str, bytes, bytes], Sighting] = {}
        for each in recorded:
            place = seen(connection, self._privacy, each)
            if place is not None:
                known = places.get(place.key)
                places[place.key] = place if known is None else known.plus(place)
        return Prepared(
            [found for each in recorded if (found := changes(connection, each)) is not None],
            list(places.values()),
            [each.stream.partition(":")[2] for each in recorded if isinstance(each.event, account.Erased)],
        )

    def keep(self, connection: Connection, prepared: Prepared) -> None:
        """Writes it, neighbours together. Erasures come last: they take away places of this very stretch too."""
        pending = Pending(connection)
        for each in prepared.changes:
            pending.take(each)
        pending.flush()
        sightings.add(connection, prepared.seen)
        for account_id in prepared.erased:
            sightings.forget(connection, account_id)


def catch_up(connection: Connection, privacy: Privacy, head: int) -> None:
    """Brings the counts up to the head within the caller's transaction, which holds the log's lock."""
    model, mapper = Deriving(privacy), LogMapper()
    while True:
        before = event_index.reached(connection, derived.NAME)
        if before >= head:
            return
        last = min(head, before + STEP)
        states = connection.scalars(_NEXT, {"b_after": before, "b_last": last})
        prepared = model.prepare(connection, [mapper.recorded(state) for state in states.all()])
        if event_index.advance(connection, derived.NAME, before, last):
            model.keep(connection, prepared)


# What an event changes --------------------------------------------------------------------------------------------


def changes(connection: Connection, recorded: Recorded) -> Changes | None:
    """What one event changes; None for one that changes nothing."""
    match recorded.event:
        case grant_code.CodeIssued():
            return _grown([], [recorded], total_of_code(recorded))
        case grant.TokensIssued() if recorded.event.code is None:
            return _grown([], [recorded], totals(recorded, None))
        case grant.TokensIssued() | grant.TokensRefreshed():
            return _continued(connection, recorded)
        case grant_code.CodeRedeemed() | grant.SuccessorReplaced():
            told = _history(connection, recorded, RECENT)
            return _grown(told[:-1], told, ())
        case grant.TokenRevoked() | grant.Ended():
            return _ended(connection, recorded)
        case account.Disabled() | account.Erased() | account_sign_in.PasswordChanged() | cut_off.AccountTokensEnded():
            return _person_cut(connection, recorded, recorded.stream.partition(":")[2], None)
        case consent.Withdrawn():
            _, account_id, client_id = recorded.stream.split(":")
            return _person_cut(connection, recorded, account_id, client_id)
    cleared = _cleared(recorded)
    if cleared is None or cleared.since is None:
        return None if cleared is None else Changes(cleared)
    return _since(connection, recorded, cleared)


def _history(connection: Connection, recorded: Recorded, limit: int) -> list[Recorded]:
    return history(connection, recorded.stream.partition(":")[2], recorded.position, limit)


def _grown(before: list[Recorded], after: list[Recorded], totals: Iterable[Total]) -> Changes:
    """Something was issued or used up, by a client and a person who were not cut off, or it had been refused."""
    now = after[-1].time
    found = lives(after)
    return Changes(
        pieces=difference(pieces(lives(before), now), pieces(found, now)),
        totals=tuple(totals),
        people=tuple(_people(found, now)),
    )


def _continued(connection: Connection, recorded: Recorded) -> Changes:
    told = _history(connection, recorded, RECENT)
    grown = _grown(told[:-1], told, totals(recorded, told[:-1]))
    account_id = recorded.event.account_id
    if account_id is None or not _changes_hands(told):
        return grown
    # What the other version had authenticated is used up, so it may have nothing of this person any more.
    people = _all_of_person(connection, account_id, recorded.position, recorded.time)
    return grown._replace(people=people, forgotten=(account_id,))


def _changes_hands(told: list[Recorded]) -> bool:
    """Whether the newest tokens were authenticated by another secret version than the ones before."""
    versions = [each.event.secret_id for each in told if isinstance(each.event, ISSUING)]
    return len(versions) > 1 and versions[-1] != versions[-2]


def _ended(connection: Connection, recorded: Recorded) -> Changes:
    told = _history(connection, recorded, WHOLE)
    now, found = recorded.time, lives(told)
    if not found:
        return Changes()
    client_id, account_id = found[0].client_id, found[0].account_id
    cutting = cuts(connection, client_id, account_id, recorded.position)
    taken = difference(pieces(lives(told[:-1], cutting), now), pieces(lives(told, cutting), now))
    if account_id is None:
        return Changes(pieces=taken)
    people = _all_of_person(connection, account_id, recorded.position, now)
    return Changes(pieces=taken, people=people, forgotten=(account_id,))


def _person_cut(connection: Connection, recorded: Recorded, account_id: str, client_id: str | None) -> Changes:
    position, now = recorded.position, recorded.time
    taken: list[tuple[Piece, int]] = []
    for grant_id, of_client in grants_of(connection, account_id, position, now):
        if client_id in (None, of_client):
            told = history(connection, grant_id, position, WHOLE)
            before = cuts(connection, of_client, account_id, position - 1)
            after = [*before, *_own(recorded)]
            taken += difference(pieces(lives(told, before), now), pieces(lives(told, after), now))
    people = _all_of_person(connection, account_id, position, now)
    return Changes(pieces=taken, people=people, forgotten=(account_id,))


def _own(recorded: Recorded) -> Iterator[Cut]:
    cut = cut_of(recorded)
    if cut is not None:
        yield cut


def _cleared(recorded: Recorded) -> Cleared | None:
    event, (category, _, name) = recorded.event, recorded.stream.partition(":")
    if category != "client" or cut_of(recorded) is None:
        return None
    if isinstance(event, client_secret.SecretRevoked):
        return Cleared(name, event.secret_id, None)
    if isinstance(event, cut_off.ClientTokensEnded):
        return Cleared(name, event.secret_id, event.since_at if event.first else None)
    return Cleared(name, None, None)


def _since(connection: Connection, recorded: Recorded, cleared: Cleared) -> Changes:
    """A cut-off that leaves older things alive, by which the people concerned are still known."""
    query = (
        select(GRANTS.c.account_id)
        .where(
            GRANTS.c.client_id == cleared.client_id,
            GRANTS.c.account_id.is_not(None),
            GRANTS.c.started_position <= recorded.position,
            GRANTS.c.expires_at > recorded.time,
        )
        .distinct()
        .limit(PEOPLE_OF_CLIENT + 1)
    )
    concerned = tuple(connection.scalars(query))
    if len(concerned) > PEOPLE_OF_CLIENT:
        return Changes(cleared)
    people = [
        person
        for account_id in concerned
        for person in _all_of_person(connection, account_id, recorded.position, recorded.time)
    ]
    return Changes(cleared, people=people, forgotten=concerned)


# People --------------------------------------------------------------------------------------------------------------


def _people(found: Iterable[Life], now: Moment) -> Iterator[Person]:
    for life in found:
        if life.account_id is not None:
            secret_id = life.secret_id or NO_SECRET
            until = life.until if life.until > now else 0
            yield Person(life.account_id, life.client_id, secret_id, life.issued_at, until)


def _all_of_person(connection: Connection, account_id: str, position: int, now: Moment) -> tuple[Person, ...]:
    people: list[Person] = []
    for grant_id, client_id in grants_of(connection, account_id, position, now, GRANTS_OF_PERSON):
        cutting = cuts(connection, client_id, account_id, position)
        people += _people(lives(history(connection, grant_id, position, RECENT), cutting), now)
    return tuple(people)


def grants_of(
    connection: Connection, account_id: str, position: int, now: Moment, limit: int | None = None
) -> list[tuple[str, str]]:
    """Grants of a person that may have something alive at a position, newest first, each with its client."""
    query = (
        select(GRANTS.c.grant_id, GRANTS.c.client_id)
        .where(
            GRANTS.c.account_id == account_id,
            GRANTS.c.started_position <= position,
            GRANTS.c.expires_at > now,
            GRANTS.c.ended_position.is_(None) | (GRANTS.c.ended_position > position),
        )
        .order_by(GRANTS.c.started_position.desc())
        .limit(limit)
    )
    return [(row.grant_id, row.client_id) for row in connection.execute(query)]
