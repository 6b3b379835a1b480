"""The log's tiles (`GET /log/tile/…`, C2SP tlog-tiles "Merkle Tree" and "Log entries").

Hashes are public: they tell nothing of the events, whose ids nobody can guess. The events themselves are for auditors.
"""

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import PathParameter

from api.access import needing
from api.audit.answering.auditor import Auditor
from api.audit.asking import READ
from api.dependencies import Injected
from api.log.publishing import A_WHILE, BYTES, FOR_EVER, admitted, file
from api.problems import Missing
from eventstore.ledger import Ledger
from eventstore.transparency import published, tiles
from eventstore.transparency.leaves import read_authentic_leaves

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
async def tile(
    ledger: Injected[Ledger],
    level: Level,
    rest: Rest,
) -> Response[bytes]:
    """Consecutive hashes of 32 bytes: 256 of them, or as many as a partial tile's path says."""
    address = tiles.parse_path(f"{level}{rest}")
    if address is None or address.level is None:
        raise Missing(NO_TILE)
    hashes = await ledger.read(published.tile, address.level, address.number, address.width)
    if hashes is None:
        raise Missing(NO_TILE)
    return file(hashes, BYTES, FOR_EVER if address.width == tiles.WIDTH else A_WHILE)


@get("/log/tile/entries/{rest:path}", **needing(READ), tags=["Log"], summary="A bundle of events", media_type=BYTES)
async def entries(asking: Injected[Auditor], rest: Rest) -> Response[bytes]:
    """The stored forms of 256 events, or of as many as the path says, each behind its length in two bytes."""
    address = tiles.parse_path(f"entries{rest}")
    bundle = None
    if address is not None:
        bundle = await asking.here.ledger.read(
            published.entry_bundle, address.number, address.width, read_authentic_leaves
        )
    if address is None or bundle is None:
        raise Missing(NO_TILE)
    first = address.number * tiles.WIDTH + 1
    await asking.record(
        "entries", {"from": str(first), "to": str(first + address.width - 1)}, address.width, unsealed=False
    )
    return Response(bundle, media_type=BYTES)


ROUTES: list[Any] = [tile, entries]
