"""What an aggregate, a token, a code or a secret was at a moment, and all that ever happened with it."""

import re
from asyncio import to_thread
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from api.audit.queries import token_standing as standing
from api.audit.queries.auditor import Auditor
from api.audit.queries.search import Point, point
from api.audit.queries.token_standing import USES_AT_MOST, RestsOnConsent, RestsOnSignIn, StandingLanes, UsesTold
from api.audit.rendering import Rendering, ShownEvent, unsealed
from api.http.errors import InvalidRequest, Missing
from domain import account, client, client_secret, usage
from domain.event import Moment, Recorded
from domain.events import AGGREGATES, category
from domain.factors.second_factor import Factors
from domain.grants.validity import TokenReason
from domain.usage import SecretKind
from eventstore import issued, search, time_travel
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.leaked import key_history, key_state
from eventstore.leaked.key_state import KeyJudgement, KeyKind
from eventstore.time_travel import Judgement
from projections import clients
from security import jose, pasted_keys, scanning
from security.clock import format_rfc3339
from security.tokens import digest

# The secret that a question is about: as it was found, as its digest, or by an id. The raw text goes no further.

LONGEST = jose.LONGEST_TOKEN
LONGEST_TEXT = scanning.LONGEST

RawSecret = Annotated[
    str, Meta(min_length=1, max_length=LONGEST, description="A token, code or client secret. Only its digest is kept.")
]
Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_TEXT,
        description="Any text: every secret in it is found, whatever surrounds or encodes it. Only digests are kept.",
    ),
]
Sha256 = Annotated[
    str,
    Meta(
        min_length=64,
        max_length=64,
        pattern="^[0-9a-f]{64}$",
        description="The lower-case hex SHA-256 of the whole secret.",
    ),
]

_HEX = re.compile(r"[0-9a-f]{64}")


class PresentedSecret(NamedTuple):
    """`asked` is what the record says of it: nothing of a text that is no secret of ours, for it may be a password."""

    sha256: str
    asked: dict[str, str | None]


def presented(asking: Auditor, raw: str | None, sha256: str | None, *, or_else: str = "") -> PresentedSecret:
    """The digest of what was presented; exactly one of the two is needed. `or_else` says what else there is to give."""
    if (raw is None) == (sha256 is None):
        raise InvalidRequest.field("token", f"give either the secret itself or its sha256{or_else}")
    if raw is not None:
        # Whoever pastes a line has its end with it, and nothing of ours has a blank.
        pasted = raw.strip()
        # What is signed is no password that somebody pasted by mistake.
        ours = asking.sources.format.parse(pasted) is not None or jose.may_be_signed(pasted)
        found = digest(pasted if ours else raw).hex()
        return PresentedSecret(found, {"sha256": found if ours else None, "token": None if ours else "unknown"})
    if sha256 is None or _HEX.fullmatch(sha256) is None:
        raise InvalidRequest.field("sha256", "must be 64 lower-case hexadecimal digits")
    return PresentedSecret(sha256, {"sha256": sha256})


# Any aggregate as it was.


class StateShown(msgspec.Struct, frozen=True):
    """The aggregate after `version` events. `sealed` and `erased` name personal values that are not shown; `meaning` is
    a person's state in a sentence, and null of others."""

    stream: str
    version: int
    as_of_position: int
    state: dict[str, Any]
    sealed: list[str]
    erased: list[str]
    meaning: str | None = None


class _Shown(NamedTuple):
    state: StateShown
    unsealed: bool


async def state_of(asking: Auditor, name: str, at: str | None, position: int | None) -> StateShown:
    """The fold of a stream at a moment or a position, and the event that it was asked for. Raises Missing when the
    stream has no events at all, before or after."""
    where = await point(asking, at, position)
    shown = await asking.sources.ledger.read(_shown, asking, name, where)
    asked = {
        # A name that is none may be anything, such as what somebody pasted by mistake.
        "stream": "unknown" if shown is None else name,
        "at": at,
        "position": None if position is None else str(position),
    }
    await asking.record("state", asked, int(shown is not None), unsealed=shown is not None and shown.unsealed)
    if shown is None:
        raise Missing("There is no such stream.")
    return shown.state


def _shown(connection: Connection, asking: Auditor, stream: str, where: Point) -> _Shown | None:
    if category(stream) not in AGGREGATES or not time_travel.exists(connection, stream):
        return None
    folded = time_travel.folded(connection, stream, where.position)
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal)
    members, sealed, erased = rendering.state(folded.state)
    return _Shown(
        StateShown(stream, folded.version, where.position, members, sealed, erased, _meaning(folded.state)),
        rendering.shows_personal(folded.state, sealed, erased),
    )


def _meaning(state: Any) -> str | None:
    if not isinstance(state, account.State) or not state.exists:
        return None
    if state.erased:
        return "The person had been erased."
    return f"The person {'could sign in' if state.enabled else 'was disabled'} and had {_factors(state.factors)}."


def _factors(factors: Factors) -> str:
    if not factors.enrolled:
        return "no second factor"
    counted = ((len(factors.passkeys), "passkey"), (len(factors.recovery_codes), "recovery code"))
    found = ["a generator of codes"] if factors.totp is not None else []
    found += [f"{count} {what}{'' if count == 1 else 's'}" for count, what in counted if count]
    return f"a second factor: {', '.join(found)}"


# All that ever happened with a token, code or secret.


class SecretVersionRef(msgspec.Struct, frozen=True):
    """A version of a client's secret."""

    id: str
    version: int


class TokenHistory(msgspec.Struct, frozen=True):
    """What it is and how it stands now. `secret` authenticated the request that got it; of a secret it is itself.
    `events` begin with the ground that it stands on (its client registered, the secret made, the sign-in, the consent)
    and end with its newest uses. `consent` and `sign_in` are there for what a person allowed; `standing` says how
    itself, the secret, the client and the person stood over time. A key is told of by its thumbprint."""

    kind: SecretKind | KeyKind
    sha256: str
    state: TokenReason
    client_id: str | None
    client_name: str | None
    secret: SecretVersionRef | None
    account_id: str | None
    grant_id: str | None
    scope: str | None
    issued_at: str
    expires_at: str | None
    events: list[ShownEvent]
    consent: RestsOnConsent | None
    sign_in: RestsOnSignIn | None
    uses: UsesTold
    standing: StandingLanes


async def token_history(
    asking: Auditor, token: str | None, sha256: str | None, id: str | None, *, names: bool
) -> TokenHistory:
    """The history of a secret, by itself, its digest or an id, and the event that it was asked for. Raises Missing when
    no such secret was ever issued here."""
    await asking.sources.ledger.settled()
    if id is None:
        about = presented(asking, token, sha256, or_else=", or an id")
        digest: bytes | None = bytes.fromhex(about.sha256)
        asked = about.asked
    else:
        if token is not None or sha256 is not None:
            raise InvalidRequest.field("id", "give one of token, sha256 and id")
        asked = {"id": id}
        digest = await asking.sources.ledger.read(_by_id, id)
    history = None if digest is None else await asking.sources.ledger.read(_history, asking, digest, names)
    if history is None and digest is not None and id is None:
        history = await _of_key(asking, digest, token, names)
        asked = asked if history is None else {"sha256": history.sha256}
    shown = () if history is None else history.events
    await asking.record("token_history", asked, len(shown), unsealed=any(unsealed(event) for event in shown))
    if history is None:
        raise Missing("No such secret was ever issued here.")
    return history


def _by_id(connection: Connection, text: str) -> bytes | None:
    """The digest of what an id names: a token by its `jti`, else the first secret of a grant, session or version."""
    if len(text) == issued.JTI_HEX and not text.strip("0123456789abcdef"):
        return issued.digest_of_jti(connection, text)
    for kind in ("grant", "session"):
        first = next(iter(list(time_travel.history(connection, f"{kind}:{text}"))), None)
        if first is not None:
            return bytes.fromhex(issued.all_of(first)[0].sha256)
    return issued.digest_of_secret_version(connection, text)


def _history(connection: Connection, asking: Auditor, digest: bytes, names: bool) -> TokenHistory | None:
    found = issued.find(connection, digest)
    if found is None:
        return None
    head = search.newest(connection)
    judgement = time_travel.judge(connection, found, head, asking.now)
    code = standing.began_with(connection, found)
    signed_in = None if code is None else standing.sign_in(connection, found, code)
    allowed = [] if code is None else list(standing.consents(connection, found, code))
    rests_on = (each.position for each in (*allowed, *([] if signed_in is None else [signed_in])))
    positions = sorted({*_ground(connection, found), *rests_on, *_told(connection, found), *judgement.decided_by})
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal, names=names)
    shown = rendering.events(search.stored_forms(connection, positions))
    named = None if found.client_id is None else clients.by_id(connection, found.client_id)
    expires_at = _expires_at(connection, found, head)
    return TokenHistory(
        found.kind,
        found.sha256,
        judgement.reason,
        found.client_id,
        None if named is None else named.client_name,
        secret_version(found),
        found.account_id,
        found.grant_id,
        getattr(found.by.event, "scope", None),
        format_rfc3339(found.by.time),
        None if expires_at is None else format_rfc3339(expires_at),
        shown,
        standing.consent_shown(allowed),
        standing.sign_in_shown(signed_in),
        standing.uses(connection, found),
        standing.lanes(connection, found, judgement, head, asking.now),
    )


async def _of_key(asking: Auditor, sha256: bytes, text: str | None, names: bool) -> TokenHistory | None:
    """The history of the key with this thumbprint, or of the first key in the text that is known here."""
    digests = [sha256]
    if text is not None:
        word = pasted_keys.thumbprint_in(text)
        found = [*chain.from_iterable(await to_thread(pasted_keys.found_in, text)), *(() if word is None else (word,))]
        digests = [bytes.fromhex(pasted_keys.hex_of(each)) for each in found]
    await asking.sources.search_index.follow()
    for each in digests:
        history = await asking.sources.ledger.read_long(_history_of_key, asking, each, names)
        if history is not None:
            return history
    return None


def _history_of_key(connection: Connection, asking: Auditor, digest: bytes, names: bool) -> TokenHistory | None:
    """The same of a key; `digest` is its thumbprint."""
    head = search.newest(connection)
    thumbprint = pasted_keys.of_hex(digest.hex())
    found = key_history.told(connection, thumbprint, head, asking.now, USES_AT_MOST)
    if found is None:
        return None
    judgement, began = found.judged.standing, found.began
    owner = clients.by_id(connection, found.clients[0]) if len(found.clients) == 1 else None
    positions = sorted({*(each.position for each in found.events), *judgement.decided_by})
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal, names=names)
    return TokenHistory(
        found.judged.kind,
        digest.hex(),
        judgement.reason,
        found.clients[0] if len(found.clients) == 1 else None,
        None if owner is None else owner.client_name,
        None,
        None,
        None,
        None,
        format_rfc3339(began.time),
        None,
        rendering.events(search.stored_forms(connection, positions)),
        None,
        None,
        standing.uses_told(found.uses),
        standing.lanes_of_key(connection, began, found.clients, judgement),
    )


def _ground(connection: Connection, found: IssuanceRecord) -> Iterator[int]:
    """On what it was issued: its client, and the secret that was shown."""
    if found.client_id is not None:
        for each in time_travel.history(connection, client.stream(found.client_id), found.by.position):
            made = isinstance(each.event, client_secret.SecretIssued | client_secret.SecretRotated)
            if isinstance(each.event, client.ClientRegistered) or (made and each.event.secret_id == found.secret_id):
                yield each.position


def _told(connection: Connection, found: IssuanceRecord) -> Iterator[int]:
    """The positions of everything that was said of it, its newest uses included."""
    if found.kind == "registration_access_token":
        yield from (each.position for each in _of_registration(connection, found))
        return
    if found.kind != "client_secret":
        yield from (each.position for each in time_travel.history(connection, found.by.stream))
        yield from time_travel.newest_of(connection, usage.stream(found.sha256), USES_AT_MOST)
        return
    yield from (each.position for each in _of_secret(connection, found))
    yield from time_travel.newest_of(connection, usage.stream(found.secret_id or ""), USES_AT_MOST)


def _of_registration(connection: Connection, found: IssuanceRecord) -> Iterator[Recorded]:
    """What the client's stream tells of the token by which it manages itself, and of what it did with that."""
    token_id = found.by.event.token_id
    for each in time_travel.history(connection, found.by.stream):
        acted = (each.actor.credential or {}).get("registration_token_id") == token_id
        if acted or getattr(each.event, "token_id", None) == token_id:
            yield each


def _of_secret(connection: Connection, found: IssuanceRecord) -> Iterator[Recorded]:
    """What the client's stream tells of a secret version, the rotations that set its end and the client's own ends."""
    for each in time_travel.history(connection, found.by.stream):
        event = each.event
        if isinstance(event, client_secret.SecretRotated) and each.position > found.by.position:
            concerned = event.others_expire_in is not None
        elif isinstance(
            event, client.ClientRegistered | client.ClientDisabled | client.ClientEnabled | client.ClientDeleted
        ):
            concerned = True
        else:
            concerned = getattr(event, "secret_id", None) == found.secret_id
        if concerned:
            yield each


def secret_version(found: IssuanceRecord) -> SecretVersionRef | None:
    """The version that it is, or that authenticated the request for it."""
    event = found.by.event
    version = getattr(event, "version" if found.kind == "client_secret" else "secret_version", None)
    return None if found.secret_id is None or version is None else SecretVersionRef(found.secret_id, version)


def _expires_at(connection: Connection, found: IssuanceRecord, head: int) -> Moment | None:
    """When it ends by itself; a later rotation may have brought a client secret's end forward."""
    if found.kind != "client_secret":
        return found.expires_at
    state: client.State = time_travel.folded(connection, found.by.stream, head).state
    version = client_secret.find(state.secrets, found.secret_id or "")
    return found.expires_at if version is None else version.expires_at


# Was this token valid at that moment, and why.


class TokenState(msgspec.Struct, frozen=True):
    """`decided_by` are the positions of the events that decide it; `as_of_position` is how far the log was read. A
    version of a client's secret that does not work yet is `not_yet_issued`. Anyone who validates a JWT offline takes it
    until `offline_until`, null for what is no JWT or expired by then. A key is known by its thumbprint: a client's, one
    of this server's, or one of a trusted issuer's."""

    active: bool
    reason: TokenReason
    kind: SecretKind | KeyKind | None
    decided_by: list[int]
    at: str
    as_of_position: int
    offline_until: str | None


async def token_state(
    asking: Auditor, token: str | None, sha256: str | None, at: str | None, position: int | None
) -> TokenState:
    """Judges a token by the log as it stood, and records that somebody asked."""
    about = presented(asking, token, sha256)
    where = await point(asking, at, position)
    found, judgement = await asking.sources.ledger.read(_judge, bytes.fromhex(about.sha256), where)
    kind: SecretKind | KeyKind | None = None if found is None else found.kind
    if found is None and (key := await _key(asking, about.sha256, where)) is not None:
        kind, judgement = key
    asked = about.asked | {"at": at, "position": None if position is None else str(position)}
    await asking.record("token_state", asked, int(kind is not None), unsealed=False)
    offline_until = None if found is None or found.signing_key is None else found.expires_at
    return TokenState(
        judgement.reason == "active",
        judgement.reason,
        kind,
        list(judgement.decided_by),
        format_rfc3339(where.at),
        where.position,
        None if offline_until is None or offline_until <= where.at else format_rfc3339(offline_until),
    )


async def _key(asking: Auditor, sha256: str, where: Point) -> KeyJudgement | None:
    """The same of a key, by its thumbprint."""
    await asking.sources.search_index.follow()
    thumbprint = pasted_keys.of_hex(sha256)
    return await asking.sources.ledger.read_long(key_state.judge, thumbprint, where.position, where.at)


def _judge(connection: Connection, digest: bytes, where: Point) -> tuple[IssuanceRecord | None, Judgement]:
    found = issued.find(connection, digest)
    if found is None:
        return None, Judgement("unknown", ())
    return found, time_travel.judge(connection, found, where.position, where.at)
