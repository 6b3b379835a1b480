"""What the ends of grants and tokens, and cut-offs, take away of what is counted as alive.

A grant's own history says what there was: the lives before the event less the lives after it. A cut-off of a client or
a secret version is one statement, whatever its size.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from domain import account, account_sign_in, client_secret, consent, cut_off
from domain.event import Moment, Recorded
from eventstore.counting import difference, pieces
from eventstore.grant_histories import history
from eventstore.lifespans import Cut, cut_of, cuts, lives
from eventstore.pending import Changes
from projections.derived import Cleared, Piece
from projections.grants import TABLE as GRANTS


def cut(connection: Connection, recorded: Recorded) -> Changes | None:
    """What a cut-off changes; None for an event that is none."""
    match recorded.event:
        case account.Disabled() | account.Erased() | account_sign_in.PasswordChanged() | cut_off.AccountTokensEnded():
            return _person_cut(connection, recorded, recorded.stream.partition(":")[2], None)
        case consent.Withdrawn():
            _, account_id, client_id = recorded.stream.split(":")
            return _person_cut(connection, recorded, account_id, client_id)
    cleared = _cleared(recorded)
    return None if cleared is None else Changes(cleared)


def ended(told: Sequence[Recorded], cutting: Sequence[Cut]) -> Changes:
    """What the newest event of a grant takes away, which ended it or a token of it; `told` are its events, newest last,
    and `cutting` the cut-offs that it is subject to."""
    recorded, found = told[-1], lives(told)
    if not found:
        return Changes()
    before, after = pieces(lives(told[:-1], cutting), recorded.time), pieces(lives(told, cutting), recorded.time)
    return Changes(pieces=difference(before, after), account_id=found[0].account_id)


def _person_cut(connection: Connection, recorded: Recorded, account_id: str, client_id: str | None) -> Changes:
    position, now = recorded.position, recorded.time
    taken: list[tuple[Piece, int]] = []
    for grant_id, of_client in grants_of(connection, account_id, position, now):
        if client_id in (None, of_client):
            told = history(connection, grant_id, position)
            before = cuts(connection, of_client, account_id, position - 1)
            after = [*before, *_own(recorded)]
            taken += difference(pieces(lives(told, before), now), pieces(lives(told, after), now))
    return Changes(pieces=taken, account_id=account_id)


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


def grants_of(connection: Connection, account_id: str, position: int, now: Moment) -> list[tuple[str, str]]:
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
    )
    return [(row.grant_id, row.client_id) for row in connection.execute(query)]
