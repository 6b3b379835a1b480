"""Secrets by their digests: the event that issued one, even if nothing else is left, and what is true of it now.

A row says at which position a token or code was issued; the event there says everything else about it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from domain import account, client, consent, ended_grants, grant, role, session, succession
from domain.client_secret import SecretIssued, SecretRotated
from domain.event import SECOND, Event, Moment, Recorded, Sealed
from domain.exchange import Exchanged, Through
from domain.grant import (
    CONSENTED,
    AccessTokenIssued,
    CodeIssued,
    DeviceApproved,
    TokenRevoked,
    TokensIssued,
    TokensRefreshed,
)
from domain.grants import validity
from domain.keys import signing_key
from domain.registering.initial_access_token import InitialAccessTokenIssued
from domain.registering.registration_token import RegistrationTokenIssued
from domain.succession import Succession
from domain.usage import SecretKind
from eventstore import search
from eventstore.mapper import decoder
from eventstore.sealed.log_rows import IN_SHORT, row_in_full
from eventstore.search import Criteria, recorded_at
from eventstore.stored import ROW, events
from eventstore.unavailable import ArchiveAway, Forged
from eventstore.view import Folds, OfGrant
from projections import digests, secrets, tokens
from projections.digests import ByDigest
from projections.event_index import NameKind

JTI_HEX = 32
"""Hex digits of a token's `jti`: the first half of its digest."""


class IssuanceRecord(NamedTuple):
    """A secret and the event that issued it. `expires_at` is as that event says; later ones may bring it forward."""

    sha256: str
    kind: SecretKind
    by: Recorded
    expires_at: Moment | None

    @property
    def grant_id(self) -> str | None:
        return self.by.stream.partition(":")[2] if self.kind in ("access", "refresh", "code") else None

    @property
    def client_id(self) -> str | None:
        if self.kind in ("client_secret", "registration_access_token"):
            return self.by.stream.partition(":")[2]
        found: str | None = getattr(self.by.event, "client_id", None)
        return found

    @property
    def account_id(self) -> str | None:
        found: str | None = getattr(self.by.event, "account_id", None)
        return found

    @property
    def secret_id(self) -> str | None:
        """The client secret version that authenticated the request, or the very one that this is."""
        found: str | None = getattr(self.by.event, "secret_id", None)
        return found

    @property
    def signing_key(self) -> str | None:
        """The id of the key that signed it, if it is a JWT access token."""
        return getattr(self.by.event, "signing_key", None) if self.kind == "access" else None

    @property
    def revoked_with(self) -> frozenset[str | None]:
        """The digests of the access tokens whose single end is its own: itself, and what it was exchanged for."""
        return frozenset((self.sha256, *(each.token for each in self.through)))

    @property
    def through(self) -> tuple[Through, ...]:
        """The clients whose tokens were exchanged for it."""
        found: tuple[Through, ...] = getattr(self.by.event, "through", ())
        return found

    @property
    def depends_on(self) -> str | None:
        """The client secret version whose end may be this one's too: a code is nobody's until it is redeemed."""
        return None if self.kind == "code" else self.secret_id


def find(connection: Connection, digest: bytes) -> IssuanceRecord | None:
    """The secret with this digest; None when it was never issued here."""
    return find_all(connection, (digest,)).get(digest)


def find_all(connection: Connection, sha256s: Sequence[bytes]) -> dict[bytes, IssuanceRecord]:
    """The same of many, by their digests; those that were never issued here are left out."""
    found = _at_places(connection, tokens.positions(connection, sha256s))
    # A row that leads to an event which issued no such secret counts as none.
    missing = [digest for digest in sha256s if digest not in found]
    found |= _at_places(connection, digests.find_all(connection, missing))
    # A packed one is asked about last, since it comes from a row of `digests`, never the other way.
    packed = digests.packed(connection, [digest for digest in missing if digest not in found])
    every = {digest: _at_any(connection, digest, positions) for digest, positions in packed.items()}
    return found | {digest: each for digest, each in every.items() if each is not None}


def _at_any(connection: Connection, digest: bytes, positions: Sequence[int]) -> IssuanceRecord | None:
    found = (issued_at(connection, position, digest.hex()) for position in positions)
    return next((each for each in found if each is not None), None)


def find_each(
    connection: Connection, sha256s: Sequence[bytes]
) -> tuple[dict[bytes, IssuanceRecord], dict[bytes, ArchiveAway]]:
    """The same, and why nothing can be said of those whose events stand in a segment that is away. They keep no other
    from being found."""
    try:
        return find_all(connection, sha256s), {}
    except ArchiveAway:
        found, away = dict[bytes, IssuanceRecord](), dict[bytes, ArchiveAway]()
    for digest in sha256s:
        try:
            found |= find_all(connection, (digest,))
        except ArchiveAway as error:
            away[digest] = error
    return found, away


def _at_places(connection: Connection, places: Mapping[bytes, int]) -> dict[bytes, IssuanceRecord]:
    found = {digest: issued_at(connection, position, digest.hex()) for digest, position in places.items()}
    return {digest: each for digest, each in found.items() if each is not None}


def issued_at(connection: Connection, position: int, sha256: str) -> IssuanceRecord | None:
    """The secret with this digest that the event at a position issued; None when it issued no such one."""
    recorded = recorded_at(connection, position)
    if recorded is None:
        return None
    return next((each for each in all_of(recorded) if each.sha256 == sha256), None)


def all_of(recorded: Recorded) -> list[IssuanceRecord]:
    """Every secret that an event issued."""
    event: Event = recorded.event
    match event:
        case CodeIssued() | DeviceApproved():
            return [_issued(event.code, "code", recorded, event.lifetime)]
        case Exchanged() | AccessTokenIssued():
            return [_issued(event.access_token, "access", recorded, event.lifetime)]
        case TokensIssued() | TokensRefreshed():
            access = _issued(event.access_token, "access", recorded, event.lifetime)
            if event.refresh_token is None:
                return [access]
            return [access, _issued(event.refresh_token, "refresh", recorded, event.refresh_lifetime)]
        case SecretIssued() | SecretRotated():
            return [_issued(event.sha256, "client_secret", recorded, event.lifetime)]
        case session.SessionStarted():
            return [_issued(event.sha256, "session", recorded, event.lifetime)]
        case InitialAccessTokenIssued():
            return [_issued(event.sha256, "initial_access_token", recorded, event.lifetime)]
        case RegistrationTokenIssued():
            return [_issued(event.sha256, "registration_access_token", recorded, None)]
        case _:
            return []


def _issued(sha256: str, kind: SecretKind, recorded: Recorded, lifetime: int | None) -> IssuanceRecord:
    return IssuanceRecord(sha256, kind, recorded, None if lifetime is None else recorded.time + lifetime * SECOND)


def as_token(found: IssuanceRecord, refreshing: Succession, *, ended: bool) -> validity.TokenStanding:
    """A code or token by itself; `ended` says that it was redeemed or revoked alone. `refreshing` tells the rest."""
    good = succession.good(refreshing, found.sha256) if found.kind == "refresh" else succession.Good(False)
    return validity.TokenStanding(
        cast(validity.TokenKind, found.kind),
        found.by.position,
        found.by.time,
        found.by.time if found.expires_at is None else found.expires_at,
        ended=ended,
        rotated=good.rotated,
        grace_ends_at=good.until,
    )


def digest_of_jti(connection: Connection, jti: str) -> bytes | None:
    """The digest of the token that introspection names so, as long as its row is there or its digest is kept."""
    low = bytes.fromhex(jti) + bytes(32 - JTI_HEX // 2)
    high = bytes.fromhex(jti) + b"\xff" * (32 - JTI_HEX // 2)
    for table in (tokens.TABLE, digests.TABLE):
        query = select(table.c.digest).where(table.c.digest >= low, table.c.digest <= high).limit(1)
        found: bytes | None = connection.scalar(query)
        if found is not None:
            return bytes(found)
    # Of a packed one the event says the rest.
    for position in digests.packed(connection, [low]).get(low, ()):
        recorded = recorded_at(connection, position)
        named = () if recorded is None else [each for each in all_of(recorded) if each.sha256.startswith(jti)]
        if named:
            return bytes.fromhex(named[0].sha256)
    return None


def digest_of_secret_version(connection: Connection, secret_id: str) -> bytes | None:
    """The digest of a client secret version."""
    found = connection.scalar(select(secrets.TABLE.c.sha256).where(secrets.TABLE.c.secret_id == secret_id))
    return None if found is None else bytes(found)


# The present of tokens and codes, see `eventstore.present`.


# The grants of presented codes and tokens: a row says which stream to ask, and the stream whether it knows them.


def grants_of(
    folds: Folds, digests: Sequence[bytes], remembered: Mapping[str, str], load: Callable[[Collection[str]], None]
) -> dict[bytes, OfGrant | None]:
    """The grants of codes and tokens, pruned ones too, since replays count. What is `remembered` is a hint, as a row
    is: the streams of some of them, by digest in hex. `load` reads streams ahead, together."""
    streams = {digest: remembered.get(digest.hex()) for digest in digests}
    if missing := [digest for digest, stream in streams.items() if stream is None]:
        rows = tokens.grants_of(folds.connection, missing)
        streams |= {digest: f"grant:{grant_id}" for digest, grant_id in rows}
    places = {digest: stream for digest, stream in streams.items() if stream is not None}
    load(set(places.values()))
    known: dict[bytes, OfGrant | None] = {
        digest: _current(folds.state(stream), digest.hex()) for digest, stream in places.items()
    }
    for digest in digests:
        if known.get(digest) is None:
            known[digest] = _by_event(folds, digest)
    return known


def _current(state: grant.State, sha256: str) -> OfGrant | None:
    """What the fold itself knows of: the code, and the refresh tokens that can still be presented."""
    if state.code is not None and state.code.sha256 == sha256:
        return OfGrant("code", state.grant_id, state.account_id)
    if state.succession.find(sha256) is not None:
        return OfGrant("refresh", state.grant_id, state.account_id)
    return None


def _by_event(folds: Folds, digest: bytes) -> OfGrant | None:
    found = find(folds.connection, digest)
    if found is None or found.grant_id is None:
        return None
    return OfGrant(found.kind, found.grant_id, found.account_id)


_OF_STREAM = events.alias("of_stream")
_NEWEST = (
    select(func.max(_OF_STREAM.c.originator_version))
    .where(_OF_STREAM.c.originator_id == events.c.originator_id)
    .scalar_subquery()
)
_NAMING = ByDigest(
    select(tokens.TABLE.c.digest, tokens.TABLE.c.ended_position, _NEWEST, *ROW).join_from(
        tokens.TABLE, events, events.c.id == tokens.TABLE.c.position
    ),
    tokens.TABLE.c.digest,
)


class Judged(NamedTuple):
    """A token with all that decides about it, and its person, if it has one, with their `roles`; `claims` are those
    that the client asked for one by one (OpenID Connect Core §5.5), sealed, and `authentication` is the sign-in behind
    it, as far as that is known. `owner` is the client of the grant, which is another one where tokens were exchanged
    (RFC 8693), and then `act` and `through` are as in `grant.exchanged`. `details` are the authorization details of the
    grant (RFC 9396), sealed."""

    issued: IssuanceRecord
    grant_type: str
    standing: validity.Standing
    person: account.State | None
    roles: tuple[role.State, ...]
    client: client.State
    claims: Sealed | None
    authentication: session.Authentication | None
    owner: str
    act: tuple[str, ...] = ()
    through: tuple[Through, ...] = ()
    details: Sealed | None = None


class _Found(NamedTuple):
    """`ended_position` is where the row says that it ended alone; `newest` is the newest version of its stream."""

    issued: IssuanceRecord
    ended_position: int | None
    newest: int


def find_token(folds: Folds, digest: bytes) -> IssuanceRecord | None:
    """The token or code with this digest whose row is there, as the event that issued it tells; None for no such."""
    found = _named(folds, (digest,)).get(digest)
    return None if found is None else found.issued


def judge(folds: Folds, digests: Sequence[bytes]) -> dict[bytes, Judged]:
    """Those of the digests that have a row, each with its standing."""
    return {digest: _judged(folds, found) for digest, found in _named(folds, digests).items()}


def _named(folds: Folds, digests: Sequence[bytes]) -> dict[bytes, _Found]:
    found: dict[bytes, _Found] = {}
    recorded_of = decoder(folds.connection).recorded
    for digest, ended_position, newest, *row in _NAMING.all(folds.connection, digests):
        try:
            recorded = recorded_of(row_in_full(row) if row[4][1:3] in IN_SHORT else row)
        except Forged:
            # Of the others that were asked about with it, nothing is wrong. Nor is anything with one whose text stands
            # in a segment alone: its grant was over, and its tokens with it, before that was archived.
            continue
        sha256 = bytes(digest).hex()
        # A row that leads to an event which issued no such secret leads nowhere.
        issued = next((each for each in all_of(recorded) if each.sha256 == sha256), None)
        if issued is not None and issued.kind in ("access", "refresh", "code"):
            found[bytes(digest)] = _Found(issued, ended_position, newest)
    return found


class Deciding:
    """What decides about the tokens of a grant beside themselves. `state` gives the folds of streams."""

    def __init__(self, folded: grant.State, state: Callable[[str], Any]) -> None:
        self._grant = folded
        self.client: client.State = state(client.stream(folded.client_id))
        self.account: account.State | None = None
        self._person: validity.PersonStanding | None = None
        if folded.account_id is not None:
            self.account = state(account.stream(folded.account_id))
            consented: consent.State | None = None
            if folded.grant_type in CONSENTED:
                consented = state(consent.stream(folded.account_id, folded.client_id))
            self._person = validity.of_person(self.account, consented)
        self._state = state
        self._of_secret: dict[tuple[str, str | None], validity.ClientStanding] = {}

    def standing(self, token: validity.TokenStanding, issued: IssuanceRecord) -> validity.Standing:
        """How a code or token of the grant stands."""
        of_client = self._of(issued.client_id or self._grant.client_id, issued.depends_on)
        key_id = issued.signing_key
        if key_id is not None:
            keys: signing_key.State = self._state(signing_key.STREAM)
            token = replace(token, key_revoked_at=signing_key.revoked_at(keys, key_id))
        through = tuple([self._of(each.client_id, each.secret_id) for each in issued.through])
        return validity.Standing(token, self._grant.grant_id, of_client, self._person, self._grant.ended_at, through)

    def holder(self, issued: IssuanceRecord) -> client.State:
        """The client that has a code or token of the grant."""
        client_id = issued.client_id
        if client_id is None or client_id == self._grant.client_id:
            return self.client
        found: client.State = self._state(client.stream(client_id))
        return found

    def _of(self, client_id: str, secret_id: str | None) -> validity.ClientStanding:
        found = self._of_secret.get((client_id, secret_id))
        if found is None:
            own = client_id == self._grant.client_id
            state = self.client if own else self._state(client.stream(client_id))
            found = self._of_secret[client_id, secret_id] = validity.of_client(state, secret_id)
        return found


def _judged(folds: Folds, found: _Found) -> Judged:
    state = _grant(folds, found)
    deciding = Deciding(state, folds.state)
    person = deciding.account
    roles = () if person is None else tuple([folds.state(role.stream(person.realm, name)) for name in person.roles])
    standing = deciding.standing(_own(folds, found, state), found.issued)
    return Judged(
        found.issued,
        state.grant_type,
        standing,
        person,
        roles,
        deciding.holder(found.issued),
        state.claims if not found.issued.through else None,
        _authentication(state),
        state.client_id,
        getattr(found.issued.by.event, "act", ()),
        found.issued.through,
        state.details,
    )


def _authentication(state: grant.State) -> session.Authentication | None:
    """The sign-in behind a grant. A dashboard's is the grant itself, which begins with the password."""
    if state.grant_type == "password":
        amr = state.amr or session.PASSWORD_ALONE
        return session.Authentication(at=state.started_at, acr=session.acr_of(amr), amr=amr)
    return state.authentication


def _grant(folds: Folds, found: _Found) -> grant.State:
    by = found.issued.by
    # Most grants are no more than the event that is at hand.
    if by.version == found.newest == 1:
        return ended_grants.applied(folds.state(ended_grants.STREAM), grant.evolve(grant.INITIAL, by))
    state: grant.State = folds.state(by.stream)
    return state


def _own(folds: Folds, found: _Found, state: grant.State) -> validity.TokenStanding:
    """The token by itself."""
    issued = found.issued
    ended = False
    if issued.kind == "code":
        ended = state.code is not None and state.code.redeemed
    elif issued.kind == "access":
        revoked_with = issued.revoked_with
        ended = any(each.sha256 in revoked_with for each in state.revoked) or _was_revoked(folds, found)
    return as_token(issued, state.succession, ended=ended)


def _was_revoked(folds: Folds, found: _Found) -> bool:
    """Whether the event that the row names revoked it alone: the fold forgets that once the token has expired."""
    if found.ended_position is None:
        return False
    recorded = recorded_at(folds.connection, found.ended_position)
    event = None if recorded is None else recorded.event
    return isinstance(event, TokenRevoked) and event.access_token == found.issued.sha256


# What a secret version had in exchange for others' tokens (RFC 8693). The search index has it by the version and by the
# type of its event, and not among what it names as issued with a version.

EXCHANGES_AT_ONCE = 10_000
"""Positions that are read at a time."""


def exchanged_with(connection: Connection, secret_id: str, low: int = 1) -> list[int]:
    """The positions from `low` on of the exchanges that a version authenticated, as far as the index has come."""
    return [each for part in _exchanges(connection, secret_id, low, EXCHANGES_AT_ONCE) for each in part]


def has_exchanged(connection: Connection, secret_id: str) -> bool:
    """Whether there are any."""
    return any(_exchanges(connection, secret_id, 1, 1))


def _exchanges(connection: Connection, secret_id: str, low: int, at_once: int) -> Iterator[list[int]]:
    names = (((NameKind.SECRET, secret_id.encode()),), ((NameKind.TYPE, Exchanged.type.encode()),))
    criteria = Criteria(names, low, search.newest(connection))
    resume: int | None = low
    while resume is not None:
        positions, resume = search.search(connection, criteria, at_once, resume)
        yield positions
