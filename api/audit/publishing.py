"""Publishes the log to anybody: verifier key, checkpoint and tiles (C2SP tlog-tiles), at a rate."""

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import PathParameter

from api.audit.filters import READ
from api.audit.queries.auditor import Auditor
from api.http.errors import HTTPError, Missing, TemporarilyUnavailable
from api.oauth.bearer import bearer_token, dpop_token, judge, needing
from api.services import Injected, services_of
from api.throttling.admission import admit
from domain.keys import log_key
from eventstore.ledger import Ledger
from eventstore.transparency import merkle, published
from eventstore.transparency.published import read_authentic_leaves
from security.clock import SECOND

# How the log's public files are handed out: to anybody, browsers' pages included, at a rate.

TEXT = "text/plain"
"""The framework adds the charset."""
BYTES = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
A_WHILE = "public, max-age=3600"
REVALIDATED = "no-cache"


async def admitted(connection: Any, _: object) -> None:
    """A guard that lets anybody in, at a rate; raises 429. Anyone who may read the log itself is not slowed."""
    services = services_of(connection)
    if bearer_token(connection.scope) is not None or dpop_token(connection.scope) is not None:
        with suppress(HTTPError):
            await judge(services, connection.scope, (READ,))
            return
    admit(services.throttle, connection.scope)


def file(content: bytes, media_type: str, cache: str) -> Response[bytes]:
    """A public file. Any page may read it: it names nobody and needs no credentials."""
    headers = {"cache-control": cache, "access-control-allow-origin": "*"}
    return Response(content, media_type=media_type, headers=headers)


# The log's verifier key (`GET /log/vkey`, C2SP signed-note "Verifier keys").


@get("/log/vkey", guards=[admitted], tags=["Log"], summary="The key that signs the log's checkpoints", media_type=TEXT)
async def vkey(ledger: Injected[Ledger]) -> Response[bytes]:
    """The verifier key as text; its name is the checkpoints' origin.

    It comes from the very server that it is meant to check. Pin the key that its operator gave you by other means, and
    use this one to see that they agree."""
    state: log_key.State = await ledger.state(log_key.STREAM)
    if state.verifier_key is None:
        raise TemporarilyUnavailable("The log has no key yet.")
    return file(f"{state.verifier_key}\n".encode(), TEXT, REVALIDATED)


# The log's newest checkpoint (`GET /log/checkpoint`, C2SP tlog-tiles "Checkpoints").


@get("/log/checkpoint", guards=[admitted], tags=["Log"], summary="The newest checkpoint", media_type=TEXT)
async def checkpoint(ledger: Injected[Ledger]) -> Response[bytes]:
    """A signed note (C2SP tlog-checkpoint): origin, size, root, and the signatures of the log and of its witnesses.

    `Last-Modified` says when it was signed."""
    newest = await ledger.read(published.newest)
    if newest is None:
        raise Missing("The log has no checkpoint yet; it gets one within a second of its first event.")
    answer = file(newest.note.encode(), TEXT, REVALIDATED)
    answer.headers["last-modified"] = format_datetime(datetime.fromtimestamp(newest.time // SECOND, UTC), usegmt=True)
    return answer


# The log's tiles (`GET /log/tile/…`, C2SP tlog-tiles "Merkle Tree" and "Log entries").

LONGEST_LEVEL = len("63")
LONGEST_REST = len("x000/" * 6 + "000.p/255")

NO_TILE = "The log has no such tile, or has not come so far."

Level = Annotated[
    str,
    PathParameter(
        description="The tile's level; 0 holds the hashes of the events.", schema_extra={"max_length": LONGEST_LEVEL}
    ),
]
Rest = Annotated[
    str,
    PathParameter(
        description="The tile's number in groups of three digits, all but the last behind an `x`, and `.p/` with the "
        "width of a partial one: `x001/x234/067.p/12`.",
        # What is longer is no tile, which is 404.
        schema_extra={"max_length": LONGEST_REST},
    ),
]


@get("/log/tile/{level:str}/{rest:path}", guards=[admitted], tags=["Log"], summary="A tile of hashes", media_type=BYTES)
async def tile(ledger: Injected[Ledger], level: Level, rest: Rest) -> Response[bytes]:
    """Consecutive hashes of 32 bytes: 256 of them, or as many as a partial tile's path says."""
    address = merkle.parse_path(f"{level}{rest}")
    if address is None or address.level is None:
        raise Missing(NO_TILE)
    hashes = await ledger.read(published.tile, address.level, address.number, address.width)
    if hashes is None:
        raise Missing(NO_TILE)
    return file(hashes, BYTES, FOR_EVER if address.width == merkle.WIDTH else A_WHILE)


@get("/log/tile/entries/{rest:path}", **needing(READ), tags=["Log"], summary="A bundle of events", media_type=BYTES)
async def entries(asking: Injected[Auditor], rest: Rest) -> Response[bytes]:
    """The stored forms of 256 events, or of as many as the path says, each behind its length in two bytes."""
    address = merkle.parse_path(f"entries{rest}")
    bundle = None
    if address is not None:
        bundle = await asking.sources.ledger.read(
            published.entry_bundle, address.number, address.width, read_authentic_leaves
        )
    if address is None or bundle is None:
        raise Missing(NO_TILE)
    first = address.number * merkle.WIDTH + 1
    await asking.record(
        "entries", {"from": str(first), "to": str(first + address.width - 1)}, address.width, unsealed=False
    )
    return Response(bundle, media_type=BYTES)


ROUTES: list[Any] = [vkey, checkpoint, tile, entries]
