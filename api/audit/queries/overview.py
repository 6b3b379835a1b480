"""What is going on, in one answer: the first thing that somebody looks at who looks after the log."""

from collections import Counter
from typing import NamedTuple

import msgspec

from api.audit.queries.auditor import Auditor
from api.audit.queries.counts import counts_up_to_date
from api.audit.queries.search import find, up_to_date
from api.audit.rendering import ShownEvent, unsealed
from domain import server
from domain.event import SECOND, Moment
from domain.incident import Status
from eventstore.database import Connection
from eventstore.search import Criteria
from eventstore.transparency import published
from projections import event_index, incidents, secrets, sightings
from projections.event_index import NameKind
from projections.figures import event_counts
from projections.figures.event_counts import CountedStretches
from security.clock import format_rfc3339

HOUR = 3_600 * SECOND
HOURS = 24
WEEK = 7 * 24 * HOUR
NEAR_EXPIRY = 14 * 24 * HOUR
MOST = 10
"""Incidents, secrets and events that are told one by one."""

LINES: dict[str, tuple[str, ...]] = {
    "tokens": ("grant.tokens_issued", "grant.access_token_issued", "grant.tokens_refreshed", "grant.exchanged"),
    "failed_sign_ins": ("account.sign_in_failed", "realm.sign_ins_refused", "realm.unknown_user_refused"),
    "refused_codes": ("grant.code_refused", "grant.refresh_refused"),
    "replays": ("grant.code_replayed", "grant.refresh_replayed"),
    "dead_secrets": ("client.secret_expired_used",),
    "reads": (
        *("audit.read", "audit.watched", "audit.export_opened", "audit.list_export_opened", "audit.stream_opened"),
    ),
}
"""The lines, and the types of the events that each counts."""

TYPES = tuple(tag for types in LINES.values() for tag in types)

ADMINISTRATIVE = (
    *("client.registered", "client.updated", "client.deleted", "client.disabled", "client.enabled"),
    *("client.secret_issued", "client.secret_rotated", "client.secret_revoked", "client.tokens_ended"),
    *("account.registered", "account.disabled", "account.enabled", "account.erased", "account.roles_changed"),
    *("account.factors_reset", "role.defined", "role.changed", "role.retired", "scope.defined", "scope.retired"),
    *("server.issuance_suspended", "server.issuance_resumed", "trusted_issuer.trusted", "upstream.configured"),
    *("upstream.removed", "incident.contained"),
    *("signing_key.introduced", "signing_key.revoked", "log_key.introduced", "log_key.revoked"),
)
"""What somebody decided about others."""


class OpenIncident(msgspec.Struct, frozen=True):
    """One that is not closed."""

    incident_id: str
    state: Status
    kind: str | None
    client_id: str | None
    account_id: str | None
    reported_at: str


class OpenIncidents(msgspec.Struct, frozen=True):
    """How many there are, and the newest."""

    count: int
    items: list[OpenIncident]


class ExpiringSecret(msgspec.Struct, frozen=True):
    """A version of a client's secret that ends soon."""

    client_id: str
    client_name: str
    secret_id: str
    version: int
    expires_at: str


class ExpiringSecrets(msgspec.Struct, frozen=True):
    """How many end within two weeks, and the first of them."""

    count: int
    items: list[ExpiringSecret]


class OverviewLine(msgspec.Struct, frozen=True):
    """Events of these types in each of 24 hours, the oldest first, and in the same hours a week before."""

    name: str
    types: list[str]
    hours: list[int]
    week_before: list[int]


class Overview(msgspec.Struct, frozen=True):
    """As of now. `lag` is by how many events what follows the log is behind it; `signed_at` and `signed_size` are those
    of the newest checkpoint, null before the first."""

    at: str
    as_of_position: int
    frozen_since: str | None
    incidents: OpenIncidents
    secrets_near_expiry: ExpiringSecrets
    since: str
    lines: list[OverviewLine]
    administrative_acts: list[ShownEvent]
    lag: dict[str, int]
    signed_size: int


class _Standing(NamedTuple):
    incidents: OpenIncidents
    secrets: ExpiringSecrets
    lag: dict[str, int]
    signed_size: int


async def overview(asking: Auditor) -> Overview:
    """The overview, and the one event that it was asked for."""
    ledger = asking.sources.ledger
    head, now = await up_to_date(asking, None), asking.now
    await counts_up_to_date(asking)
    begins = now - now % HOUR - (HOURS - 1) * HOUR
    standing = await ledger.read(_standing, now, head)
    hours = [await ledger.read(_hours, start) for start in (begins, begins - WEEK)]
    lines = [
        OverviewLine(name, list(types), *[[sum(hour[tag] for tag in types) for hour in day] for day in hours])
        for name, types in LINES.items()
    ]
    named = tuple((NameKind.TYPE, tag.encode()) for tag in ADMINISTRATIVE)
    acts = (await find(asking, Criteria((named,), 1, head, descending=True), MOST, None, names=True)).events
    state: server.State = await ledger.state(server.STREAM)
    await asking.record("overview", {}, 1, unsealed=any(unsealed(each) for each in acts))
    return Overview(
        format_rfc3339(now),
        head,
        None if state.suspended_at is None else format_rfc3339(state.suspended_at),
        standing.incidents,
        standing.secrets,
        format_rfc3339(begins),
        lines,
        acts,
        standing.lag,
        standing.signed_size,
    )


def _standing(connection: Connection, now: Moment, head: int) -> _Standing:
    followers = (event_index.NAME, sightings.NAME, event_counts.NAME)
    followed = dict.fromkeys(followers, 0) | event_index.progress(connection)
    size = published.size(connection)
    return _Standing(
        _incidents(connection),
        _secrets(connection, now),
        {name: max(0, head - position) for name, position in (followed | {"log_tree": size}).items()},
        size,
    )


def _incidents(connection: Connection) -> OpenIncidents:
    rows = incidents.newest_open(connection, MOST)
    return OpenIncidents(
        incidents.count_open(connection),
        [
            OpenIncident(
                each.incident_id,
                each.state,
                each.kind,
                each.client_id,
                each.account_id,
                format_rfc3339(each.reported_at),
            )
            for each in rows
        ],
    )


def _secrets(connection: Connection, now: Moment) -> ExpiringSecrets:
    ending = secrets.ending(connection, now, now + NEAR_EXPIRY)
    first = [ExpiringSecret(*each[:-1], format_rfc3339(each.expires_at)) for each in ending[:MOST]]
    return ExpiringSecrets(len(ending), first)


def _hours(connection: Connection, start: Moment) -> list[Counter[str]]:
    """How many events of each type there were in each of the hours."""
    first = start // SECOND
    day = CountedStretches(event_counts.HOUR, first, first + HOURS * event_counts.HOUR, event_counts.HOUR)
    found = [Counter[str]() for _ in range(HOURS)]
    for each in event_counts.counted(connection, day, "type", types=TYPES):
        found[each.stretch][each.group] = each.events
    return found
