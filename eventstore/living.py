"""The codes and tokens of grants, each judged by the one rule of validity, from the events of the log."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from domain import account, client, consent, ended_grants, grant, validity
from domain.event import Moment, Recorded
from eventstore import time_travel
from eventstore.issued import IssuanceRecord, all_of, as_token
from eventstore.recorder import store
from projections.grants import TABLE as GRANTS

# The events of grants, read from their streams: of one, or of many together.

WHOLE = 5_000
"""Events of a grant that anything looks back on."""

RECENT = 50
"""Events that are read of each of many grants; few have more, and those are read one by one."""


def history(connection: Connection, grant_id: str, position: int, limit: int = WHOLE) -> list[Recorded]:
    """The events of a grant up to a position, oldest first: the first one and at most `limit` of the newest."""
    log, stream = store(connection), f"grant:{grant_id}"
    found = [*log.get(stream, desc=True, limit=limit, stop=position)][::-1]
    if found and found[0].version > 1:
        found[:0] = log.get(stream, lte=1)
    return found


def histories(connection: Connection, grants: Collection[str], position: int) -> dict[str, list[Recorded]]:
    """The same as `history` of each of these grants, by its id; of a few hundred at a time."""
    log = store(connection)
    found = log.recorder.select_events_of({f"grant:{grant_id}": 0 for grant_id in grants}, limit=RECENT + 1)
    told: dict[str, list[Recorded]] = {}
    for grant_id in grants:
        rows = found[f"grant:{grant_id}"]
        if len(rows) > RECENT:
            told[grant_id] = history(connection, grant_id, position)
        else:
            told[grant_id] = [log.mapper.recorded(row) for row in rows if row.id <= position]
    return told


State = Callable[[str], Any]
"""The fold of a stream."""

AT_ONCE = 1_000
"""Grants whose events are in memory at a time."""


class Descendant(NamedTuple):
    """A code or token of a grant. `alive` says whether it is good for anything at the moment that was asked about."""

    sha256: str
    kind: validity.Kind
    client_id: str
    account_id: str | None
    secret_id: str | None
    grant_id: str
    position: int
    issued_at: Moment
    expires_at: Moment
    alive: bool


def states_at(connection: Connection, position: int) -> State:
    """The folds of streams as they stood at a position, each read once."""
    return cache(lambda stream: time_travel.folded(connection, stream, position).state)


def of_grants(
    connection: Connection, state: State, grants: Sequence[str], position: int, now: Moment
) -> list[Descendant]:
    """Every code and token of these grants up to a position, in the order of their issue within each."""
    found: list[Descendant] = []
    for start in range(0, len(grants), AT_ONCE):
        for told in histories(connection, grants[start : start + AT_ONCE], position).values():
            found += _of_grant(told, state, now)
    return found


def _of_grant(told: Sequence[Recorded], state: State, now: Moment) -> Iterator[Descendant]:
    folded: grant.State = grant.INITIAL
    revoked: set[str] = set()
    issued: list[IssuanceRecord] = []
    for recorded in told:
        folded = grant.evolve(folded, recorded)
        issued += all_of(recorded)
        if isinstance(recorded.event, grant.TokenRevoked):
            revoked.add(recorded.event.access_token)
    if not issued:
        return
    folded = ended_grants.applied(state(ended_grants.STREAM), folded)
    deciding = _Deciding(folded, state)
    for each in issued:
        ended = each.sha256 in revoked if each.kind == "access" else _redeemed(each, folded)
        token = as_token(each, folded.succession, ended=ended)
        yield Descendant(
            each.sha256,
            token.kind,
            folded.client_id,
            folded.account_id,
            None if each.kind == "code" else each.secret_id,
            folded.grant_id,
            token.position,
            token.issued_at,
            token.expires_at,
            # That it is there proves that it was issued, also to a clock that lags behind another node's.
            validity.cause(deciding.standing(token, each), max(now, token.issued_at)) == "active",
        )


def _redeemed(issued: IssuanceRecord, folded: grant.State) -> bool:
    return issued.kind == "code" and folded.code is not None and folded.code.redeemed


class _Deciding:
    """What decides about the tokens of a grant beside themselves."""

    def __init__(self, folded: grant.State, state: State) -> None:
        self._grant = folded
        self._client: client.State = state(client.stream(folded.client_id))
        self._person: validity.Person | None = None
        if folded.account_id is not None:
            consented = None
            if folded.grant_type == "authorization_code":
                consented = state(consent.stream(folded.account_id, folded.client_id))
            self._person = validity.of_person(state(account.stream(folded.account_id)), consented)
        self._of_secret: dict[str | None, validity.Client] = {}

    def standing(self, token: validity.Token, issued: IssuanceRecord) -> validity.Standing:
        secret_id = None if issued.kind == "code" else issued.secret_id
        of_client = self._of_secret.get(secret_id)
        if of_client is None:
            of_client = self._of_secret[secret_id] = validity.of_client(self._client, secret_id)
        return validity.Standing(token, self._grant.grant_id, of_client, self._person, self._grant.ended_at)


def grants_of(
    connection: Connection, account_ids: Sequence[str], now: Moment, client_id: str | None = None
) -> list[str]:
    """The ids of people's grants that may have something alive at a moment, newest first: all, or those of a client."""
    query = select(GRANTS.c.grant_id).where(GRANTS.c.account_id.in_(account_ids), GRANTS.c.expires_at > now)
    if client_id is not None:
        query = query.where(GRANTS.c.client_id == client_id)
    return list(connection.scalars(query.order_by(GRANTS.c.started_position.desc())))
