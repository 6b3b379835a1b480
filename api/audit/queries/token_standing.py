"""How a token, its secret, its client and its person stood over time, what it rests on, and how often it was used."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from domain import account, client, consent, session, usage
from domain.event import Moment, Recorded
from domain.grant import CodeIssued, DeviceApproved
from eventstore import issued, search, time_travel
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.time_travel import Judgement
from security.clock import format_rfc3339

USES_AT_MOST = 200
"""Grouped uses that a history ends with, the newest ones."""


class StandingStretch(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """A stretch of time in one state, and the event that began it; `to` is null where it lasts."""

    state: str
    since: str
    until: str | None
    position: int


class StandingLanes(msgspec.Struct, frozen=True):
    """The stretches of each in their order; none of what it has not."""

    token: list[StandingStretch]
    secret: list[StandingStretch]
    client: list[StandingStretch]
    person: list[StandingStretch]


class RestsOnConsent(msgspec.Struct, frozen=True):
    """What the person had allowed the client when it was issued."""

    scope: list[str]
    given_at: str
    position: int


class RestsOnSignIn(msgspec.Struct, frozen=True):
    """The sign-in that it came of, and by which methods (RFC 8176 §2)."""

    session_id: str
    at: str
    amr: list[str]
    position: int


class UsesTold(msgspec.Struct, frozen=True):
    """Its uses as far as the newest of its events tell; `after_end` of them when it was dead already. It lived and was
    `refused` so many times more: it was brought without the key to which it is bound."""

    count: int
    after_end: int
    refused: int
    first_at: str | None
    last_at: str | None


def lanes(connection: Connection, found: IssuanceRecord, judgement: Judgement, head: int, now: Moment) -> StandingLanes:
    """The lanes as the log stands."""
    token = _own(connection, found, judgement)
    secret = token if found.kind == "client_secret" else _of_secret(connection, found, head, now)
    return StandingLanes(
        token,
        secret,
        [] if found.client_id is None else _of_stream(connection, client.stream(found.client_id), _client),
        [] if found.account_id is None else _of_stream(connection, account.stream(found.account_id), _person),
    )


def lanes_of_key(
    connection: Connection, began: Recorded, holders: Sequence[str], judgement: Judgement
) -> StandingLanes:
    """The lanes of a key, and of its client if it has but one."""
    of_client = _of_stream(connection, client.stream(holders[0]), _client) if len(holders) == 1 else []
    return StandingLanes(_stretches(connection, began, None, judgement), [], of_client, [])


def _of_secret(connection: Connection, found: IssuanceRecord, head: int, now: Moment) -> list[StandingStretch]:
    digest = None if found.secret_id is None else issued.digest_of_secret_version(connection, found.secret_id)
    version = None if digest is None else issued.find(connection, digest)
    if version is None:
        return []
    return _own(connection, version, time_travel.judge(connection, version, head, now))


def _own(connection: Connection, found: IssuanceRecord, judgement: Judgement) -> list[StandingStretch]:
    return _stretches(connection, found.by, found.expires_at, judgement)


def _stretches(
    connection: Connection, by: Recorded, expires_at: Moment | None, judgement: Judgement
) -> list[StandingStretch]:
    """From its beginning, `by` this event, to its end by whatever ended it."""
    begun, position = by.time, by.position
    if judgement.reason in ("active", "not_yet_issued"):
        return [StandingStretch(judgement.reason, format_rfc3339(begun), None, position)]
    decisive = search.recorded_at(connection, judgement.decided_by[-1]) if judgement.decided_by else None
    ended: Moment | None = None if decisive is None or decisive.position == position else decisive.time
    if judgement.reason == "expired":
        ended = expires_at if ended is None else max(ended, expires_at or ended)
    at = format_rfc3339(begun if ended is None else ended)
    return [
        StandingStretch("active", format_rfc3339(begun), at, position),
        StandingStretch(judgement.reason, at, None, position if decisive is None else decisive.position),
    ]


def _of_stream(
    connection: Connection, stream: str, state_after: Callable[[Recorded], str | None]
) -> list[StandingStretch]:
    found: list[StandingStretch] = []
    for each in time_travel.history(connection, stream):
        state = state_after(each)
        if state is None or (found and found[-1].state == state):
            continue
        at = format_rfc3339(each.time)
        if found:
            found[-1] = msgspec.structs.replace(found[-1], until=at)
        found.append(StandingStretch(state, at, None, each.position))
    return found


def _client(recorded: Recorded) -> str | None:
    match recorded.event:
        case client.ClientRegistered() | client.ClientEnabled():
            return "enabled"
        case client.ClientDisabled():
            return "disabled"
        case client.ClientDeleted():
            return "deleted"
    return None


def _person(recorded: Recorded) -> str | None:
    match recorded.event:
        case account.AccountRegistered() | account.AccountEnabled():
            return "enabled"
        case account.AccountDisabled():
            return "disabled"
        case account.AccountErased():
            return "erased"
    return None


# On what it rests: what a person allowed, and where they had signed in.


def began_with(connection: Connection, found: IssuanceRecord) -> CodeIssued | DeviceApproved | None:
    """The code or the approved device with which a person's grant began."""
    if found.account_id is None or found.kind in ("client_secret", "session"):
        return None
    told = time_travel.history(connection, found.by.stream)
    return next((each.event for each in told if isinstance(each.event, CodeIssued | DeviceApproved)), None)


def sign_in(connection: Connection, found: IssuanceRecord, code: CodeIssued | DeviceApproved) -> Recorded | None:
    """The event of the sign-in."""
    if code.session_id is None:
        return None
    told = time_travel.history(connection, session.stream(code.session_id), found.by.position)
    return next((each for each in told if isinstance(each.event, session.SessionStarted)), None)


def consents(connection: Connection, found: IssuanceRecord, code: CodeIssued | DeviceApproved) -> Iterator[Recorded]:
    """What the person had allowed by then, in its order."""
    told = time_travel.history(connection, consent.stream(code.account_id, code.client_id), found.by.position)
    yield from (each for each in told if isinstance(each.event, consent.ConsentGiven | consent.ConsentExtended))


def consent_shown(given: Iterable[Recorded]) -> RestsOnConsent | None:
    """The newest of them."""
    newest = next(reversed(list(given)), None)
    if newest is None:
        return None
    return RestsOnConsent(list(newest.event.scope), format_rfc3339(newest.time), newest.position)


def sign_in_shown(started: Recorded | None) -> RestsOnSignIn | None:
    """The sign-in as it is answered."""
    if started is None:
        return None
    session_id = started.stream.partition(":")[2]
    return RestsOnSignIn(session_id, format_rfc3339(started.time), list(started.event.amr), started.position)


# Its uses.


def uses(connection: Connection, found: IssuanceRecord) -> UsesTold:
    """What its own usage tells."""
    key = found.secret_id or "" if found.kind == "client_secret" else found.sha256
    positions = time_travel.newest_of(connection, usage.stream(key), USES_AT_MOST)
    return uses_told(search.recorded_forms(connection, sorted(positions)))


def uses_told(events: Iterable[Recorded]) -> UsesTold:
    """What these events, in order, tell of uses."""
    everything: list[tuple[Moment, Any]] = [(each.time, each.event) for each in events]
    told = [(time, event) for time, event in everything if not getattr(event, "unproved", False)]
    counted = [(getattr(event, "count", 1), getattr(event, "ended", None) is not None) for _, event in told]
    return UsesTold(
        sum(count for count, _ in counted),
        sum(count for count, dead in counted if dead),
        sum(getattr(event, "count", 1) for _, event in everything if getattr(event, "unproved", False)),
        format_rfc3339(told[0][0]) if told else None,
        format_rfc3339(told[-1][0]) if told else None,
    )
