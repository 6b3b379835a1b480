"""How the server does and with which settings it runs, for those who look after it by the API."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request, get
from msgspec import Meta

from api.admin.bodies.members import Time, time_or_null
from api.admin.signing_keys import EXAMPLE as KEY_EXAMPLE
from api.admin.signing_keys import KeyBody, listed
from api.config.settings import Settings, effective, shown
from api.environment import default_of
from api.http.parameters import After, AtMost, Page, part
from api.monitoring import examine
from api.oauth.bearer import needing
from api.server.board import KEY, Board, WorkerStatus
from api.server.log_standing import followed
from api.services import Injected, is_of_process, running_version, services_of
from domain import server
from domain.event import Moment
from domain.keys import signing_key
from eventstore import search
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.transparency import note, published
from eventstore.transparency.keeper import configured_witnesses
from projections import event_index, outbox
from projections.event_index import NameKind
from security.clock import format_rfc3339

READ = "keys:read"
TAGS = ["Server"]

STARTS_AT_MOST = 500
"""Starts of the server that are looked through for when a setting changed."""

STATUS_EXAMPLE: dict[str, Any] = {
    "issuer": "https://login.example.com",
    "version": "1.0.0",
    "at": "2026-01-31T12:00:00.000000Z",
    "position": 4725,
    "checks": {"database": "ok", "clock": "ok"},
    "lag": {"event_index": 0, "sightings": 0, "event_counts": 0, "log_tree": 12},
    "workers": [{"pid": 4711, "state": "ready", "checks": {}}],
    "outbox": {"undistributed": 0, "destinations": [{"destination": "pager", "waiting": 1, "dead": 0}]},
    "checkpoint": {"size": 4713, "signed_at": "2026-01-31T11:59:59.000000Z", "signatures": ["login.example.com/log"]},
    "witnesses": {"configured": [], "quorum": 1},
    "keys": [KEY_EXAMPLE],
}


class UndeliveredBody(msgspec.Struct, frozen=True):
    """What a destination has not been told yet; `dead` is what is not tried any more."""

    destination: str
    waiting: int
    dead: int


class OutboxBody(msgspec.Struct, frozen=True):
    """What people are still to be told."""

    undistributed: int
    destinations: list[UndeliveredBody]


class CheckpointBody(msgspec.Struct, frozen=True):
    """The newest that is shown. `signatures` are the names of the log and of the witnesses who signed it."""

    size: int
    signed_at: Time
    signatures: list[str]


class WitnessesBody(msgspec.Struct, frozen=True):
    """Who is asked, and how many of them have to sign."""

    configured: list[str]
    quorum: int


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`checks` says `ok`, or what is wrong in words. `lag` is by how many events what follows the log is behind it."""

    issuer: str
    version: str
    at: Time
    position: int
    checks: dict[str, str]
    lag: dict[str, int]
    workers: list[WorkerStatus]
    outbox: OutboxBody
    checkpoint: CheckpointBody | None
    witnesses: WitnessesBody
    keys: list[KeyBody]


class _Standing(NamedTuple):
    position: int
    followed: Mapping[str, int]
    outbox: OutboxBody
    checkpoint: CheckpointBody | None


@get("/admin/status", **needing(READ, answer=STATUS_EXAMPLE), tags=TAGS, summary="How the server does")
async def status(
    request: Request[Any, Any, Any], ledger: Injected[Ledger], settings: Injected[Settings]
) -> ServerStatus:
    """Whether everything is in order, what is behind, and what has not been delivered."""
    checks = await examine(services_of(request))
    board: Board | None = request.app.state.get(KEY) if is_of_process(request) else None
    standing = await ledger.read(_standing)
    asked = configured_witnesses(settings.witnesses)
    return ServerStatus(
        issuer=settings.issuer,
        version=running_version(),
        at=format_rfc3339(ledger.clock.now()),
        position=standing.position,
        checks=checks,
        lag={name: max(0, standing.position - reached) for name, reached in standing.followed.items()},
        workers=[] if board is None else board.seen(),
        outbox=standing.outbox,
        checkpoint=standing.checkpoint,
        witnesses=WitnessesBody([each.key.name for each in asked], settings.witness_quorum),
        keys=list(listed(await ledger.state(signing_key.STREAM)).items),
    )


def _standing(connection: Connection) -> _Standing:
    newest = published.newest(connection)
    waiting = [UndeliveredBody(*each) for each in outbox.standing(connection)]
    return _Standing(
        search.newest(connection),
        followed(connection),
        OutboxBody(outbox.undistributed(connection), waiting),
        None
        if newest is None
        else CheckpointBody(
            newest.size, format_rfc3339(newest.time), [each.name for each in note.signatures_of(newest.note)]
        ),
    )


# Settings, as `grantlog settings` shows them, and since when each of them is what it is.

SETTINGS_EXAMPLE: dict[str, Any] = {
    "items": [
        {
            "name": "access_token_lifetime",
            "variable": "GRANTLOG_ACCESS_TOKEN_LIFETIME",
            "value": "600",
            "default": "600",
            "is_default": True,
            "meaning": "How long an access token is good.",
            "changed_at": None,
        }
    ],
    "next": None,
}


_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)", re.DOTALL)


class SettingBody(msgspec.Struct, frozen=True):
    """A setting."""

    name: str
    variable: str
    value: Annotated[str, Meta(description="As text; of a secret `set`, or nothing.")]
    default: Annotated[str, Meta(description="As text; in words where it follows from other settings.")]
    is_default: Annotated[bool, Meta(description="Whether it is as it would be if nobody had set it.")]
    meaning: str
    changed_at: Annotated[str | None, Meta(description="The start since which it has this value; null from the first.")]


@get("/admin/settings", **needing(READ, answer=SETTINGS_EXAMPLE), tags=TAGS, summary="The settings in force")
async def server_settings(
    settings: Injected[Settings], ledger: Injected[Ledger], limit: AtMost = None, after: After = None
) -> Page[SettingBody]:
    """Every setting, in the order of the documentation."""
    changed = await ledger.read(_changes)
    told = effective(settings)
    bodies = [
        SettingBody(
            each.name,
            each.variable,
            ("set" if each.value else "") if each.secret else each.value,
            _plain(each.default),
            getattr(settings, each.name) == default_of(settings, each.name),
            _plain(each.meaning),
            time_or_null(changed.get(each.name)) if each.name in told else None,
        )
        for each in shown(settings)
    ]
    return part(bodies, limit, after, kind="settings", name=lambda each: each.name)


def _plain(text: str) -> str:
    """What the documentation has as Markdown, without its marks: of a link its words."""
    return _LINK.sub(r"\1", text).replace("`", "")


def _changes(connection: Connection) -> dict[str, Moment]:
    """When each setting changed last, by the events of the server's starts."""
    tag = server.ServerStarted.type.encode()
    places = event_index.positions(connection, NameKind.TYPE, tag, 1, 2**53, STARTS_AT_MOST, descending=True)
    changed: dict[str, Moment] = {}
    for started in search.recorded_forms(connection, places):
        for name in started.event.old:
            changed.setdefault(name, started.time)
    return changed


ROUTES: list[Any] = [status, server_settings]
