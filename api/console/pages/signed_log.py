"""The log itself: how far it is signed and by whom, its key's history, how it grows, and a check of it here."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import sha256
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from litestar import Request, Response, get
from litestar.params import QueryParameter

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, handing_on, passed_through, shown
from api.console.masking import sealed
from api.console.navigation import NavigationEntry
from api.console.own_api import Query, Refused, together
from api.console.shown_events import Event
from api.http.whole_lists import JSON_LINES
from security.clock import DAY, HOUR, SECOND, format_rfc3339, parse_rfc3339

LOG = "/console/log"
PROVEN = "/console/log/export"
LATE = 5 * SECOND
MINUTE = 60 * SECOND
"""From here on an event without a signature is told."""

STRETCH = 1_000
"""Events that are checked unless somebody says otherwise."""

WIDTH, HEIGHT = 960, 64
_SIGNATURE = re.compile("^\N{EM DASH} (\\S+) (\\S+)$", re.MULTILINE)
_COSIGNATURE = 4 + 8 + 64
"""Octets of a witness's signature: the key's id, the time, Ed25519 (C2SP tlog-cosignature)."""

First = Annotated[int, QueryParameter(name="from", ge=1, le=2**53 - 1, description="The first position.")]


class LogEvents(msgspec.Struct, frozen=True):
    """A page of events."""

    items: tuple[Event, ...]


class GrowthStretch(msgspec.Struct, frozen=True, rename={"since": "from"}):
    """How many events there were from a moment on."""

    since: str
    count: int


class Growth(msgspec.Struct, frozen=True):
    """How many in each hour."""

    items: tuple[GrowthStretch, ...]


class AskedWitnesses(msgspec.Struct, frozen=True):
    """Who is asked to cosign, and how many have to."""

    configured: tuple[str, ...]
    quorum: int


class StandingOfServer(msgspec.Struct, frozen=True):
    """What the page shows of `GET /admin/status`."""

    witnesses: AskedWitnesses


class Signed(NamedTuple):
    """Somebody's signature under the checkpoint; `at` is a witness's time, None for the log's own."""

    name: str
    at: str | None


class Head(NamedTuple):
    """The newest checkpoint."""

    origin: str
    size: int
    root: str
    note: str
    signatures: tuple[Signed, ...]


class GrowthBar(NamedTuple):
    """An hour."""

    x: float
    height: float
    words: str


class LogPage(ConsolePage, frozen=True, kw_only=True):
    """`late` is how many seconds the oldest event without a signature is old, None where none is too old; `witnesses`
    is None for who may not see the server's status."""

    template: ClassVar[str] = "console/log/signed_log.html"
    head: Head | None
    vkey: str
    fingerprint: str
    late: int | None
    keys: tuple[Event, ...]
    growth: tuple[GrowthBar, ...]
    grown: int
    witnesses: AskedWitnesses | None
    first: int


def head_of(note: str) -> Head | None:
    """The checkpoint in a signed note; None where it is none."""
    text, _, _ = note.partition("\n\n")
    lines = text.split("\n")
    if len(lines) < 3 or not lines[1].isdigit():
        return None
    signatures = tuple(Signed(name, _witnessed(encoded)) for name, encoded in _SIGNATURE.findall(note))
    return Head(lines[0], int(lines[1]), lines[2], note, signatures)


def _witnessed(encoded: str) -> str | None:
    """When a witness signed; None where it is no witness's signature."""
    try:
        value = b64decode(encoded, validate=True)
    except Base64Error:
        return None
    if len(value) != _COSIGNATURE:
        return None
    return format_rfc3339(min(int.from_bytes(value[4:12], "big"), 2**37) * SECOND)


def bars_of(growth: Growth) -> tuple[GrowthBar, ...]:
    """The hours as bars."""
    most = max([1, *(each.count for each in growth.items)])
    wide = WIDTH / max(1, len(growth.items))
    return tuple(
        GrowthBar(round(number * wide, 1), round(each.count / most * HEIGHT, 1), f"{each.since[:16]}: {each.count}")
        for number, each in enumerate(growth.items)
    )


async def _public(visit: Visit, path: str) -> str:
    """A public file of the log; empty where there is none yet."""
    try:
        return (await visit.api.call("GET", path)).body.decode("utf-8", "replace")
    except Refused as refused:
        if refused.status not in (404, 503):
            raise
        return ""


async def _status(visit: Visit) -> StandingOfServer | None:
    return await visit.api.get("/admin/status", StandingOfServer) if "keys:read" in visit.may else None


async def _log(visit: Visit) -> ConsolePage:
    now = visit.services.ledger.clock.now()
    head, vkey = head_of(await _public(visit, "/log/checkpoint")), (await _public(visit, "/log/vkey")).strip()
    unsigned: Query = {"from": 1 if head is None else head.size + 1, "order": "asc", "limit": 1, **sealed()}
    history: Query = {"type": "log_key.*", "order": "asc", "limit": 200, "names": "1", **sealed()}
    # From a whole minute on: those are counted by rows.
    hours: Query = {"since": format_rfc3339(now - now % MINUTE + MINUTE - DAY), "step": HOUR // SECOND}
    waiting, keys, growth, status = await together(
        visit.api.get("/audit/events", LogEvents, unsigned),
        visit.api.get("/audit/events", LogEvents, history),
        visit.api.get("/audit/counts", Growth, hours),
        _status(visit),
    )
    age = now - parse_rfc3339(waiting.items[0].time) if waiting.items else 0
    return LogPage(
        title="Log",
        head=head,
        vkey=vkey,
        fingerprint=" ".join(re.findall(".{8}", sha256(vkey.encode()).hexdigest())) if vkey else "",
        late=age // SECOND if age > LATE else None,
        keys=keys.items,
        growth=bars_of(growth),
        grown=sum(each.count for each in growth.items),
        witnesses=None if status is None else status.witnesses,
        first=1 if head is None else max(1, head.size - STRETCH + 1),
    )


@get(LOG, **PAGE, summary="The log itself")
async def console_log(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Its newest checkpoint and who signed that, the log's key and its history, and its growth."""
    return await shown(request, _log)


@get(PROVEN, **handing_on(JSON_LINES), summary="A stretch of the log with its proof")
async def console_log_export(request: Request[Any, Any, Any], first: First = 1) -> Response[bytes]:
    """`GET /audit/export?proof=1` from a position on, for the page to check."""

    async def make(visit: Visit) -> Response[bytes]:
        return passed_through(visit, "/audit/export", {"proof": "1", "from": first}, back=LOG)

    return await shown(request, make)


ROUTES: list[Any] = [console_log, console_log_export]
NAVIGATION = (NavigationEntry(90, "Log", LOG, ("audit:read",)),)
