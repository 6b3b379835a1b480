"""Live validation of tokens: what the log says of one, kept as long as it says that nothing in it changed."""

from collections.abc import Sequence
from random import randrange
from sys import intern
from typing import Any

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection

from domain import account, client, consent, grant, role
from domain.event import Moment
from domain.grants import validity
from domain.keys import signing_key
from domain.rules import authorization_details, built_in_scope, pairwise, standard_claims
from domain.rules.client_metadata import SigningAlgorithm
from domain.scope import still_allowed
from eventstore import issued
from eventstore.personal_data import PersonalData
from eventstore.reading import Reader
from eventstore.repository import Changes, Repository
from eventstore.view import Folds
from security.lru import Lru

ABSENT = 20_000
"""Digests without a row that are remembered."""

TOKENS = 120_000
"""Tokens that are remembered, dead ones included. With a kilobyte for each a worker stays within 250 MiB."""

TERMS = 10_000
"""Terms that are remembered, so that tokens which have them in common share them."""


class TokenTerms(msgspec.Struct, gc=False):
    """What tokens have in common that were issued alike, and the streams on which that depends.

    `scope` is what was issued, less what the person's roles have lost since. `audience` is what an access token is for,
    empty where that is this server alone. `claims` are those that userinfo tells besides what the scope opens, and
    `told_position` is where the person's names and claims changed last; `signed` is how the client wants to be told.
    `acr` is the class of the sign-in behind it, None where there was none that is known; `sector` is whose name for the
    person the client knows, None for the account's id. `act` names who acts for whom it is about (RFC 8693 §4.1), the
    present one first.
    `jkt` is the thumbprint of the key to which an access token is bound (RFC 9449 §6), `x5t`
    that of the certificate (RFC 8705 §3). `signing_key` is the id of the key that signed it, if it is a JWT (RFC 9068).
    `known_as` is by which id the client calls itself.
    `details` are its authorization details (RFC 9396), as JSON.
    `said` and `told` are room for what introspection and userinfo say of all of them.
    """

    kind: validity.TokenKind
    client_id: str
    account_id: str | None
    secret_id: str | None
    scope: tuple[str, ...]
    audience: tuple[str, ...]
    username: str | None
    streams: tuple[str, ...]
    claims: tuple[str, ...] = ()
    told_position: int = 0
    signed: SigningAlgorithm | None = None
    acr: str | None = None
    sector: str | None = None
    act: tuple[str, ...] = ()
    jkt: str | None = None
    x5t: str | None = None
    signing_key: str | None = None
    known_as: str = ""
    details: str | None = None
    said: bytes = b""
    told: bytes = b""


class Known(msgspec.Struct, gc=False):
    """A token as it stood at `as_of`, less what is alike in many. `standing` is None where only time decides, and
    `authenticated_at` where no sign-in is known."""

    digest: bytes
    terms: TokenTerms
    grant: str
    issued_at: Moment
    expires_at: Moment
    active_until: Moment
    standing: validity.Standing | None
    as_of: int
    authenticated_at: Moment | None = None
    held_at: int = -1
    """What `Changes.told` was when it was last found to hold."""

    @property
    def grant_id(self) -> str:
        return self.grant.partition(":")[2]

    def reason(self, now: Moment) -> validity.TokenReason:
        """Why it is dead now, or `active`. That it is there proves that it was issued, even if a clock lags behind."""
        now = max(now, self.issued_at)
        if now < self.active_until:
            return "active"
        return "expired" if self.standing is None else validity.reason(self.standing, now)


class Validation:
    """Answers by digest. What it keeps is bounded and never staler than the log.

    That a digest has no row is remembered for good: it belongs to nothing that was ever issued, or to what expired so
    long ago that its row is gone. Nobody can name a secret before it is made, since there are 178 random bits in it.
    """

    def __init__(
        self, reader: Reader, changes: Changes, privacy: PersonalData, states: Repository, size: int = TOKENS
    ) -> None:
        self._reader = reader
        self._changes = changes
        self._privacy = privacy
        self._states = states
        self._size = size
        self._kept: dict[bytes, Known] = {}
        self._places: list[bytes] = []
        self._terms: dict[tuple[Any, ...], TokenTerms] = {}
        self._absent: Lru[bytes, None] = Lru(ABSENT)

    async def find(self, digest: bytes) -> Known | None:
        """The token with this digest as of everything acknowledged before this call; None when it has no row."""
        if not self._reader.is_settled:
            await self._reader.settled()
        return self.remembered(digest) or await self.look_up(digest)

    def remembered(self, digest: bytes) -> Known | None:
        """Gives the token where it is remembered, as of the last time that `Ledger.settled` was awaited."""
        known, told = self._kept.get(digest), self._changes.told
        if known is None or known.held_at == told:
            return known
        if not self._changes.holds(known.as_of, known.grant, known.terms.streams):
            return None
        known.held_at = told
        return known

    async def look_up(self, digest: bytes) -> Known | None:
        """Reads the token that is not remembered, for a caller who has asked `remembered`."""
        if digest in self._absent:
            return None
        known = await self._reader.find(self._load, digest)
        if known is None:
            self._absent.put(digest, None)
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

    def load(self, folds: Folds, digest: bytes) -> Known | None:
        """The token as these folds have it, for asking again under the lock. Keeps nothing."""
        return self._judge(folds, (digest,)).get(digest)

    def _load(self, connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Known]:
        return self._judge(self._states.seen(connection), digests)

    def _judge(self, folds: Folds, digests: Sequence[bytes]) -> dict[bytes, Known]:
        as_of = self._changes.seen_by(folds.connection)
        return {digest: self._known(folds, each, as_of) for digest, each in issued.judge(folds, digests).items()}

    def _known(self, folds: Folds, judged: issued.Judged, as_of: int) -> Known:
        issued, standing, person = judged.issued, judged.standing, judged.person
        scope = grant.names_of(issued.by.event.scope)
        audience = issued.by.event.audience if issued.kind == "access" else ()
        bound = issued.kind == "access"
        jkt = issued.by.event.dpop_jkt if bound else None
        x5t = issued.by.event.x5t_s256 if bound else None
        # Interned is what tokens of different terms have in common.
        client_id = intern(issued.client_id or "")
        secret_id = None if issued.secret_id is None else intern(issued.secret_id)
        streams = [intern(client.stream(client_id))]
        streams += [intern(client.stream(each.client_id)) for each in judged.through]
        if issued.signing_key is not None:
            streams.append(signing_key.STREAM)
        authentication = judged.authentication
        username, told_position, claims = None, 0, tuple[str, ...]()
        if person is not None and person.exists:
            streams += [account.stream(person.account_id), consent.stream(person.account_id, judged.owner)]
            streams += [intern(role.stream(person.realm, name)) for name in person.roles]
            scope = still_allowed(scope, roles=judged.roles, dashboard=judged.client.type == "dashboard")
            username = self._privacy.open(folds.connection, person.username)
            told_position = person.told_position
            claims = self._claims(folds.connection, judged, scope)
        terms = TokenTerms(
            standing.token.kind,
            client_id,
            issued.account_id,
            secret_id,
            scope,
            audience,
            username,
            tuple(streams),
            claims,
            told_position,
            judged.client.userinfo_signed_response_alg,
            None if authentication is None else intern(authentication.acr),
            pairwise.sector(judged.client),
            judged.act,
            None if jkt is None else intern(jkt),
            None if x5t is None else intern(x5t),
            None if issued.signing_key is None else intern(issued.signing_key),
            intern(judged.client.known_as),
            self._details(folds.connection, judged),
        )
        return Known(
            bytes.fromhex(issued.sha256),
            terms,
            issued.by.stream,
            standing.token.issued_at,
            standing.token.expires_at,
            validity.active_until(standing),
            None if validity.only_time_decides(standing) else standing,
            as_of,
            None if authentication is None else authentication.at,
        )

    def _details(self, connection: Connection, judged: issued.Judged) -> str | None:
        """The authorization details that an access token is for, as JSON; None for none, and of an erased person."""
        if judged.details is None or judged.issued.kind != "access":
            return None
        found = authorization_details.parsed(self._privacy.open(connection, judged.details))
        chosen = authorization_details.at(found, judged.issued.by.event.details)
        return None if chosen is None else authorization_details.text_of(chosen)

    def _claims(self, connection: Connection, judged: issued.Judged, scope: tuple[str, ...]) -> tuple[str, ...]:
        """What the client asked for one by one, as far as it may (OpenID Connect Core §5.5), in one order."""
        text = None if built_in_scope.OPENID not in scope else self._privacy.open(connection, judged.claims)
        if text is None:
            return ()
        wanted = msgspec.json.decode(text, type=dict[str, Any])
        return tuple(sorted(standard_claims.beyond(wanted, scope, within=judged.client.scope)))
