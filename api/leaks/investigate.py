"""`POST /leaks/investigate`: what a string that somebody found is, who used it and what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.admin.bodies import members
from api.audit.queries.auditor import Auditor
from api.audit.queries.history import RawSecret, Sha256, Text
from api.audit.queries.search import Point, point
from api.audit.rendering import Rendering, ShownEvent, unsealed
from api.http import parameters
from api.http.errors import InvalidRequest, Missing, Unprocessable
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor, encode_cursor
from api.leaks import issuer_keys, key_investigation, reporting, resolve
from api.leaks.investigation import (
    AWAY,
    Address,
    Damaged,
    FoundElsewhere,
    Investigated,
    InvestigationReader,
    Report,
    WhichCounts,
    came_of,
    page_of,
)
from api.leaks.key_investigation import NamedKey
from api.leaks.key_target import KIND
from api.leaks.targets import of_secret
from api.oauth.bearer import needing
from api.services import Injected, services_of
from domain.event import Moment
from eventstore import affected, issued, search
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.search import Criteria
from eventstore.time_travel import Descendant, descendants, states_at
from eventstore.unavailable import ArchiveAway
from projections.event_index import NameKind
from projections.sightings import SightingKey
from security import pasted_keys
from security.clock import format_rfc3339
from security.scanning import Extract, ForeignSecret, extract

READ = "leaks:read"
TAGS = ["Leaks"]
ITEMS = 1_000
TOGETHER = 2
"""Secrets that are looked at together: half of the threads that read, so that others' questions need not wait."""

Settle = Callable[[Sequence[str]], Awaitable[None]]

RECORDED_AT_ONCE = 200
"""Digests that one event of an investigation names."""

PRIVATE_KEY = "private_key"
"""What a key is called that somebody else made, as clients do with theirs."""

EXAMPLE: dict[str, Any] = {
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "kind": "client_secret",
    "problem": None,
    "state": "active",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "client_owner": "prints@partner.example",
    "secret": {"id": "8Wq3nBz5MhCy2tLv9RdK7x", "version": 2},
    "link": None,
    "account_id": None,
    "grant_id": None,
    "issued_at": "2026-01-31T11:00:00.000000Z",
    "expires_at": None,
    "first_used_at": "2026-01-31T11:02:00.000000Z",
    "last_used_at": "2026-02-01T08:30:00.000000Z",
    "uses_after_end": 0,
    "uses_refused": 0,
    "addresses": [
        {
            "ip": "198.51.100.7",
            "first_at": "2026-01-31T11:02:00.000000Z",
            "last_at": "2026-02-01T08:30:00.000000Z",
            "count": 4711,
            "after_end": 0,
            "refused": 0,
            "user_agents": ["prints/2.1"],
            "told_by": None,
        }
    ],
    "resource_servers": [],
    "derived": {
        "grants": {"total": 812, "live": 311},
        "codes": {"total": 812, "live": 0},
        "access_tokens": {"total": 4711, "live": 320},
        "refresh_tokens": {"total": 4711, "live": 311},
    },
    "containment": {"secrets_ended": 1, "grants_ended": 311, "tokens_ended": 631, "people_affected": 298},
}
ANSWER: dict[str, Any] = EXAMPLE | {"items": [EXAMPLE], "damaged": [], "foreign": [], "characters": 44}


Counts = Annotated[
    Literal[0, 1, 2],
    QueryParameter(
        name="counts",
        description="0: `derived` and `containment` are null, at once. 2: of a client secret `derived` has only what "
        "was ever issued, `live` and `containment` are null.",
    ),
]


class InvestigationQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The string that was found, or its digest, so that it need not be sent."""

    secret: RawSecret | None = None
    sha256: Sha256 | None = None


class Investigation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Any text with secrets in it, or a digest; or many strings and digests at once in `items`."""

    secret: Text | None = None
    sha256: Sha256 | None = None
    items: Annotated[list[InvestigationQuestion], Meta(min_length=1, max_length=ITEMS)] | None = None
    at: (
        Annotated[
            str,
            Meta(
                max_length=64, description="RFC 3339: state, `derived` and `containment` as they were at that moment."
            ),
        ]
        | None
    ) = None


class Reports(msgspec.Struct, frozen=True):
    """The answers in the order of the questions."""

    items: list[Report]


@post(
    "/leaks/investigate",
    status_code=200,
    **needing(READ, example={"sha256": EXAMPLE["sha256"]}, answer=ANSWER, lists=True),
    tags=TAGS,
    summary="What a leaked secret is and what came of it",
)
async def investigate(
    asking: Injected[Auditor], settle: Injected[Settle], data: JSONBody[Investigation], counts: Counts = 1
) -> Investigated | Reports:
    """By any text that holds it, whatever surrounds or encodes it, or by its SHA-256; or up to 1,000 in `items`, each
    by itself. Also of expired and pruned ones. The counts are exact, and those of `containment` are what `POST
    /leaks/contain` would report; of a million tokens they take seconds, and `counts=0` answers at once without them.
    What is none of ours has `kind` null and says in `problem` what is wrong. A key is found as JWK, PEM, certificate or
    by its thumbprint, private or not: its `kind` is `key`, its digest the thumbprint (RFC 7638, RFC 8705 §3.1)."""
    if data.items is not None:
        if data.secret is not None or data.sha256 is not None:
            raise InvalidRequest.field("items", "give one secret, or several in items")
        questions = [
            await _question(asking, f"items[{number}].", each.secret, each.sha256)
            for number, each in enumerate(data.items)
        ]
        answers = await reported(settle, asking, questions, counts=counts, at=data.at)
        for each in data.items:
            await issuer_keys.tell_pasted(asking.sources.ledger, asking.origin, each.secret)
        return Reports(answers)
    if data.secret is None:
        question = await _question(asking, "", None, data.sha256)
        answers = await reported(settle, asking, [question], counts=counts, at=data.at)
        return told(answers)
    if data.sha256 is not None:
        raise InvalidRequest.field("secret", "give either the secret itself or its sha256")
    found = await resolve.secrets_in(data.secret, asking.sources.format)
    if len(found.secrets) > ITEMS:
        raise Unprocessable(f"At most {ITEMS:,} secrets at a time.")
    questions = await resolve.asked_about(asking.sources.ledger, found, data.secret, asking.sources.format)
    others = await resolve.foreign_in(data.secret, asking.sources.format)
    answers = await reported(settle, asking, questions, counts=counts, at=data.at)
    own = [pasted_keys.of_hex(each.sha256) for each in answers if each.kind == issuer_keys.SIGNING_KEY]
    await issuer_keys.tell_exposed(asking.sources.ledger, asking.origin, data.secret, own)
    return told(answers, found, others)


def told(answers: Sequence[Report], found: Extract | None = None, others: Sequence[ForeignSecret] = ()) -> Investigated:
    """The answer about all that a text holds."""
    first = {name: getattr(answers[0], name) for name in Report.__struct_fields__}
    if found is None:
        return Investigated(**first, items=tuple(answers))
    known = any(each.kind == KIND and each.state != "unknown" for each in answers)
    return Investigated(
        **first,
        items=tuple(each for each in answers if each.problem is None),
        damaged=tuple(Damaged(resolve.KINDS[each.kind], each.at) for each in found.damaged),
        # Who has a key that is known here is told above.
        foreign=tuple(FoundElsewhere(*each) for each in others if not (known and each.kind == PRIVATE_KEY)),
        characters=found.characters,
    )


async def reported(
    settle: Settle,
    asking: Auditor,
    questions: Sequence[resolve.Candidate],
    *,
    counts: WhichCounts,
    at: str | None = None,
) -> list[Report]:
    """The answers in their order, as of now or of a moment that has passed, and the event that somebody asked."""
    await settle([question.sha256 for question in questions])
    where = None if at is None else await point(asking, at, None)
    answers = await _reports(asking, questions, where, counts=counts)
    await _record(asking, answers, at)
    return answers


async def _question(asking: Auditor, where: str, raw: str | None, sha256: str | None) -> resolve.Candidate:
    if (raw is None) == (sha256 is None):
        raise InvalidRequest.field(f"{where}secret", "give either the secret itself or its sha256")
    if raw is not None:
        format = asking.sources.format
        return (await resolve.asked_about(asking.sources.ledger, extract(raw, format), raw, format))[0]
    return resolve.Candidate(sha256 or "", None)


def settling(request: Request[Any, Any, Any]) -> Settle:
    """Brings what is known of the uses of secrets, and what is gathered, up to this moment."""
    services = services_of(request)

    async def settle(digests: Sequence[str]) -> None:
        await services.uses.record(everything=True)
        await services.token_uses.record(of=[bytes.fromhex(each) for each in digests])
        await services.repeated_facts.close_elapsed(everything=True)
        # What is told is in these two; counts of events for figures may be far behind and are not waited for.
        await services.search_index.follow()
        await services.sightings.follow()

    return settle


async def _reports(
    asking: Auditor, questions: Sequence[resolve.Candidate], where: Point | None, *, counts: WhichCounts
) -> list[Report]:
    """The answers in order. The same string is often found in many places, and is looked at once."""
    found: dict[resolve.Candidate, Report] = {}
    away: ArchiveAway | None = None
    distinct = list(dict.fromkeys(questions))
    for start in range(0, len(distinct), TOGETHER):
        part = distinct[start : start + TOGETHER]
        reports = await asyncio.gather(
            *(reporting.or_away(asking, question, where, counts=counts) for question in part)
        )
        for question, report in zip(part, reports, strict=True):
            away = report if isinstance(report, ArchiveAway) else away
            found[question] = reporting.away(question) if isinstance(report, ArchiveAway) else report
        if len(distinct) > TOGETHER:
            # Nobody else waits for a thousand answers.
            await asyncio.sleep(0)
    if away is not None and all(each.state == AWAY for each in found.values()):
        raise away
    return [found[question] for question in questions]


async def _record(asking: Auditor, answers: list[Report], at: str | None) -> None:
    """Of what is none of ours not even the digest is recorded: it may be a password."""
    ours = [each.sha256 for each in answers if each.problem is None]
    personal = asking.personal and any(each.addresses or each.client_owner for each in answers)
    for start in range(0, max(1, len(ours)), RECORDED_AT_ONCE):
        part = ours[start : start + RECORDED_AT_ONCE]
        foreign = len(answers) - len(ours) if start == 0 else 0
        sha256s = " ".join(part) or None
        asked: dict[str, str | None] = {"sha256": sha256s, "foreign": str(foreign) if foreign else None, "at": at}
        found = sum(each.sha256 in part and each.state not in ("unknown", AWAY) for each in answers)
        await asking.record("leak_investigation", asked, found, unsealed=personal)


# What came of a leaked secret and who is concerned, in pages; a secret is named by its digest.


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A code or token that came of a secret."""

    kind: str
    sha256: str
    grant_id: str | None
    account_id: str | None
    issued_at: str
    expires_at: str | None


class Concerned(msgspec.Struct, frozen=True):
    """A person on whose behalf something was issued."""

    account_id: str


async def _known(settle: Settle, asking: Auditor, sha256: str, page: str) -> IssuanceRecord | NamedKey:
    if len(sha256) != 64 or sha256.strip("0123456789abcdef"):
        raise Missing("No such secret was ever issued here.")
    await settle([sha256])
    ledger = asking.sources.ledger
    found: IssuanceRecord | NamedKey | None = await ledger.read(issued.find, bytes.fromhex(sha256))
    found = found or await key_investigation.find(ledger, sha256, ledger.changes.position)
    await asking.record("leak_investigation", {"sha256": sha256, "page": page}, int(found is not None), unsealed=False)
    if found is None:
        raise Missing("No such secret was ever issued here.")
    return found


@get(
    "/leaks/investigate/{sha256:str}/tokens",
    **needing(READ),
    tags=TAGS,
    summary="The codes and tokens that came of a leaked secret",
)
async def tokens_of(
    asking: Injected[Auditor],
    settle: Injected[Settle],
    sha256: parameters.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[Token]:
    """In the order of their issue, dead or alive. `POST /leaks/investigate` says more of each by its digest."""
    (position,) = decode_cursor("leak_tokens", after, int) or (0,)
    found = await _known(settle, asking, sha256, "tokens")
    if isinstance(found, NamedKey) or found.kind == "client_secret":
        await asking.sources.search_index.follow()
        return await asking.sources.ledger.read(_tokens_by_index, found, asking, position, limit)
    return await asking.sources.ledger.read(_tokens_of_grant, found, asking, position, limit)


def _tokens_by_index(
    connection: Connection, found: IssuanceRecord | NamedKey, asking: Auditor, after: int, limit: int
) -> Page[Token]:
    secret_id = None if isinstance(found, NamedKey) else found.secret_id
    names = (found.name,) if isinstance(found, NamedKey) else search.issued_names(secret_id or "")
    criteria = Criteria((names,), after + 1, asking.sources.ledger.changes.position)
    positions, more = _search(connection, criteria, limit)
    if secret_id is not None:
        positions = sorted({*positions, *issued.exchanged_with(connection, secret_id, after + 1)})
        more = len(positions) > limit
    events = search.recorded_forms(connection, positions[:limit])
    items = [
        _token(each, each.by.time)
        for event in events
        if isinstance(found, NamedKey) or getattr(event.event, "secret_id", None) == secret_id
        for each in issued.all_of(event)
    ]
    return Page(items, encode_cursor("leak_tokens", (positions[limit - 1],)) if more else None)


def _search(connection: Connection, criteria: Criteria, limit: int) -> tuple[list[int], bool]:
    found: list[int] = []
    start: int | None = None
    while len(found) <= limit:
        part = search.search(connection, criteria, limit + 1 - len(found), start)
        found += part.positions
        if part.resume is None:
            break
        start = part.resume
    return found, len(found) > limit


def _tokens_of_grant(
    connection: Connection, found: IssuanceRecord, asking: Auditor, after: int, limit: int
) -> Page[Token]:
    target = of_secret(connection, found)
    head = asking.sources.ledger.changes.position
    everything = came_of(found, descendants(connection, states_at(connection, head), target.grants, head, asking.now))
    later = sorted((each for each in everything if each.position > after), key=lambda each: each.position)
    # The tokens of one event stay together: a cursor is a position.
    shown = later[:limit]
    while len(shown) < len(later) and later[len(shown)].position == shown[-1].position:
        shown.append(later[len(shown)])
    items = [_token(each, each.issued_at) for each in shown]
    more = len(shown) < len(later)
    return Page(items, encode_cursor("leak_tokens", (shown[-1].position,)) if more else None)


def _token(each: IssuanceRecord | Descendant, issued_at: Moment) -> Token:
    return members.shown(Token, each, "expires_at", issued_at=format_rfc3339(issued_at))


@get(
    "/leaks/investigate/{sha256:str}/events",
    **needing(READ),
    tags=TAGS,
    summary="The events that a leaked secret authenticated",
)
async def events_of(
    asking: Injected[Auditor],
    settle: Injected[Settle],
    sha256: parameters.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[ShownEvent]:
    """Everything that was caused with it, newest first; of a token, everything of its grant and what the grant did."""
    (position,) = decode_cursor("leak_events", after, int) or (None,)
    found = await _known(settle, asking, sha256, "events")
    await asking.sources.search_index.follow()
    shown = await asking.sources.ledger.read(_events, found, asking, position, limit)
    if any(unsealed(event) for event in shown.items):
        asked: dict[str, str | None] = {"sha256": sha256, "page": "events"}
        await asking.record("leak_investigation", asked, len(shown.items), unsealed=True)
    return shown


def _events(
    connection: Connection, found: IssuanceRecord | NamedKey, asking: Auditor, before: int | None, limit: int
) -> Page[ShownEvent]:
    if isinstance(found, NamedKey):
        name = found.name
    elif found.kind == "client_secret":
        name = (NameKind.SECRET, (found.secret_id or "").encode())
    elif found.grant_id is not None:
        name = (NameKind.GRANT, found.grant_id.encode())
    else:
        name = (NameKind.ACCOUNT, (found.account_id or "").encode())
    high = asking.sources.ledger.changes.position if before is None else before - 1
    positions, more = _search(connection, Criteria(((name,),), 1, high, descending=True), limit)
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal)
    shown = [rendering.event(state) for state in search.stored_forms(connection, positions[:limit])]
    return Page(shown, encode_cursor("leak_events", (positions[limit - 1],)) if more else None)


@get(
    "/leaks/investigate/{sha256:str}/addresses",
    **needing(READ),
    tags=TAGS,
    summary="The addresses that used a leaked client secret",
)
async def addresses_of(
    asking: Injected[Auditor],
    settle: Injected[Settle],
    sha256: parameters.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[Address]:
    """Those that tried it after its end first, then those that used it last. A token's stand in its report."""
    key = decode_cursor("leak_addresses", after, int, int, int, int)
    found = await _known(settle, asking, sha256, "addresses")
    if isinstance(found, NamedKey) or found.kind != "client_secret" or found.secret_id is None:
        return Page([])
    ledger = asking.sources.ledger
    reader = partial(InvestigationReader, privacy=ledger.privacy, personal=asking.personal)
    secret_id = found.secret_id
    behind = None if key is None else SightingKey(*key)
    shown, following = await ledger.read(lambda connection: page_of(reader(connection), secret_id, limit, behind))
    return Page(shown, None if following is None else encode_cursor("leak_addresses", following))


@get(
    "/leaks/investigate/{sha256:str}/people",
    **needing(READ),
    tags=TAGS,
    summary="The people on whose behalf a leaked client secret was used",
)
async def people_of(
    asking: Injected[Auditor],
    settle: Injected[Settle],
    sha256: parameters.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[Concerned]:
    """Everybody who ever was concerned, in the order of their ids."""
    (last,) = decode_cursor("leak_people", after, str) or (None,)
    found = await _known(settle, asking, sha256, "people")
    ledger = asking.sources.ledger
    if isinstance(found, NamedKey):
        ids = await ledger.read_long(affected.people_at, found.positions, last, limit + 1)
    elif found.kind != "client_secret":
        return Page([] if found.account_id is None else [Concerned(found.account_id)])
    else:
        await asking.sources.search_index.follow()
        ids = await ledger.read_long(affected.people, found.secret_id or "", last, limit + 1)
    following = encode_cursor("leak_people", (ids[limit - 1],)) if len(ids) > limit else None
    return Page([Concerned(each) for each in ids[:limit]], following)


ROUTES: list[Any] = [investigate, tokens_of, events_of, addresses_of, people_of]
