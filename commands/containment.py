"""Ends what leaked: sessions, grants and tokens, secret versions, and with a cut-off all that came of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from domain import account, client, client_secret, ended_grants, grant, incident, session
from domain.decision import Outcome, Refusal, accept
from domain.event import Moment
from domain.incident import Numbers
from eventstore.command import Command, Sweep
from eventstore.execution import Step
from eventstore.view import View

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


def end_secrets(client_id: str) -> Command[client.State]:
    """Ends every secret version of a client, and none of their tokens."""
    return Command(client.stream(client_id), lambda state, view: client_secret.revoke_all(state, now=view.now))


def end_grants(streams: Streams) -> Sweep[grant.State]:
    """Ends grants with all their tokens."""
    return Sweep(streams, lambda state, view: grant.end(state, now=view.now, reason="secret_leak"))


def end_together(
    decide: Callable[[ended_grants.State, View], Outcome],
) -> Command[ended_grants.State]:
    """Ends by one fact the grants and sessions that are found under the lock. Its transaction is its own."""
    return Command(ended_grants.STREAM, decide, alone=True)


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


def contained_at_last(incident_id: str, numbers: Numbers) -> Command[incident.State]:
    """Records a containment whose process was lost before it could say what it had ended."""

    def decide(state: incident.State, view: View) -> Outcome:
        if state.status in ("contained", "closed"):
            return accept()
        return incident.contain(state, now=view.now, numbers=numbers)

    return Command(incident.stream(incident_id), decide)


def refused(step: Step, view: View) -> Refusal | None:
    """For what a command would be refused by itself; a sweep is never."""
    if isinstance(step, Sweep):
        return None
    outcome = step.decide(view.state(step.stream), view)
    return outcome if isinstance(outcome, Refusal) else outcome.refusal
