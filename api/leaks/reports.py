"""What becomes of a secret that somebody reports as found in the open: an incident, and by policy its end."""

import re
from collections.abc import Container, Iterable
from hashlib import sha256
from math import ceil
from typing import Any, NamedTuple

import msgspec

from api.leaks import mailed_target, reported_keys
from api.leaks.address_target import begin_settling
from api.leaks.containment import Containment, Wanted
from api.leaks.targets import Target, of_secret
from api.services import origin
from commands import incidents
from domain.decision import Conflict, Refusal
from domain.event import Actor, Recorded
from domain.incident import Source
from eventstore import issued
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.unavailable import ArchiveAway, DatabaseAway, IndexBehind, LedgerOverloaded
from security.masking import masking
from security.scanning import extract
from security.tokens import ALPHABET, ID_LENGTH, Format, Kind, digest

FINDINGS_AT_MOST = 10_000
"""In one report."""

EVIDENCE_VALUE = 2_000
"""Characters that one of the four parts of the evidence may have as it stands there, in JSON."""

ESCAPED = 6
"""Characters that one becomes in JSON at most: `\\u0000` (RFC 8259 §7)."""

_BLOB = re.compile(r"https://[^/]+/(?P<repository>[^/]+/[^/]+)/(?:blob|commit|raw)/(?P<commit>[0-9a-f]{40,64})\b")


class Finding(NamedTuple):
    """A string that was found, and where: its address and, in GitHub's words, what sort of place that is."""

    raw: str
    url: str = ""
    place: str = ""


def reporter(connection: Any, source: Source) -> Origin:
    """Who reports: no person and no client of ours, but somebody who has proved to be that service."""
    return origin(connection.scope, Actor("system", None, {"intake": source}))


async def take(
    ledger: Ledger, format: Format, findings: Iterable[Finding], source: Source, contain: Container[str], by: Origin
) -> list[bool]:
    """Opens an incident for each that has our format, or is a client's private key, and ends what is alive if its kind
    is among `contain`; such a key is its client's credential like a secret. A private half of one of this server's own
    keys is an alarm. True for what was issued or is known here, dead or alive. What goes wrong with one is raised when
    all the others were taken, so that anyone who reports comes again: the same finding once more does nothing."""
    ours: list[bool] = []
    failed: Exception | None = None
    for finding in findings:
        known = False
        # Every secret in what was found, whatever is around it.
        secrets = [secret.reveal() for secret in extract(finding.raw, format).secrets]
        for take_one, raw in ((_take_keys, finding.raw), *((_take, each) for each in secrets)):
            try:
                known |= await take_one(ledger, format, finding._replace(raw=raw), source, contain, by)
            except (ArchiveAway, IndexBehind) as error:
                failed = error
            except (DatabaseAway, LedgerOverloaded):
                raise
            except Exception as error:
                # A bug about one must not keep the others alive, nor must a segment that is away or an index behind.
                failed = error
        ours.append(known)
    if failed is not None:
        raise failed
    return ours


async def _take_keys(
    ledger: Ledger, format: Format, finding: Finding, source: Source, contain: Container[str], by: Origin
) -> bool:
    held = await reported_keys.held(ledger, by, await reported_keys.found_in([finding.raw]))
    for target in await reported_keys.targets(ledger, held.of_clients) if held.of_clients else ():
        await _take_key(ledger, format, finding, source, target, by, ends=Kind.CLIENT_SECRET.value in contain)
    return bool(held.own or held.of_clients)


async def _take_key(
    ledger: Ledger, format: Format, finding: Finding, source: Source, target: Target, by: Origin, *, ends: bool
) -> None:
    """The same finding once more does nothing, as with a secret."""
    (leaked,) = target.leaked
    # Nobody guesses it who has nothing but the public half.
    incident_id = _incident_id(source, finding, digest(finding.raw + leaked.sha256))
    said = incidents.LeakReport(source, evidence(format, finding), leaked.sha256, leaked.kind)
    first: list[Step] = [incidents.report(incident_id, said)]
    recorded: list[Recorded] = []

    async def execute(*steps: Step) -> tuple[Recorded, ...]:
        executed = await ledger.execute(*first, *steps, origin=by)
        first.clear()
        _require_done(executed.refusal)
        recorded.extend(executed.recorded)
        return executed.recorded

    if not ends:
        await execute(incidents.identify(incident_id, _about(target)))
        return
    containment = Containment(ledger, target, Wanted(), incident_id)
    await containment.prepare()
    await containment.end_at_once(execute)
    if recorded:
        await execute(*containment.commands())
        begin_settling(ledger)


def _require_done(refusal: Refusal | None) -> None:
    if refusal is not None and refusal.reason is not Conflict.EXISTS:
        raise AssertionError(f"a finding was refused: {refusal.reason}")


def _about(target: Target) -> incidents.About:
    return incidents.About(target.kind, target.client_id, target.account_id, target.secret_id, target.grant_id)


async def _take(
    ledger: Ledger, format: Format, finding: Finding, source: Source, contain: Container[str], by: Origin
) -> bool:
    """The same finding once more does nothing: the incident's id follows from it, and under the lock a stream begins
    only once."""
    kind = format.parse(finding.raw)
    if kind is None:
        return False
    found = await ledger.read(issued.find, digest(finding.raw))
    targets = (
        [await ledger.read(of_secret, found)] if found else await mailed_target.targets(ledger, [digest(finding.raw)])
    )
    target = targets[0] if targets else None
    commands = _commands(ledger, format, finding, source, target, ends=kind.value in contain)
    executed = await ledger.execute(*commands, origin=by)
    _require_done(executed.refusal)
    return target is not None


def _commands(
    ledger: Ledger, format: Format, finding: Finding, source: Source, target: Target | None, *, ends: bool
) -> tuple[Step, ...]:
    incident_id = _incident_id(source, finding, digest(finding.raw))
    kind = None if target is None or not target.leaked else target.leaked[0].kind
    said = incidents.LeakReport(source, evidence(format, finding), digest(finding.raw).hex(), kind)
    reported = incidents.report(incident_id, said)
    if target is None:
        return (reported,)
    if ends:
        return (reported, *Containment(ledger, target, Wanted(), incident_id).commands())
    return (reported, incidents.identify(incident_id, _about(target)))


def evidence(format_: Format, finding: Finding) -> str:
    """Where it was found, as JSON; repository and commit as far as the address tells. No secret of ours is in it."""
    where = _BLOB.match(finding.url)
    told = {
        "url": finding.url,
        "source": finding.place,
        "repository": where["repository"] if where else "",
        "commit": where["commit"] if where else "",
    }
    cleaned = {name: _cleaned(format_, text, finding.raw) for name, text in told.items() if text}
    return msgspec.json.encode(cleaned).decode()


def _cleaned(format_: Format, text: str, raw: str) -> str:
    """Without secrets, which an address may well hold; only then cut, so that none is left in halves."""
    text = text.replace(raw, format_.mask(raw))
    for kind in Kind:
        text = re.sub(format_.pattern(kind), lambda match: format_.mask(match[0]), text)
    return _cut(masking(*format_.prefixes).text(text))


def _cut(text: str) -> str:
    """As much of it as has `EVIDENCE_VALUE` characters in JSON, whatever they are."""
    text = text[:EVIDENCE_VALUE]
    while (over := len(msgspec.json.encode(text).decode()) - len('""') - EVIDENCE_VALUE) > 0:
        text = text[: -ceil(over / ESCAPED)]
    return text


def _incident_id(source: Source, finding: Finding, secret: bytes) -> str:
    """The same for the same finding, and for nobody to guess who does not know the secret."""
    parts = (source, secret.hex(), finding.url, finding.place)
    number = int.from_bytes(sha256("\0".join(parts).encode()).digest(), "big")
    characters = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, 62)
        characters.append(ALPHABET[digit])
    return "".join(characters)
