"""What the ends of grants and tokens, and cut-offs, take away of what is counted as alive.

A grant's own history says what there was: the lives before the event less the lives after it. A cut-off of a client or
a secret version is one statement, whatever its size.
"""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, select

from domain import account, account_sign_in, client_secret, consent, cut_off
from domain.event import Moment, Recorded
from eventstore.counting import difference, pieces
from eventstore.lifespans import Cut, Life, cut_of, cuts, history, lives
from eventstore.pending import Changes
from projections.derived import NO_SECRET, Cleared, Person, Piece
from projections.grants import TABLE as GRANTS

RECENT = 50
"""Events of a grant of which people are told. What is older has expired, or is outlived by what is newer."""

WHOLE = 5_000
"""Events of a grant that its end looks back on."""

GRANTS_OF_PERSON = 200
"""Grants of a person of which the newest decide until when anything of theirs is alive."""

PEOPLE_OF_CLIENT = 1_000
"""People whom a cut-off since a moment looks at one by one; of more, those with something older alive count as none."""


def cut(connection: Connection, recorded: Recorded) -> Changes | None:
    """What a cut-off changes; None for an event that is none."""
    match recorded.event:
        case account.Disabled() | account.Erased() | account_sign_in.PasswordChanged() | cut_off.AccountTokensEnded():
            return _person_cut(connection, recorded, recorded.stream.partition(":")[2], None)
        case consent.Withdrawn():
            _, account_id, client_id = recorded.stream.split(":")
            return _person_cut(connection, recorded, account_id, client_id)
    cleared = _cleared(recorded)
    if cleared is None or cleared.since is None:
        return None if cleared is None else Changes(cleared)
    return _since(connection, recorded, cleared)


def ended(connection: Connection, recorded: Recorded) -> Changes:
    told = history(connection, recorded.stream.partition(":")[2], recorded.position, WHOLE)
    now, found = recorded.time, lives(told)
    if not found:
        return Changes()
    client_id, account_id = found[0].client_id, found[0].account_id
    cutting = cuts(connection, client_id, account_id, recorded.position)
    taken = difference(pieces(lives(told[:-1], cutting), now), pieces(lives(told, cutting), now))
    if account_id is None:
        return Changes(pieces=taken)
    people = all_of_person(connection, account_id, recorded.position, now)
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
    people = all_of_person(connection, account_id, position, now)
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
        for person in all_of_person(connection, account_id, recorded.position, recorded.time)
    ]
    return Changes(cleared, people=people, forgotten=concerned)


# People --------------------------------------------------------------------------------------------------------------


def _people(found: Iterable[Life], now: Moment) -> Iterator[Person]:
    for life in found:
        if life.account_id is not None:
            secret_id = life.secret_id or NO_SECRET
            until = life.until if life.until > now else 0
            yield Person(life.account_id, life.client_id, secret_id, life.issued_at, until)


def all_of_person(connection: Connection, account_id: str, position: int, now: Moment) -> tuple[Person, ...]:
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
