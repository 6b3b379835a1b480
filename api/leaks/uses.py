"""Who used a leaked secret, from where and when; what was tried after its end comes first."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from api.admin.members import Time, time
from domain import grant, grant_code, usage
from domain.event import Moment, Recorded
from domain.sealed import Sealed
from eventstore import past, searching
from eventstore.asking import Connection
from eventstore.issued import Issued
from eventstore.privacy import Privacy
from projections import sightings
from security.sealing import SealBroken

ADDRESSES = 100
"""Addresses that an answer has; there is a page for the rest."""

USES = 2_000
"""Grouped uses of a token that are looked at, the newest."""

DEAD = frozenset({"expired", "ended", "client_cut_off", "person_cut_off", "secret_cut_off", "consent_withdrawn"})
"""Reasons for a refusal that say that what was presented was over."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address that used the secret `count` times, `after_end` of them when it was dead. `ip` and user agents are
    null and empty for readers without `audit:personal`, and once erased. `told_by` is the resource server that says so.
    """

    ip: str | None
    first_at: Time
    last_at: Time
    count: int
    after_end: int
    user_agents: list[str]
    told_by: str | None


class ResourceServer(msgspec.Struct, frozen=True, kw_only=True):
    """A client that asked about the token."""

    client_id: str
    first_at: Time
    last_at: Time
    count: int


class Use(NamedTuple):
    """Uses from one place, in clear."""

    ip: str | None
    user_agent: str | None
    told_by: str | None
    first_at: Moment
    last_at: Moment
    uses: int
    after_end: int
    seen_by: str | None = None


class Uses(NamedTuple):
    """A secret's uses altogether. Those after its end count apart from those before."""

    first_at: Moment | None
    last_at: Moment | None
    after_end: int
    addresses: list[Address]
    resource_servers: list[ResourceServer]


def of_client_secret(connection: Connection, privacy: Privacy, secret_id: str, *, personal: bool) -> Uses:
    """The uses of a client secret version."""
    found = sightings.summary(connection, secret_id)
    shown = page_of(connection, privacy, secret_id, personal=personal)
    return Uses(found.first_at, found.last_at, found.uses_after_end, shown, [])


def page_of(
    connection: Connection, privacy: Privacy, secret_id: str, *, personal: bool, limit: int = ADDRESSES, skip: int = 0
) -> list[Address]:
    """Some of the addresses of a client secret version; each address and user agent together is one."""
    return [
        Address(
            ip=_open(connection, privacy, row.ip) if personal else None,
            first_at=time(row.first_at),
            last_at=time(row.last_at),
            count=row.uses + row.uses_after_end,
            after_end=row.uses_after_end,
            user_agents=_agents([_open(connection, privacy, row.user_agent)]) if personal else [],
            told_by=None,
        )
        for row in sightings.newest(connection, secret_id, limit, skip)
    ]


def of_token(
    connection: Connection,
    privacy: Privacy,
    found: Issued,
    told: Iterable[Recorded],
    *,
    personal: bool,
) -> Uses:
    """The uses of a token, code or session. `told` are its grant's events."""
    uses = [*_presented(connection, privacy, found, told), *_introspected(connection, privacy, found.sha256)]
    if not uses:
        return Uses(None, None, 0, [], [])
    return Uses(
        min(use.first_at for use in uses),
        max(use.last_at for use in uses),
        sum(use.after_end for use in uses),
        _addresses(uses, personal=personal),
        _resource_servers(uses),
    )


def _presented(connection: Connection, privacy: Privacy, found: Issued, told: Iterable[Recorded]) -> Iterator[Use]:
    """Where a code or refresh token was presented, by what came of it."""
    for recorded, newest in _beside_newest(told):
        if recorded.position <= found.by.position:
            continue
        # What was accepted was alive.
        dead = False
        match recorded.event:
            case grant.TokensRefreshed() if newest == found.sha256:
                pass
            case grant_code.CodeRedeemed() if found.kind == "code":
                pass
            case grant.RefreshReplayed(refresh_token=sha256) if sha256 == found.sha256:
                dead = True
            case grant_code.CodeReplayed() if found.kind == "code":
                dead = True
            case grant_code.CodeRefused(reason=reason) if found.kind == "code":
                dead = reason in DEAD
            case grant.RefreshRefused(reason=reason) if newest == found.sha256 and reason in DEAD:
                dead = True
            case _:
                continue
        ip = _open(connection, privacy, _sealed(recorded, "ip"))
        agent = _open(connection, privacy, _sealed(recorded, "user_agent"))
        yield Use(ip, agent, None, recorded.time, recorded.time, 1, int(dead))


def _beside_newest(told: Iterable[Recorded]) -> Iterator[tuple[Recorded, str | None]]:
    """Each event with the newest refresh token before it: of a refresh or its refusal, which names none, that is what
    was presented. Where a successor was replaced, that event names which one had come.
    """
    newest = predecessor = None
    for recorded in told:
        yield recorded, newest
        match recorded.event:
            case grant.TokensIssued():
                newest = recorded.event.refresh_token
            case grant.TokensRefreshed():
                newest, predecessor = recorded.event.refresh_token, newest
            case grant.SuccessorReplaced():
                newest = recorded.event.presented or predecessor


def _introspected(connection: Connection, privacy: Privacy, sha256: str) -> Iterator[Use]:
    positions = past.newest_of(connection, usage.stream(sha256), USES)
    for recorded in searching.recorded_forms(connection, sorted(positions)):
        event: Any = recorded.event
        count = getattr(event, "count", 1)
        told = event.told_ip is not None
        holder = Sealed(recorded.id, "told_ip", event.told_ip) if told else _sealed(recorded, "ip")
        agent = (
            Sealed(recorded.id, "told_user_agent", event.told_user_agent)
            if event.told_user_agent is not None
            else None
            if told
            else _sealed(recorded, "user_agent")
        )
        yield Use(
            _open(connection, privacy, holder),
            _open(connection, privacy, agent),
            event.seen_by if told else None,
            recorded.time,
            recorded.time,
            count,
            count if event.ended is not None else 0,
            event.seen_by,
        )


def _addresses(uses: Iterable[Use], *, personal: bool) -> list[Address]:
    places: dict[tuple[str | None, str | None], list[Use]] = {}
    for use in uses:
        places.setdefault((use.ip, use.told_by), []).append(use)
    shown = [
        Address(
            ip=ip if personal else None,
            first_at=time(min(use.first_at for use in each)),
            last_at=time(max(use.last_at for use in each)),
            count=sum(use.uses for use in each),
            after_end=sum(use.after_end for use in each),
            user_agents=_agents([use.user_agent for use in each]) if personal else [],
            told_by=told_by,
        )
        for (ip, told_by), each in places.items()
    ]
    shown.sort(key=lambda each: each.last_at, reverse=True)
    shown.sort(key=lambda each: each.after_end == 0)
    return shown[:ADDRESSES]


def _resource_servers(uses: Iterable[Use]) -> list[ResourceServer]:
    seen: dict[str, list[Use]] = {}
    for use in uses:
        if use.seen_by is not None:
            seen.setdefault(use.seen_by, []).append(use)
    return [
        ResourceServer(
            client_id=client_id,
            first_at=time(min(use.first_at for use in each)),
            last_at=time(max(use.last_at for use in each)),
            count=sum(use.uses for use in each),
        )
        for client_id, each in sorted(seen.items())
    ]


def _agents(found: Iterable[str | None]) -> list[str]:
    return sorted({agent for agent in found if agent is not None})


def _sealed(recorded: Recorded, field: str) -> Sealed | None:
    text = getattr(recorded, field)
    return None if text is None else Sealed(recorded.id, field, text)


def _open(connection: Connection, privacy: Privacy, value: Sealed | str | None) -> str | None:
    try:
        return privacy.open(connection, value)
    except SealBroken:
        return None
