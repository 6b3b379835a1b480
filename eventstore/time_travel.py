"""The log as it stood: streams folded up to a position, and whether a secret was good for anything there, and why.

What decides is `domain.grants.validity`, the rule of live validation; here it is given folds that stop early in the
place of rows. Exact to the event: at the position that ended a token, and at its recorded time, it is dead already.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from domain import account, client, client_secret, consent, cut_off, ended_grants, grant, session, succession
from domain.event import Moment, Recorded
from domain.grant import CodeRedeemed, TokenRevoked
from domain.grants import validity
from domain.grants.validity import TokenReason
from domain.keys.signing_key import SigningKeyRevoked
from domain.registering import initial_access_token, registration_token
from domain.registering.registration_token import RegistrationTokenIssued
from domain.succession import Succession
from eventstore.issued import Deciding, IssuanceRecord, all_of, as_token
from eventstore.recorder import portions, store
from eventstore.repository import initial, project
from eventstore.search import first_at
from projections import grants
from projections.grants import TABLE as GRANTS


class StreamAsOf(NamedTuple):
    """A stream up to a position: its state, how many events made it, and those events."""

    state: Any
    version: int
    history: tuple[Recorded, ...]


class Judgement(NamedTuple):
    """Whether it was alive, why, and the positions of the events that decide it."""

    reason: TokenReason
    decided_by: tuple[int, ...]


def history(connection: Connection, stream: str, position: int | None = None) -> Iterator[Recorded]:
    """A stream's events in order, up to a position."""
    return store(connection).get(stream, stop=position)


def exists(connection: Connection, stream: str) -> bool:
    """Whether the stream has any event."""
    return bool(store(connection).recorder.select_events(stream, limit=1))


def is_of_request(connection: Connection, stream: str, request_id: str) -> bool:
    """Whether a stream has an event that came of a request."""
    return any(each.request_id == request_id for each in history(connection, stream))


def newest_of(connection: Connection, stream: str, limit: int) -> list[int]:
    """The positions of a stream's newest events."""
    return [row[0] for row in store(connection).recorder.select_events(stream, desc=True, limit=limit)]


def folded(connection: Connection, stream: str, position: int) -> StreamAsOf:
    """The stream as it stood at the position."""
    told = tuple(history(connection, stream, position))
    state = project(initial(stream), told)
    if ended_grants.concerns(stream):
        state = ended_grants.applied(folded(connection, ended_grants.STREAM, position).state, state)
    return StreamAsOf(state, len(told), told)


def position_at(connection: Connection, moment: Moment, head: int) -> int:
    """The newest position whose time is not after `moment`; 0 when everything came later."""
    return first_at(connection, moment + 1, head) - 1


def judge(connection: Connection, issued: IssuanceRecord, position: int, now: Moment) -> Judgement:
    """How the secret stood at a position of the log, at the time `now`."""
    if issued.by.position > position or now < issued.by.time:
        return Judgement("not_yet_issued", (issued.by.position,))
    match issued.kind:
        case "client_secret":
            return _client_secret(connection, issued, position, now)
        case "session":
            return _session(connection, issued, position, now)
        case "initial_access_token":
            return _initial_access_token(connection, issued, position, now)
        case "registration_access_token":
            return _registration_access_token(connection, issued, position)
        case _:
            return _token(connection, issued, position, now)


# Tokens and codes -------------------------------------------------------------------------------------------------


def _token(connection: Connection, issued: IssuanceRecord, position: int, now: Moment) -> Judgement:
    of_grant = folded(connection, issued.by.stream, position)
    parties: list[StreamAsOf] = []

    def state(stream: str) -> Any:
        parties.append(folded(connection, stream, position))
        return parties[-1].state

    token, own_end = _own(issued, of_grant)
    standing = Deciding(of_grant.state, state).standing(token, issued)
    if own_end is None and standing.token.key_revoked_at is not None:
        own_end = next((each for part in parties for each in _revocations(part, issued.signing_key)), None)
    reason = validity.reason(standing, now)
    cause = validity.cause(standing, now)
    if cause == "active":
        return Judgement(reason, _positions([issued.by.position, *map(_registered, parties)]))
    return Judgement(reason, _positions([_decisive(cause, standing, issued, own_end, of_grant)]))


def _own(issued: IssuanceRecord, of_grant: StreamAsOf) -> tuple[validity.TokenStanding, int | None]:
    """The token by itself, and the event that revoked, redeemed or refreshed it."""
    refreshing: Succession = of_grant.state.succession
    if issued.kind == "refresh":
        token = as_token(issued, refreshing, ended=False)
        return token, _rotation(issued, of_grant.history) if token.rotated else None
    end = next((each.position for each in of_grant.history if _ends(each, issued)), None)
    return as_token(issued, refreshing, ended=end is not None), end


def _revocations(part: StreamAsOf, key_id: str | None) -> Iterator[int]:
    """Where the key was revoked that signed it."""
    for each in part.history:
        if isinstance(each.event, SigningKeyRevoked) and each.event.key_id == key_id:
            yield each.position


def _rotation(issued: IssuanceRecord, told: Iterable[Recorded]) -> int | None:
    """The position of the first event after which the refresh token is good for its window at most."""
    state = grant.INITIAL
    for recorded in told:
        state = grant.evolve(state, recorded)
        if recorded.position > issued.by.position and succession.good(state.succession, issued.sha256).rotated:
            return recorded.position
    return None


def _ends(recorded: Recorded, issued: IssuanceRecord) -> bool:
    event = recorded.event
    if issued.kind == "code":
        return isinstance(event, CodeRedeemed)
    return isinstance(event, TokenRevoked) and event.access_token in issued.revoked_with


def _decisive(
    cause: validity.Cause,
    standing: validity.Standing,
    issued: IssuanceRecord,
    own_end: int | None,
    of_grant: StreamAsOf,
) -> int | None:
    person = standing.person
    match cause:
        case "revoked" | "redeemed" | "rotated":
            return own_end
        case "grant_ended":
            own = (each.position for each in of_grant.history if isinstance(each.event, grant.GrantEnded))
            return next(own, of_grant.state.ended_together)
        case "client_disabled" | "client_deleted":
            return standing.client.cutoff
        case "secret_ended":
            cut = cut_off.cutting(standing.client.secret_windows, standing.token.position)
            return cut or standing.client.secret_cutoff
        case "contained":
            position = standing.token.position
            windows = (*standing.client.windows, *(() if person is None else person.windows))
            return cut_off.cutting(windows, position)
        case "person_disabled" | "person_erased":
            return None if person is None else person.cutoff
        case "password_changed":
            return None if person is None else person.password_cutoff
        case "consent_withdrawn":
            return None if person is None else person.consent_cutoff
        case _:
            return issued.by.position


def _registered(part: StreamAsOf) -> int | None:
    """The event that brought a party into the state in which it can act: made, or enabled again."""
    beginnings = (
        client.ClientRegistered,
        client.ClientEnabled,
        account.AccountRegistered,
        account.AccountEnabled,
        consent.ConsentGiven,
    )
    return next((each.position for each in reversed(part.history) if isinstance(each.event, beginnings)), None)


def _positions(found: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(sorted({position for position in found if position}))


# Client secrets and sessions --------------------------------------------------------------------------------------


def _client_secret(connection: Connection, issued: IssuanceRecord, position: int, now: Moment) -> Judgement:
    of_client = folded(connection, issued.by.stream, position)
    state: client.State = of_client.state
    version = client_secret.find(state.secrets, issued.secret_id or "")
    last = {type(each.event): each.position for each in of_client.history}
    if state.deleted:
        return Judgement("client_deleted", _positions([last.get(client.ClientDeleted)]))
    if version is None or version.revoked:
        revoked = [
            each.position
            for each in of_client.history
            if isinstance(each.event, client_secret.SecretRevoked) and each.event.secret_id == issued.secret_id
        ]
        return Judgement("revoked" if revoked else "expired", _positions(revoked[:1] or [issued.by.position]))
    if version.expires_at is not None and version.expires_at <= now:
        return Judgement("expired", _positions([_ending_rotation(of_client, issued, version) or issued.by.position]))
    if not state.enabled:
        return Judgement("client_disabled", _positions([last.get(client.ClientDisabled)]))
    if client_secret.unusable(version, now) is not None:
        # It is there and does not work yet: the closed list has no word that comes closer.
        return Judgement("not_yet_issued", (issued.by.position,))
    return Judgement("active", _positions([issued.by.position, _registered(of_client)]))


def _ending_rotation(of_client: StreamAsOf, issued: IssuanceRecord, version: client_secret.SecretVersion) -> int | None:
    """The rotation that brought the version's end forward."""
    if version.expires_at == issued.expires_at:
        return None
    return next(
        (
            each.position
            for each in of_client.history
            if each.position > issued.by.position
            and isinstance(each.event, client_secret.SecretRotated)
            and each.event.others_expire_in is not None
            and each.time + each.event.others_expire_in * 1_000_000 == version.expires_at
        ),
        None,
    )


def _session(connection: Connection, issued: IssuanceRecord, position: int, now: Moment) -> Judgement:
    of_session = folded(connection, issued.by.stream, position)
    state: session.State = of_session.state
    of_person = folded(connection, account.stream(state.account_id), position)
    person: account.State = of_person.state
    if state.ended:
        own = (each.position for each in of_session.history if isinstance(each.event, session.SessionEnded))
        return Judgement("revoked", _positions([state.ended_together or next(own, None)]))
    if person.erased:
        return Judgement("person_erased", (person.cutoff,))
    if not person.enabled or state.started < person.cutoff:
        return Judgement("person_disabled", _positions([person.cutoff]))
    if state.started < person.password_cutoff:
        return Judgement("revoked", _positions([person.password_cutoff]))
    if cut := cut_off.cutting(cut_off.of_all(person.windows), state.started):
        return Judgement("revoked", (cut,))
    if state.expires <= now:
        return Judgement("expired", (issued.by.position,))
    return Judgement("active", _positions([issued.by.position, _registered(of_person)]))


# Tokens of registration --------------------------------------------------------------------------------------------


def _initial_access_token(connection: Connection, issued: IssuanceRecord, position: int, now: Moment) -> Judgement:
    of_token = folded(connection, issued.by.stream, position)
    standing = initial_access_token.standing(of_token.state, now)
    last = [each.position for each in of_token.history if isinstance(each.event, initial_access_token.ENDING)]
    reason: TokenReason = "active" if standing == "unknown" else standing
    return Judgement(reason, (issued.by.position,) if reason in ("active", "expired") else tuple(last[-1:]))


def _registration_access_token(connection: Connection, issued: IssuanceRecord, position: int) -> Judgement:
    of_client = folded(connection, issued.by.stream, position)
    state: client.State = of_client.state
    if state.deleted:
        return Judgement("client_deleted", (state.cutoff,))
    if not registration_token.matches(state.registration_token, issued.sha256):
        ends = (RegistrationTokenIssued, registration_token.RegistrationTokenRevoked)
        later = (each.position for each in of_client.history if each.position > issued.by.position)
        ended = {each.position for each in of_client.history if isinstance(each.event, ends)}
        return Judgement("revoked", _positions([next((each for each in later if each in ended), None)]))
    return Judgement("active", _positions([issued.by.position, _registered(of_client)]))


# The codes and tokens of many grants, each judged by the one rule of validity.


# The events of grants, read from their streams: of one, or of many together.

LONGEST_HISTORY = 5_000
"""Events of a grant that anything looks back on."""

LONGEST_OF_MANY = 50
"""Events that are read of each of many grants; few have more, and those are read one by one."""


def grant_history(connection: Connection, grant_id: str, position: int, limit: int = LONGEST_HISTORY) -> list[Recorded]:
    """The events of a grant up to a position, oldest first: the first one and at most `limit` of the newest."""
    log, stream = store(connection), f"grant:{grant_id}"
    found = [*log.get(stream, desc=True, limit=limit, stop=position)][::-1]
    if found and found[0].version > 1:
        found[:0] = log.get(stream, lte=1)
    return found


def grant_histories(connection: Connection, grants: Collection[str], position: int) -> dict[str, list[Recorded]]:
    """The same as `history` of each of these grants, by its id; of a few hundred at a time."""
    log = store(connection)
    found = log.recorder.select_events_of({f"grant:{grant_id}": 0 for grant_id in grants}, limit=LONGEST_OF_MANY + 1)
    told: dict[str, list[Recorded]] = {}
    for grant_id in grants:
        rows = found[f"grant:{grant_id}"]
        if len(rows) > LONGEST_OF_MANY:
            told[grant_id] = grant_history(connection, grant_id, position)
        else:
            told[grant_id] = [log.mapper.recorded(row) for row in rows if row.id <= position]
    return told


FoldOf = Callable[[str], Any]
"""The fold of a stream."""

AT_ONCE = 1_000
"""Grants whose events are in memory at a time."""


class Descendant(NamedTuple):
    """A code or token of a grant, whose client `owner` is. `alive` says whether it is good for anything at the moment
    that was asked about; `signing_key` names the key that signed it, if it is a JWT, which anyone who validates offline
    takes until it expires. `through` are the clients whose tokens were exchanged for it, and their secret versions."""

    sha256: str
    kind: validity.TokenKind
    client_id: str
    account_id: str | None
    secret_id: str | None
    grant_id: str
    position: int
    issued_at: Moment
    expires_at: Moment
    alive: bool
    owner: str
    signing_key: str | None = None
    through: tuple[tuple[str, str | None], ...] = ()


def states_at(connection: Connection, position: int) -> FoldOf:
    """The folds of streams as they stood at a position, each read once."""
    return cache(lambda stream: folded(connection, stream, position).state)


def descendants(
    connection: Connection, state: FoldOf, grants: Sequence[str], position: int, now: Moment
) -> list[Descendant]:
    """Every code and token of these grants up to a position, in the order of their issue within each."""
    return [
        each
        for portion in portions(grants, AT_ONCE)
        for told in grant_histories(connection, portion, position).values()
        for each in _descendants(told, state, now)
    ]


def _descendants(told: Sequence[Recorded], state: FoldOf, now: Moment) -> Iterator[Descendant]:
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
    deciding = Deciding(folded, state)
    for each in issued:
        redeemed = folded.code is not None and folded.code.redeemed
        ended = not revoked.isdisjoint(each.revoked_with) if each.kind == "access" else each.kind == "code" and redeemed
        token = as_token(each, folded.succession, ended=ended)
        yield Descendant(
            each.sha256,
            token.kind,
            each.client_id or folded.client_id,
            folded.account_id,
            each.depends_on,
            folded.grant_id,
            token.position,
            token.issued_at,
            token.expires_at,
            # That it is there proves that it was issued, also to a clock that lags behind another node's.
            validity.cause(deciding.standing(token, each), max(now, token.issued_at)) == "active",
            folded.client_id,
            each.signing_key,
            tuple((one.client_id, one.secret_id) for one in each.through),
        )


def offline_until(found: Iterable[Descendant]) -> Moment | None:
    """Until when those that are alive are good for anyone who validates offline; None where nobody does."""
    return max((each.expires_at for each in found if each.alive and each.signing_key is not None), default=None)


def latest(moments: Iterable[Moment | None]) -> Moment | None:
    """The latest of moments that are there; None of none."""
    return max(filter(None, moments), default=None)


def grants_of_people(
    connection: Connection, account_ids: Sequence[str], now: Moment, client_id: str | None = None
) -> list[str]:
    """The ids of people's grants that may have something alive at a moment, newest first: all, or those of a client."""
    query = select(GRANTS.c.grant_id).where(GRANTS.c.account_id.in_(account_ids), GRANTS.c.expires_at > now)
    if client_id is not None:
        query = query.where(GRANTS.c.client_id == client_id)
    return list(connection.scalars(query.order_by(GRANTS.c.started_position.desc())))


def grant_row(connection: Connection, grant_id: str, now: Moment) -> grants.GrantRow | None:
    """The grant by its row, as it stands at `now`; one that is one token is found by what began it. Raises `Forged`."""
    found = grants.by_id(connection, grant_id, now)
    if found is not None:
        return found
    first = next(iter(store(connection).get(f"grant:{grant_id}", limit=1)), None)
    if first is None or not isinstance(first.event, grant.TokensIssued):
        return None
    return grants.by_token(connection, bytes.fromhex(first.event.access_token), now)
