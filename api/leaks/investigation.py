"""What a leaked secret is, who used it and what came of it, from its digest alone, even of one pruned long ago."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies.members import Time, time_or_null
from api.audit.queries.history import SecretVersionRef, secret_version
from api.leaks.radius import Came, CameOfIt, Radius, radius_at_once, radius_by_kind
from api.leaks.targets import REGISTERING, numbers, of_secret
from domain import grant, usage
from domain.event import Moment, Recorded, Sealed
from domain.exchange import Exchanged
from domain.incident import Numbers
from eventstore import affected, issued, search, time_travel
from eventstore.affected import Counting, counted
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.time_travel import Descendant, descendants, states_at
from projections import clients, secrets, sightings
from projections.blast_radius import Alive, RadiusQuestion
from projections.sightings import SightingKey
from security.clock import format_rfc3339
from security.sealing import SealBroken

# Who used a leaked secret, from where and when; what was tried after its end, or without its key, comes first.

ADDRESSES = 100
"""Addresses that an answer has; there is a page for the rest."""

USES = 2_000
"""Grouped uses of a token that are looked at, the newest."""

DEAD = frozenset({"expired", "ended", "client_cut_off", "person_cut_off", "secret_cut_off", "consent_withdrawn"})
"""Reasons for a refusal that say that what was presented was over."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address that brought the secret `count` times, `after_end` of them when it was dead, `refused` of them when it
    lived but came without what it is bound to. `ip` and user agents are null and empty for readers without
    `audit:personal`, and once erased. `told_by` is the resource server that says so.
    """

    ip: str | None
    first_at: Time
    last_at: Time
    count: int
    after_end: int
    refused: int
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
    refused: int = 0


class Uses(NamedTuple):
    """A secret's uses altogether. Those after its end count apart from those before, and one that was refused while it
    lived is none."""

    first_at: Moment | None
    last_at: Moment | None
    after_end: int
    refused: int
    addresses: list[Address]
    resource_servers: list[ResourceServer]


class InvestigationReader(NamedTuple):
    """The one who is answered, within one read; personal values are shown to them where they are `personal`."""

    connection: Connection
    privacy: PersonalData
    personal: bool

    def open(self, value: Sealed | str | None) -> str | None:
        """A sealed value, no matter who reads; None where it is erased or was altered."""
        try:
            return self.privacy.open(self.connection, value)
        except SealBroken:
            return None


def page_of(
    reader: InvestigationReader, secret_id: str, limit: int = ADDRESSES, after: SightingKey | None = None
) -> tuple[list[Address], SightingKey | None]:
    """Some of the addresses of a client secret version, and where they go on; each with a user agent is one."""
    rows, following = sightings.page(reader.connection, secret_id, limit, after)
    shown = [
        Address(
            ip=reader.open(row.ip) if reader.personal else None,
            first_at=format_rfc3339(row.first_at),
            last_at=format_rfc3339(row.last_at),
            count=row.uses + row.uses_after_end,
            after_end=row.uses_after_end,
            refused=0,
            user_agents=_agents([reader.open(row.user_agent)]) if reader.personal else [],
            told_by=None,
        )
        for row in rows
    ]
    return shown, following


def of_token(reader: InvestigationReader, found: IssuanceRecord, told: Iterable[Recorded]) -> Uses:
    """The uses of a token, code or session. `told` are its grant's events."""
    uses = [*_presented(reader, found, told), *_introspected(reader, found.sha256)]
    worked = [use for use in uses if not use.refused]
    return Uses(
        min((use.first_at for use in worked), default=None),
        max((use.last_at for use in worked), default=None),
        sum(use.after_end for use in uses),
        sum(use.refused for use in uses),
        grouped(uses, personal=reader.personal),
        _resource_servers(uses),
    )


def _presented(reader: InvestigationReader, found: IssuanceRecord, told: Iterable[Recorded]) -> Iterator[Use]:
    """Where a code or refresh token was presented, by what came of it."""
    for recorded, newest in _beside_newest(told):
        if recorded.position <= found.by.position:
            continue
        # What was accepted was alive.
        dead = refused = False
        match recorded.event:
            case grant.TokensRefreshed() if newest == found.sha256:
                pass
            case grant.AccessTokenIssued(presented=sha256) if sha256 == found.sha256:
                pass
            case grant.CodeRedeemed() if found.kind == "code":
                pass
            case grant.RefreshReplayed(refresh_token=sha256) if sha256 == found.sha256:
                dead = True
            case grant.CodeReplayed() if found.kind == "code":
                dead = True
            case grant.CodeRefused(reason=reason) if found.kind == "code":
                dead, refused = reason in DEAD, reason not in DEAD
            case grant.RefreshRefused(reason=reason, refresh_token=sha256) if (sha256 or newest) == found.sha256:
                dead, refused = reason in DEAD, reason not in DEAD
            case _:
                continue
        ip, agent = (reader.open(sealed_field(recorded, field)) for field in ("ip", "user_agent"))
        yield Use(ip, agent, None, recorded.time, recorded.time, 1, int(dead), refused=int(refused))


def _beside_newest(told: Iterable[Recorded]) -> Iterator[tuple[Recorded, str | None]]:
    """Each event with the newest refresh token before it: of a refresh, which names none, that is what was presented.
    Where a successor was replaced, that event names which one had come."""
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


def _introspected(reader: InvestigationReader, sha256: str) -> Iterator[Use]:
    positions = time_travel.newest_of(reader.connection, usage.stream(sha256), USES)
    for recorded in search.recorded_forms(reader.connection, sorted(positions)):
        event: Any = recorded.event
        count = getattr(event, "count", 1)
        told = event.told_ip is not None
        holder = Sealed(recorded.id, "told_ip", event.told_ip) if told else sealed_field(recorded, "ip")
        agent = None if told else sealed_field(recorded, "user_agent")
        if event.told_user_agent is not None:
            agent = Sealed(recorded.id, "told_user_agent", event.told_user_agent)
        yield Use(
            reader.open(holder),
            reader.open(agent),
            event.seen_by if told else None,
            recorded.time,
            recorded.time,
            count,
            count if event.ended is not None else 0,
            event.seen_by,
            count if event.unproved else 0,
        )


def grouped(uses: Iterable[Use], *, personal: bool) -> list[Address]:
    """The uses by the place that they came from."""
    places: dict[tuple[str | None, str | None], list[Use]] = {}
    for use in uses:
        places.setdefault((use.ip, use.told_by), []).append(use)
    shown = [
        Address(
            ip=ip if personal else None,
            first_at=format_rfc3339(min(use.first_at for use in each)),
            last_at=format_rfc3339(max(use.last_at for use in each)),
            count=sum(use.uses for use in each),
            after_end=sum(use.after_end for use in each),
            refused=sum(use.refused for use in each),
            user_agents=_agents([use.user_agent for use in each]) if personal else [],
            told_by=told_by,
        )
        for (ip, told_by), each in places.items()
    ]
    shown.sort(key=lambda each: each.last_at, reverse=True)
    shown.sort(key=lambda each: each.after_end + each.refused == 0)
    return shown[:ADDRESSES]


def _resource_servers(uses: Iterable[Use]) -> list[ResourceServer]:
    seen: dict[str, list[Use]] = {}
    for use in uses:
        if use.seen_by is not None:
            seen.setdefault(use.seen_by, []).append(use)
    return [
        ResourceServer(
            client_id=client_id,
            first_at=format_rfc3339(min(use.first_at for use in each)),
            last_at=format_rfc3339(max(use.last_at for use in each)),
            count=sum(use.uses for use in each),
        )
        for client_id, each in sorted(seen.items())
    ]


def _agents(found: Iterable[str | None]) -> list[str]:
    return sorted({agent for agent in found if agent is not None})


def sealed_field(recorded: Recorded, field: str) -> Sealed | None:
    """Where the address or the user agent of an event's caller is sealed."""
    text = getattr(recorded, field)
    return None if text is None else Sealed(recorded.id, field, text)


# What a leaked secret is and what came of it, from its digest alone; also of one that was pruned long ago.


class MailedLinkRef(msgspec.Struct, frozen=True):
    """What a link that was mailed is for (`recovery`, `invitation`, `verification`, `email_present`, `email_new` or
    `registration`), and in which realm."""

    purpose: str
    realm: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What it is, who used it and what ending it would end. Everything is null or empty for what is not ours. `problem`
    says what is wrong with a string that is none of ours, and never what would be right. `client_owner` and addresses
    are shown to readers with `audit:personal`. `derived` and `containment` are null without counts."""

    sha256: str
    kind: Annotated[str | None, Meta(description="Null for what is not ours.")]
    problem: str | None = None
    state: Annotated[
        str | None,
        Meta(
            description="As in `POST /audit/token-state`; `archive_away` where nothing else can be told at present, "
            "since the archive with the event that issued it cannot be read."
        ),
    ] = None
    client_id: str | None = None
    client_name: str | None = None
    client_owner: str | None = None
    secret: SecretVersionRef | None = None
    link: MailedLinkRef | None = None
    account_id: str | None = None
    grant_id: str | None = None
    issued_at: Time | None = None
    expires_at: Time | None = None
    first_used_at: Time | None = None
    last_used_at: Time | None = None
    uses_after_end: int = 0
    uses_refused: Annotated[
        int,
        Meta(
            description="How often it was brought and refused for what came with it: without its key, by another "
            "client, with a wrong verifier. `first_used_at` and `last_used_at` know nothing of those."
        ),
    ] = 0
    addresses: list[Address] = []
    resource_servers: list[ResourceServer] = []
    derived: CameOfIt | None = CameOfIt(Came(0, 0), Came(0, 0), Came(0, 0), Came(0, 0))
    containment: Numbers | None = Numbers()
    advice: Annotated[str | UnsetType, Meta(description="What ends it, where no containment does.")] = UNSET


class Damaged(msgspec.Struct, frozen=True):
    """What has our form and a wrong checksum, and at which character of the text it begins."""

    kind: str
    at: int


class FoundElsewhere(msgspec.Struct, frozen=True):
    """What somebody else handed out, which only they can end, and at which character of the text it begins."""

    kind: str
    at: int


class Investigated(Report, frozen=True, kw_only=True):
    """What is known of the first secret that was found, and in `items` of each, in their order. Without any, `kind` is
    null: that is no all-clear, since nobody knows what else the text may hold."""

    items: tuple[Report, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    foreign: tuple[FoundElsewhere, ...] = ()
    characters: Annotated[int | None, Meta(description="Of the text; null where a digest was given.")] = None


class InvestigatedSecret(msgspec.Struct, frozen=True):
    """What is asked, where the log and the clock stand, if that is `past`, and whether personal values are shown."""

    sha256: str
    kind: str | None
    problem: str | None
    head: int
    now: Moment
    personal: bool
    past: bool = False


AWAY = "archive_away"
"""The state of one of several of which nothing can be told."""

WhichCounts = Literal[0, 1, 2]
"""What is counted: nothing, everything, or of a client secret only what was ever issued, which takes no time."""


async def answered(ledger: Ledger, asked: InvestigatedSecret, *, counts: WhichCounts) -> Report:
    """The answer about one secret. Without `counts` it says nothing of what came of it, and takes no time for that."""
    radius, of = None, await ledger.read(_counted, asked) if counts else None
    if of is not None and of.secret_ids and counts == 2:
        radius = await ledger.read_long(radius_at_once, of, ledger.clock.now())
    elif of is not None and of.secret_ids:
        alive = Counting(of)
        came, _ = await asyncio.gather(ledger.read_long(affected.issued, of.secret_ids[0]), alive.count(ledger))
        radius = Radius(came, alive.own, ending=alive.alive)
    report = await ledger.read(_reported, ledger.privacy, asked, radius)
    if radius is not None and radius.alive is None:
        return msgspec.structs.replace(report, containment=None)
    return report if counts else msgspec.structs.replace(report, derived=None, containment=None)


def _found(connection: Connection, asked: InvestigatedSecret) -> IssuanceRecord | None:
    return None if asked.problem is not None else issued.find(connection, bytes.fromhex(asked.sha256))


def _counted(connection: Connection, asked: InvestigatedSecret) -> RadiusQuestion | None:
    found = _found(connection, asked)
    return None if found is None else of_secret(connection, found).counted(None)


def _reported(
    connection: Connection, privacy: PersonalData, asked: InvestigatedSecret, radius: Radius | None
) -> Report:
    found = _found(connection, asked)
    if found is None:
        state = None if asked.problem is not None else "unknown"
        return Report(sha256=asked.sha256, kind=asked.kind, problem=asked.problem, state=state)
    reader = InvestigationReader(connection, privacy, asked.personal)
    if found.kind == "client_secret":
        return _of_client_secret(reader, asked.now, found, radius)
    return _of_token(reader, asked, found)


def _of_client_secret(reader: InvestigationReader, now: Moment, found: IssuanceRecord, radius: Radius | None) -> Report:
    secret_id = found.secret_id or ""
    row, owner = secrets.by_id(reader.connection, secret_id, now), _owner(reader, found)
    alive = row is not None and row.state in ("active", "expiring")
    ever, living, about_living, ending = radius or Radius(affected.IssuedCounts(), Alive())
    seen = sightings.summary(reader.connection, secret_id)
    return _report(
        reader,
        found,
        state=_secret_state(row, owner, now),
        expires_at=found.expires_at if row is None else row.expires_at,
        used=Uses(seen.first_at, seen.last_at, seen.uses_after_end, 0, page_of(reader, secret_id)[0], []),
        came=radius_by_kind(ever, living, about_living),
        containment=numbers(ending or Alive(), int(alive and owner is not None and owner.state != "deleted")),
    )


def _secret_state(row: secrets.SecretRow | None, owner: clients.ClientRow | None, now: Moment) -> str:
    if owner is None or owner.state == "deleted":
        return "client_deleted"
    if row is not None and row.state in ("revoked", "expired"):
        return row.state
    if owner.state == "disabled":
        return "client_disabled"
    begun = row is None or row.not_before is None or row.not_before <= now
    return "active" if begun else "not_yet_issued"


def _of_token(reader: InvestigationReader, asked: InvestigatedSecret, found: IssuanceRecord) -> Report:
    connection, head, now = reader.connection, asked.head, asked.now
    everything = descendants(connection, states_at(connection, head), of_secret(connection, found).grants, head, now)
    told = [] if found.grant_id is None else list(time_travel.history(connection, found.by.stream, head))
    state = time_travel.judge(connection, found, head, now).reason
    came = came_of(found, everything)
    if found.kind == "access":
        exchanged = exchanged_for(found.sha256, told)
        came = [each for each in came if each.sha256 in exchanged]
    return _report(
        reader,
        found,
        state=state,
        expires_at=found.expires_at,
        used=of_token(reader, found, told),
        came=radius_by_kind(counted([each._replace(alive=True) for each in came]), counted(came)),
        containment=numbers(counted(everything), int(found.kind in REGISTERING and state == "active")),
    )


def came_of(found: IssuanceRecord, everything: list[Descendant]) -> list[Descendant]:
    """Those of its grant's codes and tokens that were issued for it, or for what had been."""
    if found.kind == "session":
        return everything
    return [each for each in everything if each.position > found.by.position]


def exchanged_for(sha256: str, told: Iterable[Recorded]) -> set[str]:
    """The access tokens that were issued in exchange for one, or for what had been (RFC 8693)."""
    found = {sha256}
    for each in told:
        if isinstance(each.event, Exchanged) and each.event.subject_token in found:
            found.add(each.event.access_token)
    return found - {sha256}


def _report(
    reader: InvestigationReader,
    found: IssuanceRecord,
    *,
    state: str,
    expires_at: Moment | None,
    used: Uses,
    came: CameOfIt,
    containment: Numbers,
) -> Report:
    owner = _owner(reader, found)
    answers_for = owner.owner if owner is not None and reader.personal else None
    return Report(
        sha256=found.sha256,
        kind=found.kind,
        state=state,
        client_id=found.client_id,
        client_name=None if owner is None else owner.client_name,
        client_owner=reader.open(answers_for),
        secret=secret_version(found),
        account_id=found.account_id,
        grant_id=found.grant_id,
        issued_at=format_rfc3339(found.by.time),
        expires_at=time_or_null(expires_at),
        first_used_at=time_or_null(used.first_at),
        last_used_at=time_or_null(used.last_at),
        uses_after_end=used.after_end,
        uses_refused=used.refused,
        addresses=used.addresses,
        resource_servers=used.resource_servers,
        derived=came,
        containment=containment,
    )


def _owner(reader: InvestigationReader, found: IssuanceRecord) -> clients.ClientRow | None:
    return None if found.client_id is None else clients.by_id(reader.connection, found.client_id)
