"""`POST /credentials/revoke`: anyone who holds a secret may end it. Nobody learns from it whether it was one."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta

from api.http.errors import Unprocessable
from api.leaks import reported_keys
from api.leaks.address_target import GatheredTarget, begin_settling
from api.leaks.containment import Containment, Wanted
from api.leaks.targets import Alone, Target, grouped, merged, of_secret
from api.services import Injected, origin
from api.throttling.admission import admit, admit_private_keys, charge
from api.throttling.throttle import Throttle
from domain.event import Moment, Recorded
from domain.incident import Numbers, Source
from eventstore import issued
from eventstore import reported as eventstore_reported
from eventstore.database import Connection
from eventstore.execution import Origin, Step
from eventstore.issued import IssuanceRecord
from eventstore.ledger import Ledger
from eventstore.pending import device_requests, mailed_links
from eventstore.reported import ReportedSecret
from eventstore.unavailable import ArchiveAway, DatabaseAway, IndexBehind, LedgerOverloaded
from security import pasted_keys
from security.scanning import LONGEST, MOST, extract_all
from security.tokens import Format, new_id
from security.vault import Vault

# Ends secrets for somebody who holds them and is asked nothing else; what lived is reported as an incident.


def reported(connection: Connection, digests: Sequence[bytes]) -> tuple[list[Target], list[bytes]]:
    """What these secrets are, each by itself; nothing for those that were never issued. And those of which that cannot
    be told at present."""
    found, away = issued.find_each(connection, digests)
    return [_alone(connection, found[digest]) for digest in digests if digest in found], list(away)


def _alone(connection: Connection, found: IssuanceRecord) -> Target:
    """An access token ends alone (RFC 7009 §2.1)."""
    target = of_secret(connection, found)
    if found.kind != "access" or found.grant_id is None or found.expires_at is None:
        return target
    return target._replace(grants=(), alone=(Alone(found.grant_id, found.sha256, found.expires_at),))


async def end(ledger: Ledger, target: Target, origin: Origin, source: Source = "public_revocation") -> str | None:
    """Ends what is alive of it, in one transaction with its incident, whose id is returned. None, and nothing is
    recorded, where all is dead already: nobody fills the log with repeats."""
    if target.gathered is not None:
        return await _end_gathered(ledger, target, target.gathered, origin, source)
    containment = Containment(ledger, target, Wanted(), source=source, only_alive=True)
    await containment.prepare()
    executed: Any = await ledger.execute(*containment.commands(), origin=origin)
    return None if executed.refusal is not None else containment.incident_id


async def _end_gathered(
    ledger: Ledger, target: Target, gathered: GatheredTarget, origin: Origin, source: Source
) -> str | None:
    """The same of a key. Its grants' own ends follow."""
    containment = Containment(ledger, target, Wanted(), source=source)
    await containment.prepare()
    if (await gathered.tried(ledger)).numbers == Numbers():
        return None

    async def execute(*steps: Step) -> tuple[Recorded, ...]:
        return (await ledger.execute(*steps, origin=origin)).recorded

    await containment.end_at_once(execute)
    await execute(*containment.commands())
    begin_settling(ledger)
    return containment.incident_id


CHARACTERS = 16_384
"""Of a text, that count as much as a secret does."""

WAITING = 64
"""Requests whose secrets are being ended at a time; anyone who comes later is told to come again."""

AWAY_AT_MOST = 3
"""Secrets of a report, one after the other, for which the database is tried in vain before the rest is left."""

TOGETHER = 10
"""Reports that are taken up again at a time."""

ATTEMPTS = 50
"""How often a report is taken up again, in two days, before what is left of it is given up."""

log = structlog.get_logger("api")

_ENDING: dict[asyncio.Task[None], Ledger] = {}


class LeakedCredentials(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Texts with secrets in them, whatever surrounds or encodes these."""

    credentials: Annotated[
        list[Annotated[str, Meta(max_length=LONGEST)]],
        Meta(
            description=f"At most {MOST}, with at most so many secrets in all; more are refused with 422.",
            extra_json_schema={"maxItems": MOST},
        ),
    ]


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What anybody can see by its looks: how many secrets have our form and checksum, issued or not, and how many have
    the form alone. `keys` is there where private keys are: how many, whosever they are."""

    accepted: int
    damaged: int
    keys: int = 0


@post(
    "/credentials/revoke",
    status_code=202,
    opt={"example": {"credentials": ["glog_at_…"]}, "answer": {"accepted": 1, "damaged": 0}, "lists": True},
    security=[{}],
    tags=["Leaks"],
    summary="End secrets that somebody found",
)
async def revoke_credentials(
    request: Request[Any, Any, Any],
    data: JSONBody[LeakedCredentials],
    ledger: Injected[Ledger],
    token_format: Injected[Format],
    throttle: Injected[Throttle],
) -> Response[Accepted]:
    """No authentication: who holds a secret may end it. Every secret in the texts ends, with one incident for each
    client. An access token ends alone, a code or refresh token with its grant, a client secret with every token that it
    authenticated, a browser session with its sign-in. A client's private key ends with all that was given for it or is
    bound to it; a public half ends nothing."""
    admit(throttle, request.scope, "credentials")
    if len(data.credentials) > MOST:
        raise Unprocessable(f"At most {MOST} credentials at a time.")
    came = origin(request.scope)
    found = await asyncio.to_thread(extract_all, data.credentials, token_format)
    blocks = await reported_keys.count_in(data.credentials)
    several = len(found.secrets) + blocks
    # The first was counted before anything was looked at. To look through a long text is work as well.
    charge(throttle, request.scope, "credentials", min(MOST, max(several, found.characters // CHARACTERS)) - 1)
    if several > MOST:
        raise Unprocessable(f"At most {MOST:,} secrets at a time.")
    if len(_ending(ledger)) >= WAITING:
        raise LedgerOverloaded
    if blocks:
        admit_private_keys(throttle, request.scope)
    pasted = await reported_keys.found_in(data.credentials)
    digests = [each.sha256 for each in found.secrets]
    try:
        held = await reported_keys.held(ledger, came, pasted)
    except IndexBehind:
        # No secret waits for what is said of a key. Whoever comes again with both ends no secret twice.
        if digests:
            await _accepted(ledger, ReportedSecret(new_id(), came.request_id, digests), came)
        raise
    keys = [bytes.fromhex(pasted_keys.hex_of(each)) for each in held.of_clients]
    if digests or keys:
        await _accepted(ledger, ReportedSecret(new_id(), came.request_id, digests, keys=keys), came)
    counted = Accepted(len(found.secrets), len(found.damaged), sum(len(each.says) for each in pasted))
    return Response(counted, status_code=202)


async def _accepted(ledger: Ledger, report: ReportedSecret, came: Origin) -> None:
    """Returns when the report is on the disk, and raises what keeps it from there. What follows is a task's own."""
    kept = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(_take(ledger, report, came, kept))
    _ENDING[task] = ledger
    task.add_done_callback(_ENDING.pop)
    await kept


def _keep(connection: Connection, vault: Vault, report: ReportedSecret, now: Moment) -> None:
    eventstore_reported.keep(connection, vault, report, now)
    # Nobody has anything for the code of a device that waits, or for a link that was mailed, so there is nothing to end
    # but the waiting.
    device_requests.forget(connection, report.digests)
    mailed_links.forget(connection, report.digests)


async def _take(ledger: Ledger, report: ReportedSecret, came: Origin, kept: "asyncio.Future[None]") -> None:
    try:
        await ledger.maintain(_keep, ledger.vault, report, ledger.clock.now())
    except Exception as error:
        if not kept.done():
            kept.set_exception(error)
        return
    # Anyone who reported may have gone meanwhile.
    if not kept.done():
        kept.set_result(None)
    # The answer goes first.
    await asyncio.sleep(0)
    await _end_all(ledger, report, came)


async def resume(ledger: Ledger) -> None:
    """Takes up what was accepted and could not be ended: its process was killed, or something failed."""
    while await ledger.read(eventstore_reported.is_due, ledger.clock.now()):
        for report in await ledger.maintain(eventstore_reported.take_up, ledger.vault, ledger.clock.now(), TOGETHER):
            # Who reported is not remembered, only with which request.
            await _end_all(ledger, report, Origin(request_id=report.request_id))


async def _end_all(ledger: Ledger, report: ReportedSecret, came: Origin) -> None:
    """Ends what it can. The rest waits for `resume`."""
    try:
        targets, away = await ledger.read(reported, report.digests)
        keys, behind = await _of_keys(ledger, report.keys)
        left = [*away, *behind, *await _end_together(ledger, [*targets, *keys], came)]
    except (DatabaseAway, LedgerOverloaded):
        left = [*report.digests, *report.keys]
    if left and report.attempts >= ATTEMPTS:
        log.error("reported secrets are given up", secrets=len(left), request_id=report.request_id)
        left = []
    elif left:
        log.warning("reported secrets have to wait", secrets=len(left), attempts=report.attempts)
    try:
        await ledger.maintain(eventstore_reported.leave, ledger.vault, report, left)
    except Exception as error:
        # To end them again, when the lease is over, changes nothing.
        log.warning("a report is kept although it is done", reason=type(error).__name__)


async def _of_keys(ledger: Ledger, digests: Sequence[bytes]) -> tuple[list[Target], Sequence[bytes]]:
    """What to end of clients' keys, and those that wait for the search index. They keep no secret waiting."""
    if not digests:
        return [], ()
    try:
        return await reported_keys.targets(ledger, [pasted_keys.of_hex(each.hex()) for each in digests]), ()
    except IndexBehind:
        return [], digests


async def _end_together(ledger: Ledger, targets: Sequence[Target], came: Origin) -> list[bytes]:
    """Ends those of one client by one incident; the digests of what could not be ended. No fault about one secret keeps
    the others alive: those of its client are then ended one by one."""
    left: list[bytes] = []
    keys = [[each] for each in targets if each.gathered is not None]
    away, waiting = 0, deque([*grouped(each for each in targets if each.gathered is None), *keys])
    while waiting:
        several = waiting.popleft()
        try:
            if away < AWAY_AT_MOST:
                await end(ledger, merged(several), came)
                away = 0
                continue
        except ArchiveAway:
            if _divided(waiting, several):
                continue
        except (DatabaseAway, LedgerOverloaded):
            away += 1
        except Exception:
            if _divided(waiting, several):
                continue
            log.exception("a reported secret was not ended", sha256=several[0].sha256)
        left += [bytes.fromhex(secret.sha256) for target in several for secret in target.leaked]
    return left


def _divided(waiting: deque[list[Target]], several: Sequence[Target]) -> bool:
    """Whether there are several, which are then ended one by one."""
    if len(several) > 1:
        waiting.extendleft([each] for each in reversed(several))
    return len(several) > 1


def _ending(ledger: Ledger) -> list[asyncio.Task[None]]:
    return [task for task, its in _ENDING.items() if its is ledger]


async def ended(ledger: Ledger) -> None:
    """Returns when everything that was accepted there has ended or waits for `resume`."""
    while ending := _ending(ledger):
        await asyncio.gather(*ending)


ROUTES: list[Any] = [revoke_credentials]
