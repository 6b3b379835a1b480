"""What came of a leaked secret and who is concerned, in pages; a secret is named by its digest."""

from typing import Any

import msgspec
from litestar import get

from api import in_path
from api.access import needing
from api.audit.answering.auditor import Auditor
from api.audit.rendering import Rendering, ShownEvent, unsealed
from api.dependencies import Injected
from api.leaks import uses
from api.leaks.investigate import READ, TAGS, Settle
from api.leaks.investigating import came_of
from api.leaks.targets import of_secret
from api.leaks.uses import Address
from api.pagination import DEFAULT, After, Limit, Page, decode_cursor, encode_cursor
from api.problems import Missing
from domain.event import Moment
from eventstore import counting, issued, searching
from eventstore.asking import Connection
from eventstore.issued import Issued
from eventstore.living import of_grants, states_at
from eventstore.searching import Criteria
from projections.event_names import Kind
from security.clock import format_rfc3339


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


async def _known(settle: Settle, asking: Auditor, sha256: str, page: str) -> Issued:
    if len(sha256) != 64 or sha256.strip("0123456789abcdef"):
        raise Missing("No such secret was ever issued here.")
    await settle([sha256])
    found = await asking.here.ledger.read(issued.find, bytes.fromhex(sha256))
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
    sha256: in_path.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[Token]:
    """In the order of their issue, dead or alive. `POST /leaks/investigate` says more of each by its digest."""
    (position,) = decode_cursor("leak_tokens", after, int) or (0,)
    found = await _known(settle, asking, sha256, "tokens")
    if found.kind == "client_secret":
        await asking.here.search_index.follow()
        return await asking.here.ledger.read(_tokens_of_secret, found, asking, position, limit)
    return await asking.here.ledger.read(_tokens_of_grant, found, asking, position, limit)


_ISSUING = tuple((Kind.TYPE, tag) for tag in (b"grant.tokens_issued", b"grant.tokens_refreshed"))


def _tokens_of_secret(connection: Connection, found: Issued, asking: Auditor, after: int, limit: int) -> Page[Token]:
    secret = ((Kind.SECRET, (found.secret_id or "").encode()),)
    criteria = Criteria((secret, _ISSUING), after + 1, asking.here.ledger.changes.position)
    positions, more = _search(connection, criteria, limit)
    events = searching.recorded_forms(connection, positions[:limit])
    items = [
        _token(each)
        for event in events
        if getattr(event.event, "secret_id", None) == found.secret_id
        for each in issued.all_of(event)
    ]
    return Page(items, encode_cursor("leak_tokens", (positions[limit - 1],)) if more else None)


def _search(connection: Connection, criteria: Criteria, limit: int) -> tuple[list[int], bool]:
    found: list[int] = []
    start: int | None = None
    while len(found) <= limit:
        part = searching.search(connection, criteria, limit + 1 - len(found), start)
        found += part.positions
        if part.resume is None:
            break
        start = part.resume
    return found, len(found) > limit


def _tokens_of_grant(connection: Connection, found: Issued, asking: Auditor, after: int, limit: int) -> Page[Token]:
    target = of_secret(connection, found)
    head = asking.here.ledger.changes.position
    everything = came_of(found, of_grants(connection, states_at(connection, head), target.grants, head, asking.now))
    later = sorted((each for each in everything if each.position > after), key=lambda each: each.position)
    # The tokens of one event stay together: a cursor is a position.
    shown = later[:limit]
    while len(shown) < len(later) and later[len(shown)].position == shown[-1].position:
        shown.append(later[len(shown)])
    items = [
        Token(
            kind=each.kind,
            sha256=each.sha256,
            grant_id=each.grant_id,
            account_id=each.account_id,
            issued_at=format_rfc3339(each.issued_at),
            expires_at=format_rfc3339(each.expires_at),
        )
        for each in shown
    ]
    more = len(shown) < len(later)
    return Page(items, encode_cursor("leak_tokens", (shown[-1].position,)) if more else None)


def _token(each: Issued) -> Token:
    return Token(
        kind=each.kind,
        sha256=each.sha256,
        grant_id=each.grant_id,
        account_id=each.account_id,
        issued_at=format_rfc3339(each.by.time),
        expires_at=_time(each.expires_at),
    )


def _time(moment: Moment | None) -> str | None:
    return None if moment is None else format_rfc3339(moment)


@get(
    "/leaks/investigate/{sha256:str}/events",
    **needing(READ),
    tags=TAGS,
    summary="The events that a leaked secret authenticated",
)
async def events_of(
    asking: Injected[Auditor],
    settle: Injected[Settle],
    sha256: in_path.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[ShownEvent]:
    """Everything that was caused with it, newest first; of a token, everything of its grant and what the grant did."""
    (position,) = decode_cursor("leak_events", after, int) or (None,)
    found = await _known(settle, asking, sha256, "events")
    await asking.here.search_index.follow()
    shown = await asking.here.ledger.read(_events, found, asking, position, limit)
    if any(unsealed(event) for event in shown.items):
        asked: dict[str, str | None] = {"sha256": sha256, "page": "events"}
        await asking.record("leak_investigation", asked, len(shown.items), unsealed=True)
    return shown


def _events(connection: Connection, found: Issued, asking: Auditor, before: int | None, limit: int) -> Page[ShownEvent]:
    if found.kind == "client_secret":
        name = (Kind.SECRET, (found.secret_id or "").encode())
    elif found.grant_id is not None:
        name = (Kind.GRANT, found.grant_id.encode())
    else:
        name = (Kind.ACCOUNT, (found.account_id or "").encode())
    high = asking.here.ledger.changes.position if before is None else before - 1
    positions, more = _search(connection, Criteria(((name,),), 1, high, descending=True), limit)
    rendering = Rendering(asking.here.ledger.privacy, connection, personal=asking.personal)
    shown = [rendering.event(state) for state in searching.stored_forms(connection, positions[:limit])]
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
    sha256: in_path.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[Address]:
    """Those that tried it after its end first, then those that used it last. A token's stand in its report."""
    (skip,) = decode_cursor("leak_addresses", after, int) or (0,)
    found = await _known(settle, asking, sha256, "addresses")
    if found.kind != "client_secret" or found.secret_id is None:
        return Page([])
    ledger = asking.here.ledger
    shown = await ledger.read(
        uses.page_of, ledger.privacy, found.secret_id, personal=asking.personal, limit=limit + 1, skip=max(0, skip)
    )
    following = encode_cursor("leak_addresses", (skip + limit,)) if len(shown) > limit else None
    return Page(shown[:limit], following)


@get(
    "/leaks/investigate/{sha256:str}/people",
    **needing(READ),
    tags=TAGS,
    summary="The people on whose behalf a leaked client secret was used",
)
async def people_of(
    asking: Injected[Auditor],
    settle: Injected[Settle],
    sha256: in_path.Digest,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[Concerned]:
    """Everybody who ever was concerned, in the order of their ids."""
    (last,) = decode_cursor("leak_people", after, str) or (None,)
    found = await _known(settle, asking, sha256, "people")
    if found.kind != "client_secret":
        return Page([] if found.account_id is None else [Concerned(found.account_id)])
    await asking.here.search_index.follow()
    ids = await asking.here.ledger.read_long(counting.people, found.secret_id or "", last, limit + 1)
    following = encode_cursor("leak_people", (ids[limit - 1],)) if len(ids) > limit else None
    return Page([Concerned(each) for each in ids[:limit]], following)


ROUTES: list[Any] = [tokens_of, events_of, addresses_of, people_of]
