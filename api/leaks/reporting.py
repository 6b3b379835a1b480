"""One answer of an investigation, as of now or of a moment that has passed.

An investigation looks at the log as it stood then; only what is alive of a client's secret now is counted otherwise.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from api.audit.queries.auditor import Auditor
from api.audit.queries.search import Point
from api.leaks import issuer_keys, key_investigation, mailed_target
from api.leaks.investigation import AWAY, InvestigatedSecret, Report, WhichCounts, answered
from api.leaks.key_target import KIND
from api.leaks.radius import radius_by_kind
from api.leaks.resolve import Candidate
from api.leaks.targets import numbers
from eventstore import affected, issued, time_travel
from eventstore.affected import counted
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.leaked import keys
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.recorder import portions
from eventstore.time_travel import AT_ONCE, Descendant, descendants, states_at
from eventstore.unavailable import ArchiveAway
from projections.blast_radius import Alive


def away(question: Candidate) -> Report:
    """The answer about what nothing can be said of at present."""
    return Report(sha256=question.sha256, kind=question.kind, state=AWAY, derived=None, containment=None)


async def or_away(
    asking: Auditor, question: Candidate, where: Point | None, *, counts: WhichCounts
) -> Report | ArchiveAway:
    """The answer about one string, or why none can be given."""
    try:
        return await _report(asking, question, where, counts=counts)
    except ArchiveAway as error:
        return error


async def _report(asking: Auditor, question: Candidate, where: Point | None, *, counts: WhichCounts) -> Report:
    ledger, personal = asking.sources.ledger, asking.personal
    head, now = where or (ledger.changes.position, asking.now)
    past = where is not None
    asked = InvestigatedSecret(question.sha256, question.kind, question.problem, head, now, personal, past)
    report = await (_as_it_was if past else answered)(ledger, asked, counts=counts)
    if report.state != "unknown":
        return report
    if (mailed := await mailed_target.answered(ledger, asked)) is not None:
        return mailed if counts else replace(mailed, derived=None, containment=None)
    if question.kind not in (None, KIND):
        return report
    of_client = await key_investigation.answered(ledger, asked, counts=counts)
    return of_client or await issuer_keys.answered(ledger, asked, counts=counts) or report


async def _as_it_was(ledger: Ledger, asked: InvestigatedSecret, *, counts: WhichCounts) -> Report:
    """The answer about one secret as it was then."""
    found = None
    if asked.problem is None:
        found = await ledger.read(issued.find, bytes.fromhex(asked.sha256))
    if found is None or found.kind != "client_secret":
        return await answered(ledger, asked, counts=counts)
    report = await answered(ledger, asked, counts=0)
    judged = await ledger.read(time_travel.judge, found, asked.head, asked.now)
    report = replace(report, state=judged.reason)
    if not counts:
        return report
    await CatchUpSubscription(ledger, EventIndexing()).follow()
    positions = await ledger.read_long(affected.with_secret, found.secret_id or "", asked.head)
    ever = await ledger.read_long(keys.issued, positions)
    own, ending = await ledger.read_long(_alive, found, positions, asked)
    return replace(
        report,
        derived=radius_by_kind(ever, own),
        containment=numbers(ending, int(judged.reason in ("active", "not_yet_issued", "client_disabled"))),
    )


def _alive(
    connection: Connection, found: IssuanceRecord, positions: Sequence[int], asked: InvestigatedSecret
) -> tuple[Alive, Alive]:
    """What of the version's own was alive, and what would have ended with it, others' in exchange for it too."""
    state, own, ending = states_at(connection, asked.head), Alive(), Alive()
    for portion in portions(keys.grants(connection, positions), AT_ONCE):
        came = descendants(connection, state, portion, asked.head, asked.now)
        own = own.plus(counted(came, lambda each: each.secret_id == found.secret_id))
        ending = ending.plus(counted(came, lambda each: _ends_with(each, found.secret_id)))
    return own, ending


def _ends_with(each: Descendant, secret_id: str | None) -> bool:
    return secret_id in (each.secret_id, *(through for _, through in each.through))
