"""A person's sign-in at the server itself: beginning, renewed password hash, end."""

from domain import account, session
from domain.decision import AccessDenied, Outcome, Refusal
from eventstore.command import Command
from eventstore.view import View


def start(
    session_id: str, *, account_id: str, realm: str, verified: str, sha256: str, lifetime: int
) -> Command[session.State]:
    """Signs a person in for `lifetime` seconds, if they still may.

    `verified` is the event with the hash against which their password was right, `sha256` the browser's secret.
    """

    def decide(state: session.State, view: View) -> Outcome | Refusal:
        person: account.State = view.state(account.stream(account_id))
        if account.failure(person, realm=realm, verified=verified) is not None:
            return Refusal(AccessDenied.ACCOUNT)
        return session.start(state, now=view.now, account_id=account_id, realm=realm, sha256=sha256, lifetime=lifetime)

    return Command(session.stream(session_id), decide)


def end(session_id: str, reason: session.EndReason) -> Command[session.State]:
    """Signs a person out of one browser."""
    return Command(session.stream(session_id), lambda state, view: session.end(state, now=view.now, reason=reason))


def is_live(view: View, session_id: str) -> bool:
    """Whether a session is live under the lock too, where what ended it meanwhile is seen."""
    state: session.State = view.state(session.stream(session_id))
    return session.is_live(state, view.state(account.stream(state.account_id)), view.now)


def rehash_password(account_id: str, password_hash: str, verified: str) -> Command[account.State]:
    """Keeps a stronger hash of the password that was right against the one in event `verified`."""
    return Command(
        account.stream(account_id),
        lambda state, view: account.rehash_password(
            state, now=view.now, password_hash=password_hash, verified=verified
        ),
    )
