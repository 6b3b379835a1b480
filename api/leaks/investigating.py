"""What a leaked secret is and what came of it, from its digest alone; also of one that was pruned long ago."""

import asyncio
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from api.admin.members import Time, time, time_or_null
from api.leaks import uses
from api.leaks.targets import numbers, of_secret
from api.leaks.uses import Address, ResourceServer, Uses
from domain.event import Moment
from domain.incident import Numbers
from eventstore import counting, issued, past
from eventstore.asking import Connection
from eventstore.counting import Counting, counted
from eventstore.issued import Issued
from eventstore.ledger import Ledger
from eventstore.living import Descendant, of_grants, states_at
from eventstore.privacy import Privacy
from projections import clients, secrets
from projections.blast_radius import Alive, Of


class SecretVersion(msgspec.Struct, frozen=True):
    """A version of a client's secret."""

    id: str
    version: int


class Came(msgspec.Struct, frozen=True):
    """What came of it: ever issued, and how many are alive."""

    total: int
    live: int


class CameOfIt(msgspec.Struct, frozen=True):
    """The blast radius by kind."""

    grants: Came
    codes: Came
    access_tokens: Came
    refresh_tokens: Came


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What it is, who used it and what ending it would end. Everything is null or empty for what is not ours.

    `problem` says what is wrong with a string that is none of ours, and never what would be right. `client_owner` and
    addresses are shown to readers with `audit:personal`. `derived` and `containment` are null without counts.
    """

    sha256: str
    kind: Annotated[str | None, Meta(description="Null for what is not ours.")]
    problem: str | None = None
    state: Annotated[str | None, Meta(description="As in `POST /audit/token-state`.")] = None
    client_id: str | None = None
    client_name: str | None = None
    client_owner: str | None = None
    secret: SecretVersion | None = None
    account_id: str | None = None
    grant_id: str | None = None
    issued_at: Time | None = None
    expires_at: Time | None = None
    first_used_at: Time | None = None
    last_used_at: Time | None = None
    uses_after_end: int = 0
    addresses: list[Address] = []
    resource_servers: list[ResourceServer] = []
    derived: CameOfIt | None = CameOfIt(Came(0, 0), Came(0, 0), Came(0, 0), Came(0, 0))
    containment: Numbers | None = Numbers()


class Damaged(msgspec.Struct, frozen=True):
    """What has our form and a wrong checksum, and at which character of the text it begins."""

    kind: str
    at: int


class Investigated(Report, frozen=True, kw_only=True):
    """What is known of the first secret that was found, and in `items` of each, in their order.

    Without any, `kind` is null: that is no all-clear, since nobody knows what else the text may hold.
    """

    items: tuple[Report, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    characters: Annotated[int | None, Meta(description="Of the text; null where a digest was given.")] = None


class Asked(msgspec.Struct, frozen=True):
    """What is asked, where the log and the clock stand, and whether personal values are shown."""

    sha256: str
    kind: str | None
    problem: str | None
    head: int
    now: Moment
    personal: bool


class Radius(NamedTuple):
    """What came of a client secret: all that was ever issued, and what of it is alive."""

    issued: counting.Issued
    alive: Alive


async def answered(ledger: Ledger, asked: Asked, *, counts: bool) -> Report:
    """The answer about one secret. Without `counts` it says nothing of what came of it, and takes no time for that."""
    radius, of = None, await ledger.read(_counted, asked) if counts else None
    if of is not None and of.secret_ids:
        alive = Counting(of)
        came, _ = await asyncio.gather(ledger.read_long(counting.issued, of.secret_ids[0]), alive.count(ledger))
        radius = Radius(came, alive.alive)
    report = await ledger.read(_reported, ledger.privacy, asked, radius)
    return report if counts else msgspec.structs.replace(report, derived=None, containment=None)


def _found(connection: Connection, asked: Asked) -> Issued | None:
    return None if asked.problem is not None else issued.find(connection, bytes.fromhex(asked.sha256))


def _counted(connection: Connection, asked: Asked) -> Of | None:
    found = _found(connection, asked)
    return None if found is None else of_secret(connection, found).counted(None)


def _reported(connection: Connection, privacy: Privacy, asked: Asked, radius: Radius | None) -> Report:
    found = _found(connection, asked)
    if found is None:
        state = None if asked.problem is not None else "unknown"
        return Report(sha256=asked.sha256, kind=asked.kind, problem=asked.problem, state=state)
    if found.kind == "client_secret":
        return _of_client_secret(connection, privacy, asked, found, radius)
    return _of_token(connection, privacy, asked, found)


def _of_client_secret(
    connection: Connection, privacy: Privacy, asked: Asked, found: Issued, radius: Radius | None
) -> Report:
    row = secrets.by_id(connection, found.secret_id or "", asked.now)
    owner = None if found.client_id is None else clients.by_id(connection, found.client_id)
    alive = row is not None and row.state in ("active", "expiring")
    ever, living = radius or Radius(counting.Issued(), Alive())
    return _report(
        connection,
        privacy,
        asked,
        found,
        state=_secret_state(row, owner, asked.now),
        expires_at=found.expires_at if row is None else row.expires_at,
        used=uses.of_client_secret(connection, privacy, found.secret_id or "", personal=asked.personal),
        came=_came(ever, living),
        containment=numbers(living, int(alive and owner is not None and owner.state != "deleted")),
    )


def _secret_state(row: secrets.Secret | None, owner: clients.Client | None, now: Moment) -> str:
    if owner is None or owner.state == "deleted":
        return "client_deleted"
    if row is not None and row.state in ("revoked", "expired"):
        return row.state
    if owner.state == "disabled":
        return "client_disabled"
    begun = row is None or row.not_before is None or row.not_before <= now
    return "active" if begun else "not_yet_issued"


def _of_token(connection: Connection, privacy: Privacy, asked: Asked, found: Issued) -> Report:
    named = of_secret(connection, found).grants
    everything = of_grants(connection, states_at(connection, asked.head), named, asked.head, asked.now)
    came = [] if found.kind == "access" else came_of(found, everything)
    told = [] if found.grant_id is None else list(past.history(connection, found.by.stream, asked.head))
    return _report(
        connection,
        privacy,
        asked,
        found,
        state=past.judge(connection, found, asked.head, asked.now).reason,
        expires_at=found.expires_at,
        used=uses.of_token(connection, privacy, found, told, personal=asked.personal),
        came=_came(counted([each._replace(alive=True) for each in came]), counted(came)),
        containment=numbers(counted(everything), 0),
    )


def came_of(found: Issued, everything: list[Descendant]) -> list[Descendant]:
    """Those of its grant's codes and tokens that were issued for it, or for what had been."""
    if found.kind == "session":
        return everything
    return [each for each in everything if each.position > found.by.position]


def _came(ever: counting.Issued | Alive, living: Alive) -> CameOfIt:
    return CameOfIt(*(Came(*each) for each in zip(ever[:4], living[:4], strict=True)))


def _report(
    connection: Connection,
    privacy: Privacy,
    asked: Asked,
    found: Issued,
    *,
    state: str,
    expires_at: Moment | None,
    used: Uses,
    came: CameOfIt,
    containment: Numbers,
) -> Report:
    owner = None if found.client_id is None else clients.by_id(connection, found.client_id)
    return Report(
        sha256=found.sha256,
        kind=found.kind,
        state=state,
        client_id=found.client_id,
        client_name=None if owner is None else owner.client_name,
        client_owner=privacy.open(connection, owner.owner) if owner is not None and asked.personal else None,
        secret=_version(found),
        account_id=found.account_id,
        grant_id=found.grant_id,
        issued_at=time(found.by.time),
        expires_at=time_or_null(expires_at),
        first_used_at=time_or_null(used.first_at),
        last_used_at=time_or_null(used.last_at),
        uses_after_end=used.after_end,
        addresses=used.addresses,
        resource_servers=used.resource_servers,
        derived=came,
        containment=containment,
    )


def _version(found: Issued) -> SecretVersion | None:
    event: Any = found.by.event
    if found.kind == "client_secret":
        return SecretVersion(event.secret_id, event.version)
    version = getattr(event, "secret_version", None)
    return None if version is None else SecretVersion(event.secret_id, version)
