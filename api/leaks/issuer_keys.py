"""What a pasted key is that is no client's: one that this server signs with, or by which a trusted issuer is verified.

No containment ends those, so the answer says what does.
"""

import asyncio
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Literal, NamedTuple

import structlog
from msgspec.structs import replace

from api.http.errors import Clash
from api.leaks.investigation import InvestigatedSecret, Report
from api.leaks.radius import radius_by_kind
from commands import signing_keys
from domain.event import Moment
from domain.keys import signing_key
from eventstore.affected import IssuedCounts, counted
from eventstore.database import Connection
from eventstore.execution import Origin
from eventstore.leaked import key_state
from eventstore.leaked.marked import Marked
from eventstore.ledger import Ledger
from eventstore.time_travel import Descendant
from projections.blast_radius import Alive
from security import pasted_keys
from security.clock import format_rfc3339

log = structlog.get_logger("api")

SIGNING_KEY, TRUSTED_KEY = "signing_key", "trusted_issuer_key"
OWN = (
    "This server signs tokens with it. If its private half is out, anybody can: "
    'POST /admin/keys/rotate with {"compromised": true} revokes it at once.'
)
TRUSTED = (
    "Assertions of the trusted issuer %s are verified by it. If its private half is out, have the issuer replace it, "
    "and PUT /admin/trusted-issuers/%s without it."
)


class IssuerKey(NamedTuple):
    """Such a key: what ends it, since when it is known here, and by which marks what came of it is found."""

    kind: Literal["signing_key", "trusted_issuer_key"]
    advice: str
    since: Moment
    marks: tuple[Marked, ...]


async def find(ledger: Ledger, thumbprint: str) -> IssuerKey | None:
    """What the key with this thumbprint is; None where it is none of these."""
    state: signing_key.State = await ledger.state(signing_key.STREAM)
    if (key := state.keys.get(thumbprint)) is not None:
        own = Marked("signing_key", thumbprint, key.introduced_at)
        return IssuerKey("signing_key", OWN, key.introduced_at, (own,))
    stretches = await ledger.read(key_state.trusted, thumbprint)
    if not stretches:
        return None
    name = stretches[-1].name
    marks = tuple(
        Marked("asserted_by", each.name, each.began.time, None if each.ended is None else each.ended.position)
        for each in stretches
    )
    return IssuerKey("trusted_issuer_key", TRUSTED % (name, name), min(each.since for each in marks), marks)


async def answered(ledger: Ledger, asked: InvestigatedSecret, *, counts: int) -> Report | None:
    """The answer about such a key; None where it is none."""
    thumbprint = pasted_keys.of_hex(asked.sha256)
    found = await find(ledger, thumbprint)
    if found is None:
        return None
    judged = await ledger.read_long(key_state.judge, thumbprint, asked.head, asked.now)
    report = Report(
        sha256=asked.sha256,
        kind=found.kind,
        state=None if judged is None else judged.standing.reason,
        issued_at=format_rfc3339(found.since),
        advice=found.advice,
        containment=None,
    )
    if not counts:
        return replace(report, derived=None)
    ever, alive = await ledger.read_long(_radius, found.marks, asked)
    return replace(report, derived=radius_by_kind(ever, alive))


def _radius(connection: Connection, marks: Iterable[Marked], asked: InvestigatedSecret) -> tuple[IssuedCounts, Alive]:
    ever, alive = IssuedCounts(), list[Descendant]()
    for each in marks:
        told = each.issued(connection, asked.head)
        ever = IssuedCounts(ever.grants + told.grants, 0, ever.access_tokens + told.access_tokens, 0)
        alive += each.alive(connection, asked.head, asked.now)
    return ever, counted(alive)


async def require_none(ledger: Ledger, origin: Origin, named: Mapping[str, str]) -> None:
    """Raises 409 with what ends them for keys of which no containment takes care, where nothing else was named."""
    text = named.get("secret")
    word = None if text is None else pasted_keys.thumbprint_in(text)
    digests = (named.get("sha256") or named.get("digests") or "").split()
    thumbprints = [*await tell_pasted(ledger, origin, text), *map(pasted_keys.of_hex, digests)]
    thumbprints += [] if word is None else [word]
    found = [await find(ledger, each) for each in dict.fromkeys(thumbprints)]
    advice = list(dict.fromkeys(each.advice for each in found if each is not None))
    if advice:
        kind = next(each.kind for each in found if each is not None)
        raise Clash(" ".join(advice), reason=kind)


# A private half in somebody's text --------------------------------------------------------------------------------


async def tell_pasted(ledger: Ledger, origin: Origin, text: str | None) -> list[str]:
    """The thumbprints of the keys in a text, once it is recorded which private halves of this server's are there."""
    if text is None or not pasted_keys.may_be_in(text):
        return []
    found = await asyncio.to_thread(pasted_keys.found_in, text)
    thumbprints = list(chain.from_iterable(found))
    await tell_exposed(ledger, origin, text, thumbprints)
    return thumbprints


async def tell_exposed(ledger: Ledger, origin: Origin, text: str, thumbprints: Iterable[str]) -> list[str]:
    """Records that a text holds the private half of one of this server's own keys: an alarm, once for each key. What
    was public anyway is none. The ids of those keys."""
    state: signing_key.State = await ledger.state(signing_key.STREAM)
    own = frozenset(each for each in thumbprints if each in state.keys)
    if not own:
        return []
    found = await asyncio.to_thread(pasted_keys.private_in, text, own)
    for key_id in found:
        log.warning("private half of an own signing key pasted", kid=key_id, standing=state.keys[key_id].standing)
        await ledger.execute(signing_keys.expose(key_id), origin=origin)
    return found
