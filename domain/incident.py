"""A leak: what was reported, what it turned out to be, what was done about it. Stream `incident:<incident_id>`.

Reported → identified → contained → closed. What an incident tells about people is sealed under a key of its own.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded, Sealed, sealed

Source = Literal["administrator", "command_line", "github", "gitlab", "public_revocation", "policy"]
Status = Literal["reported", "identified", "contained", "closed"]
TargetKind = Literal["secret", "secret_version", "client", "account", "address", "key"]

EVIDENCE_MAXIMUM = 8_100
"""Characters of evidence, with the address that a containment adds to what somebody wrote."""

WRITTEN_MAXIMUM = 8_000
"""Characters that somebody may write of a leak."""

NOTE_MAXIMUM = 2_000

INFORMED_MAXIMUM = 500
"""Characters that somebody may write of whom they told of it."""

TOGETHER = 400
"""Secrets that one event names: what keeps it within the length of a stored form."""


def stream(incident_id: str) -> str:
    """The stream of this incident."""
    return f"incident:{incident_id}"


# Facts ------------------------------------------------------------------------------------------------------------


class Numbers(msgspec.Struct, frozen=True):
    """What a containment ends: secret versions, grants, tokens and codes that were alive, and whose they were."""

    secrets_ended: int = 0
    grants_ended: int = 0
    tokens_ended: int = 0
    people_affected: int = 0


class Leaked(msgspec.Struct, frozen=True):
    """A secret that leaked: its digest, and what its format says that it is."""

    sha256: str
    kind: str | None = None


class IncidentReported(Event, frozen=True, kw_only=True):
    """Somebody reported a leak, or contained one. `evidence` is what they say of it: where it was found, by whom.

    `sha256` is the digest of what leaked and `kind` what its format says that it is; of what never was a secret of ours
    neither is recorded.
    """

    type = "incident.reported"
    in_doubt = True
    personal = ("evidence",)

    source: Source
    evidence: str | None = None
    sha256: str | None = None
    kind: str | None = None


class IncidentIdentified(Event, frozen=True, kw_only=True):
    """It is known what leaked and whose it is."""

    type = "incident.identified"
    in_doubt = True

    target: TargetKind
    client_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    grant_id: str | None = None


class EvidenceAdded(Event, frozen=True, kw_only=True):
    """Somebody who contained it once more said more of it."""

    type = "incident.evidence_added"
    in_doubt = True
    personal = ("evidence",)

    evidence: str


class SecretsAdded(Event, frozen=True, kw_only=True):
    """More secrets of the same client or person leaked than the one that the incident was opened with."""

    type = "incident.secrets_added"
    in_doubt = True

    secrets: tuple[Leaked, ...]


class IncidentContained(Event, frozen=True, kw_only=True):
    """What had leaked was ended, with what had come of it: all, or since a moment.

    Anyone who validates JWTs among it offline takes them until `offline_until`, null where there are none.
    """

    type = "incident.contained"
    in_doubt = True

    numbers: Numbers
    since_at: Moment | None = None
    rotated: bool = False
    client_disabled: bool = False
    offline_until: Moment | None = None


class IncidentAssigned(Event, frozen=True, kw_only=True):
    """Somebody looks after it from now on, or nobody any more."""

    type = "incident.assigned"
    in_doubt = True

    account_id: str | None = None


class SomebodyInformed(Event, frozen=True, kw_only=True):
    """Somebody was told of it by hand. `whom` says who and how, such as by telephone."""

    type = "incident.somebody_informed"
    in_doubt = True
    personal = ("whom",)

    whom: str


class IncidentClosed(Event, frozen=True, kw_only=True):
    """Nothing is left to be done."""

    type = "incident.closed"
    in_doubt = True
    personal = ("note",)

    note: str | None = None


EVENTS: tuple[type[Event], ...] = (
    IncidentReported,
    IncidentIdentified,
    EvidenceAdded,
    SecretsAdded,
    IncidentContained,
    IncidentAssigned,
    SomebodyInformed,
    IncidentClosed,
)


class State(msgspec.Struct, frozen=True):
    """The incident as its events tell: the newest `evidence`, all containments' `numbers`, each secret's digest."""

    exists: bool = False
    status: Status = "reported"
    source: Source = "administrator"
    evidence: Sealed | None = None
    sha256: str | None = None
    kind: str | None = None
    secrets: frozenset[str] = frozenset()
    target: TargetKind | None = None
    client_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    grant_id: str | None = None
    numbers: Numbers = Numbers()
    assignee: str | None = None
    reported_at: Moment | None = None
    contained_at: Moment | None = None
    closed_at: Moment | None = None
    note: Sealed | None = None


INITIAL = State()

# Verbs ------------------------------------------------------------------------------------------------------------


def report(
    state: State,
    *,
    now: Moment,
    source: Source,
    evidence: str | None = None,
    sha256: str | None = None,
    kind: str | None = None,
) -> Outcome:
    """Opens the incident."""
    if state.exists:
        return refuse(Conflict.EXISTS)
    if evidence is not None and len(evidence) > EVIDENCE_MAXIMUM:
        return _too_long()
    return accept(IncidentReported(source=source, evidence=evidence, sha256=sha256, kind=kind))


def add_evidence(state: State, *, now: Moment, evidence: str) -> Outcome:
    """Records what else is said of an incident that is not closed."""
    if refused := _over(state):
        return refused
    return _too_long() if len(evidence) > EVIDENCE_MAXIMUM else accept(EvidenceAdded(evidence=evidence))


def add_secrets(state: State, *, now: Moment, secrets: Sequence[Leaked]) -> Outcome:
    """Records what else leaked, in as many events as that needs. What is known already is no news."""
    if refused := _over(state):
        return refused
    new = tuple(each for each in secrets if each.sha256 not in state.secrets)
    return accept(*(SecretsAdded(secrets=new[at : at + TOGETHER]) for at in range(0, len(new), TOGETHER)))


def tell(
    state: State,
    *,
    now: Moment,
    source: Source,
    evidence: str | None = None,
    sha256: str | None = None,
    kind: str | None = None,
) -> Outcome:
    """Opens the incident, as `report` does; of one that exists, records what else is said of it."""
    if not state.exists:
        return report(state, now=now, source=source, evidence=evidence, sha256=sha256, kind=kind)
    return accept() if evidence is None else add_evidence(state, now=now, evidence=evidence)


def identify(
    state: State,
    *,
    now: Moment,
    target: TargetKind,
    client_id: str | None = None,
    account_id: str | None = None,
    secret_id: str | None = None,
    grant_id: str | None = None,
) -> Outcome:
    """Records what it is about. The same once more is no news."""
    if refused := _over(state):
        return refused
    found = IncidentIdentified(
        target=target, client_id=client_id, account_id=account_id, secret_id=secret_id, grant_id=grant_id
    )
    known = all(getattr(state, name) == getattr(found, name) for name in IncidentIdentified.__struct_fields__)
    return accept() if known else accept(found)


def contain(
    state: State,
    *,
    now: Moment,
    numbers: Numbers,
    since_at: Moment | None = None,
    rotated: bool = False,
    client_disabled: bool = False,
    offline_until: Moment | None = None,
) -> Outcome:
    """Records a containment, with what it ended. It may come more than once."""
    if refused := _over(state):
        return refused
    return accept(
        IncidentContained(
            numbers=numbers,
            since_at=since_at,
            rotated=rotated,
            client_disabled=client_disabled,
            offline_until=offline_until,
        )
    )


def assign(state: State, *, now: Moment, account_id: str | None) -> Outcome:
    """Records who looks after it: a person, or nobody. The same once more is no news."""
    if refused := _over(state):
        return refused
    return accept() if state.assignee == account_id else accept(IncidentAssigned(account_id=account_id))


def inform(state: State, *, now: Moment, whom: str) -> Outcome:
    """Records who was told of it by hand, each as often as somebody says so."""
    if refused := _over(state):
        return refused
    if not whom.strip() or len(whom) > INFORMED_MAXIMUM:
        return malformed("whom", f"must have 1 to {INFORMED_MAXIMUM} characters")
    return accept(SomebodyInformed(whom=whom.strip()))


def close(state: State, *, now: Moment, note: str | None = None, said: str | None = None) -> Outcome:
    """Closes the incident, contained or not: it may have been a false alarm. A repeat changes nothing.

    `said` is the note in clear with which it was closed before, if it was: another one would be lost.
    """
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if state.status == "closed" and note not in (None, said):
        return refuse(Conflict.ENDED, detail="the incident was closed with another note")
    if note is not None and len(note) > NOTE_MAXIMUM:
        return malformed("note", f"must have at most {NOTE_MAXIMUM} characters")
    return accept() if state.status == "closed" else accept(IncidentClosed(note=note))


def _over(state: State) -> Outcome | None:
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return refuse(Conflict.ENDED) if state.status == "closed" else None


def _too_long() -> Outcome:
    return malformed("evidence", f"must have at most {EVIDENCE_MAXIMUM} characters")


def added(first: Numbers, second: Numbers) -> Numbers:
    """The numbers of two containments together."""
    return Numbers(*(getattr(first, name) + getattr(second, name) for name in Numbers.__struct_fields__))


def evolve(state: State, recorded: Recorded) -> State:
    """The incident after one more event."""
    event, now = recorded.event, recorded.time
    match event:
        case IncidentReported():
            return replace(
                state,
                exists=True,
                source=event.source,
                evidence=sealed(recorded, "evidence"),
                sha256=event.sha256,
                kind=event.kind,
                secrets=frozenset(() if event.sha256 is None else (event.sha256,)),
                reported_at=now,
            )
        case IncidentIdentified():
            fields = {name: getattr(event, name) for name in IncidentIdentified.__struct_fields__}
            return replace(state, **fields, status="identified" if state.status == "reported" else state.status)
        case EvidenceAdded():
            return replace(state, evidence=sealed(recorded, "evidence"))
        case SecretsAdded():
            return replace(state, secrets=state.secrets | {each.sha256 for each in event.secrets})
        case IncidentContained():
            numbers = added(state.numbers, event.numbers)
            return replace(state, status="contained", numbers=numbers, contained_at=state.contained_at or now)
        case IncidentAssigned(account_id=account_id):
            return replace(state, assignee=account_id)
        case SomebodyInformed():
            return state
        case IncidentClosed():
            return replace(state, status="closed", closed_at=now, note=sealed(recorded, "note"))
        case _:
            raise AssertionError(f"{recorded.type} is no event of an incident")
