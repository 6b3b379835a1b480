"""Incidents: what leaked is reported, identified, contained and closed."""

from collections.abc import Callable, Sequence

import msgspec

from domain import incident
from domain.decision import Conflict, Outcome, Refusal
from domain.event import Moment
from domain.incident import Leaked, Numbers
from eventstore import present
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.view import View
from security.ids import new_id

Elsewhere = Callable[[View], str | None]
"""Tells under the lock the stream of another incident, with which this one goes on; None for none."""


class Report(msgspec.Struct, frozen=True):
    """Who says what. `sha256` is the digest of what leaked, `kind` what it is, as far as that is known."""

    source: incident.Source
    evidence: str | None = None
    sha256: str | None = None
    kind: str | None = None


class About(msgspec.Struct, frozen=True):
    """What an incident is about."""

    target: incident.Target
    client_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    grant_id: str | None = None


def report(incident_id: str, said: Report, *, starts: bool = False) -> Command[incident.State]:
    """Opens an incident; it `starts` the stream where the id was just made."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.report(
            state, now=view.now, source=said.source, evidence=said.evidence, sha256=said.sha256, kind=said.kind
        ),
        starts=starts,
    )


def tell(
    incident_id: str, said: Report, *, elsewhere: Elsewhere, looked: Callable[[View], Refusal | None]
) -> Command[incident.State]:
    """Opens an incident, or adds to the evidence of one that is open. `looked` may refuse it under the lock."""

    def decide(state: incident.State, view: View) -> Outcome | Refusal:
        return looked(view) or incident.tell(
            state, now=view.now, source=said.source, evidence=said.evidence, sha256=said.sha256, kind=said.kind
        )

    return Command(incident.stream(incident_id), decide, starts=True, elsewhere=elsewhere)


def identify(incident_id: str, about: About, *, elsewhere: Elsewhere | None = None) -> Command[incident.State]:
    """Says what it is about."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.identify(
            state,
            now=view.now,
            target=about.target,
            client_id=about.client_id,
            account_id=about.account_id,
            secret_id=about.secret_id,
            grant_id=about.grant_id,
        ),
        elsewhere=elsewhere,
    )


def add_secrets(incident_id: str, secrets: Sequence[Leaked], *, elsewhere: Elsewhere) -> Command[incident.State]:
    """Says what else leaked."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.add_secrets(state, now=view.now, secrets=secrets),
        elsewhere=elsewhere,
    )


def contained(
    incident_id: str,
    numbers: Callable[[], Numbers],
    *,
    since: Moment | None = None,
    rotated: bool = False,
    client_disabled: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Command[incident.State]:
    """Says what was ended; `numbers` are asked once the commands before it have counted them under the lock."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.contain(
            state,
            now=view.now,
            numbers=numbers(),
            since_at=since,
            rotated=rotated,
            client_disabled=client_disabled,
        ),
        elsewhere=elsewhere,
    )


def close(incident_id: str, note: str | None, privacy: PersonalData) -> Command[incident.State]:
    """Closes an incident, contained or not. With another note than before it is refused."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.close(
            state, now=view.now, note=note, said=privacy.open(view.connection, state.note)
        ),
    )


async def suspect(ledger: Ledger, client_id: str, secret_id: str, sha256: str | None, origin: Origin) -> None:
    """Opens an incident about a secret version that was presented after its end, unless one is open already."""
    if sha256 is None or await ledger.look(present.open_incident_about, sha256=(sha256,)) is not None:
        return

    def known(view: View) -> Refusal | None:
        # Whoever has it tries it more than once at a time.
        return None if view.look(present.open_incident_about, sha256=(sha256,)) is None else Refusal(Conflict.EXISTS)

    incident_id = new_id()
    opened = report(incident_id, Report("policy", sha256=sha256, kind="client_secret"), starts=True)
    about = About("secret", client_id=client_id, secret_id=secret_id)
    await ledger.execute(opened.guarded(known), identify(incident_id, about), origin=origin)
