"""Incidents: what leaked is reported, identified, ended with all that came of it, and closed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from domain import account, client, client_secret, ended_grants, grant, incident, session
from domain.decision import Conflict, Outcome, Refusal, accept, malformed
from domain.event import Moment
from domain.incident import Leaked
from eventstore import present
from eventstore.command import Command, Sweep
from eventstore.execution import Origin, Step
from eventstore.leaked.afterwards import WhatEnded
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.view import View
from security.tokens import new_id

Elsewhere = Callable[[View], str | None]
"""Tells under the lock the stream of another incident, with which this one goes on; None for none."""


class LeakReport(msgspec.Struct, frozen=True):
    """Who says what. `sha256` is the digest of what leaked, `kind` what it is, as far as that is known."""

    source: incident.Source
    evidence: str | None = None
    sha256: str | None = None
    kind: str | None = None


class About(msgspec.Struct, frozen=True):
    """What an incident is about."""

    target: incident.TargetKind
    client_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    grant_id: str | None = None


def report(incident_id: str, said: LeakReport, *, starts: bool = False) -> Command[incident.State]:
    """Opens an incident; it `starts` the stream where the id was just made."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.report(
            state, now=view.now, source=said.source, evidence=said.evidence, sha256=said.sha256, kind=said.kind
        ),
        starts=starts,
    )


def tell(
    incident_id: str, said: LeakReport, *, elsewhere: Elsewhere, looked: Callable[[View], Refusal | None]
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
    ended: Callable[[], WhatEnded],
    *,
    since: Moment | None = None,
    rotated: bool = False,
    client_disabled: bool = False,
    elsewhere: Elsewhere | None = None,
    unless: Callable[[View], bool] = lambda _: False,
) -> Command[incident.State]:
    """Says what was ended, which is asked once the commands before it have counted it under the lock. `unless` tells
    whether it is told elsewhere."""

    def decide(state: incident.State, view: View) -> Outcome:
        if unless(view):
            return accept()
        found = ended()
        return incident.contain(
            state,
            now=view.now,
            numbers=found.numbers,
            since_at=since,
            rotated=rotated,
            client_disabled=client_disabled,
            offline_until=found.offline_until,
        )

    return Command(incident.stream(incident_id), decide, elsewhere=elsewhere)


def assign(incident_id: str, account_id: str | None) -> Command[incident.State]:
    """Says who looks after it: somebody who can sign in, or nobody."""

    def decide(state: incident.State, view: View) -> Outcome:
        outcome = incident.assign(state, now=view.now, account_id=account_id)
        if account_id is not None and outcome.events:
            person: account.State = view.state(account.stream(account_id))
            if not (account.alive(person) and person.enabled):
                return malformed("assignee", "is no person who can sign in")
        return outcome

    return Command(incident.stream(incident_id), decide)


def add_evidence(incident_id: str, evidence: str) -> Command[incident.State]:
    """Says what else is known of an incident that is not closed."""
    return Command(
        incident.stream(incident_id),
        lambda state, view: incident.add_evidence(state, now=view.now, evidence=evidence),
    )


def inform(incident_id: str, whom: str) -> Command[incident.State]:
    """Says who was told of an incident by hand."""
    return Command(incident.stream(incident_id), lambda state, view: incident.inform(state, now=view.now, whom=whom))


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
        # Anyone who has it tries it more than once at a time.
        return None if view.look(present.open_incident_about, sha256=(sha256,)) is None else Refusal(Conflict.EXISTS)

    incident_id = new_id()
    opened = report(incident_id, LeakReport("policy", sha256=sha256, kind="client_secret"), starts=True)
    about = About("secret", client_id=client_id, secret_id=secret_id)
    await ledger.execute(opened.guarded(known), identify(incident_id, about), origin=origin)


# The ends: sessions, grants and tokens, secret versions, and with a cut-off all that came of them.

Streams = Callable[[View], Iterable[Sequence[str]]]
"""Gives, under the lock, the streams that end, portion by portion."""


class Since(NamedTuple):
    """From where on tokens end: the `first` position, and the moment that was named; everything so far without one."""

    first: int = 0
    at: Moment | None = None


def end_account_tokens(account_id: str, since: Callable[[], Since]) -> Command[account.State]:
    """Ends a person's tokens and sessions. `since` is asked under the lock."""

    def decide(state: account.State, view: View) -> Outcome:
        first, at = since()
        return account.end_tokens(state, now=view.now, first=first, since_at=at)

    return Command(account.stream(account_id), decide)


def end_client_tokens(
    client_id: str, since: Callable[[], Since], *, secret_id: str | None = None
) -> Command[client.State]:
    """Ends a client's tokens, or those that one version authenticated. `since` is asked under the lock."""

    def decide(state: client.State, view: View) -> Outcome:
        first, at = since()
        return client.end_tokens(state, now=view.now, first=first, since_at=at, secret_id=secret_id)

    return Command(client.stream(client_id), decide)


def end_secret(client_id: str, secret_id: str, tokens: Literal["keep", "revoke"]) -> Command[client.State]:
    """Ends a secret version, which may be forgotten by now."""
    return Command(
        client.stream(client_id),
        lambda state, view: client_secret.contain(state, now=view.now, secret_id=secret_id, tokens=tokens),
    )


def revoke_key(client_id: str, thumbprint: str) -> Command[client.State]:
    """Ends a key that leaked."""
    return Command(
        client.stream(client_id), lambda state, view: client.revoke_key(state, now=view.now, thumbprint=thumbprint)
    )


def end_secrets(client_id: str) -> Command[client.State]:
    """Ends every secret version of a client, and none of their tokens."""
    return Command(client.stream(client_id), lambda state, view: client_secret.revoke_all(state, now=view.now))


def end_grants(streams: Streams) -> Sweep[grant.State]:
    """Ends grants with all their tokens."""
    return Sweep(streams, lambda state, view: grant.end(state, now=view.now, reason="secret_leak"))


def end_together(decide: Callable[[ended_grants.State, View], Outcome]) -> Command[ended_grants.State]:
    """Ends by one fact the grants and sessions that are found under the lock. Its transaction is its own."""
    return Command(ended_grants.STREAM, decide, alone=True)


def ends_something(incident_id: Callable[[], str]) -> Callable[[View], bool]:
    """Whether an incident ended grants or sessions that are not settled yet."""

    def found(view: View) -> bool:
        state: ended_grants.State = view.state(ended_grants.STREAM)
        return any(each.incident_id == incident_id() for each in state.unsettled)

    return found


def tell_end(stream: str) -> Command[grant.State] | Command[session.State]:
    """Has the stream of a grant or session tell that it ended together with others."""
    if stream.startswith("session:"):
        return Command[session.State](stream, lambda state, view: session.settle(state, now=view.now))
    return Command[grant.State](stream, lambda state, view: grant.settle(state, now=view.now))


def settle(incident_id: str) -> Command[ended_grants.State]:
    """Records that every stream has told."""
    return Command(
        ended_grants.STREAM, lambda state, view: ended_grants.settle(state, now=view.now, incident_id=incident_id)
    )


def contained_at_last(incident_id: str, ended: WhatEnded) -> Command[incident.State]:
    """Records a containment whose process was lost before it could say what it had ended."""

    def decide(state: incident.State, view: View) -> Outcome:
        if state.status in ("contained", "closed"):
            return accept()
        return incident.contain(state, now=view.now, numbers=ended.numbers, offline_until=ended.offline_until)

    return Command(incident.stream(incident_id), decide)


def refused(step: Step, view: View) -> Refusal | None:
    """For what a command would be refused by itself; a sweep is never."""
    if isinstance(step, Sweep):
        return None
    outcome = step.decide(view.state(step.stream), view)
    return outcome if isinstance(outcome, Refusal) else outcome.refusal
