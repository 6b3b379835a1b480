"""A person's browser sign-in at the server itself. Stream `session:<session_id>`."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain import account, cut_off
from domain.decision import Conflict, NotFound, Outcome, accept, refuse
from domain.event import SECOND, Event, Moment, Recorded

ACR = "urn:grantlog:acr:1"
"""The authentication context class of a password (OpenID Connect Core §2, `acr`)."""

TWO_FACTORS = "urn:grantlog:acr:2"
"""That of a password with a second factor."""

ACRS = (ACR, TWO_FACTORS)
"""Every class that a sign-in here can have."""

SessionEndReason = Literal["signed_out", "expired", "account", "administrator", "replaced", "secret_leak"]
SignInMethod = Literal["password"]
LogoutFailure = Literal["no_answer", "refused", "private_address", "no_address"]
"""The client did not answer, or with an error; its address is one that this server does not call, or there is none."""


def stream(session_id: str) -> str:
    """The stream of this session."""
    return f"session:{session_id}"


def sid(session_id: str, client_id: str) -> str:
    """The session as a client knows it (OpenID Connect Front-Channel Logout §3): no two of them by the same name."""
    told = sha256(f"sid {session_id} {client_id}".encode()).digest()[:18]
    return urlsafe_b64encode(told).decode()


PASSWORD_ALONE = ("pwd",)


def acr_of(amr: tuple[str, ...]) -> str:
    """The class of a sign-in, by the methods that it was made of (RFC 8176 §2)."""
    return TWO_FACTORS if "mfa" in amr else ACR


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """When and how the person proved who they are: `acr` and `amr` as OpenID Connect Core §2 has them (RFC 8176)."""

    at: Moment
    acr: str
    amr: tuple[str, ...]


class SessionStarted(Event, frozen=True, kw_only=True):
    """A person signed in, by the methods of `amr` (RFC 8176 §2). `sha256` is the digest of the browser's secret,
    `lifetime` is in seconds.
    """

    type = "session.started"

    account_id: str
    realm: str
    sha256: str
    lifetime: int
    amr: tuple[str, ...] = PASSWORD_ALONE


class SteppedUp(Event, frozen=True, kw_only=True):
    """The person proved again who they are, by the methods of `amr` (RFC 8176 §2)."""

    type = "session.stepped_up"

    method: SignInMethod
    amr: tuple[str, ...] = PASSWORD_ALONE


class SessionEnded(Event, frozen=True, kw_only=True):
    """The session is over."""

    type = "session.ended"
    in_doubt = True

    reason: SessionEndReason


class LogoutDelivered(Event, frozen=True, kw_only=True):
    """A client was told that the session is over, at the attempt of this number (Back-Channel Logout §2.8)."""

    type = "session.logout_delivered"
    in_doubt = True

    client_id: str
    attempts: int = 1


class LogoutFailed(Event, frozen=True, kw_only=True):
    """A client could not be told that the session is over. `status` is that of its answer; `final` says that nobody
    tries it again. Failures between the first and the last are not told one by one.
    """

    type = "session.logout_failed"
    in_doubt = True

    client_id: str
    attempts: int = 1
    reason: LogoutFailure
    status: int | None = None
    final: bool = False


EVENTS: tuple[type[Event], ...] = (SessionStarted, SteppedUp, SessionEnded, LogoutDelivered, LogoutFailed)


class State(msgspec.Struct, frozen=True):
    """The session as its events tell. `started` is a position, to be compared with the account's cut-offs."""

    exists: bool = False
    account_id: str = ""
    realm: str = ""
    sha256: str = ""
    expires: Moment = 0
    ended: bool = False
    ended_reason: SessionEndReason | None = None
    started: int = 0
    started_at: Moment = 0
    proved_at: Moment = 0
    amr: tuple[str, ...] = PASSWORD_ALONE
    ended_together: int | None = None

    @property
    def position(self) -> int:
        """Where it began."""
        return self.started

    @property
    def is_over(self) -> bool:
        return self.ended

    def over(self, at: Moment, position: int) -> "State":
        """The session after it ended together with others, by the event at a position."""
        return replace(self, ended=True, ended_reason="secret_leak", ended_together=position)


INITIAL = State()


def start(
    state: State,
    *,
    now: Moment,
    account_id: str,
    realm: str,
    sha256: str,
    lifetime: int,
    amr: tuple[str, ...] = PASSWORD_ALONE,
) -> Outcome:
    """Begins a session of `lifetime` seconds."""
    if state.exists:
        return refuse(Conflict.EXISTS)
    return accept(SessionStarted(account_id=account_id, realm=realm, sha256=sha256, lifetime=lifetime, amr=amr))


def step_up(
    state: State, *, now: Moment, method: SignInMethod = "password", amr: tuple[str, ...] = PASSWORD_ALONE
) -> Outcome:
    """Records a fresh proof within a session that still runs."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if state.ended or state.expires <= now:
        return refuse(Conflict.ENDED)
    return accept(SteppedUp(method=method, amr=amr))


def end(state: State, *, now: Moment, reason: SessionEndReason) -> Outcome:
    """Ends the session. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept() if state.ended else accept(SessionEnded(reason=reason))


def settle(state: State, *, now: Moment) -> Outcome:
    """Has the session's own stream tell that it ended together with others. A repeat records nothing."""
    return accept() if state.ended_together is None else accept(SessionEnded(reason="secret_leak"))


def note_logout_delivered(state: State, *, now: Moment, client_id: str, attempts: int) -> Outcome:
    """Records that a client took the notice of the session's end."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept(LogoutDelivered(client_id=client_id, attempts=attempts))


def note_logout_failed(
    state: State,
    *,
    now: Moment,
    client_id: str,
    attempts: int,
    reason: LogoutFailure,
    status: int | None,
    final: bool,
) -> Outcome:
    """Records that a client did not take the notice: the first time, and when it is given up."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if attempts > 1 and not final:
        return accept()
    return accept(
        LogoutFailed(client_id=client_id, attempts=attempts, reason=reason, status=status, final=final),
    )


def authentication(state: State) -> Authentication:
    """When and how the person proved last who they are."""
    return Authentication(at=state.proved_at, acr=acr_of(state.amr), amr=state.amr)


def is_live(state: State, person: account.State, now: Moment) -> bool:
    """Whether the browser is still signed in: neither over nor cut off by what happened to the account since."""
    return state.exists and not state.ended and now < state.expires and goes_on(state.started, person)


def goes_on(started: int, person: account.State) -> bool:
    """Whether nothing that happened to the account since cuts off a session that began at a position."""
    if not person.exists or person.erased or not person.enabled:
        return False
    if cut_off.cutting(cut_off.of_all(person.windows), started) is not None:
        return False
    return started >= max(person.cutoff, person.password_cutoff)


def evolve(state: State, recorded: Recorded) -> State:
    """The session after one more event."""
    event = recorded.event
    match event:
        case SessionStarted():
            return State(
                exists=True,
                account_id=event.account_id,
                realm=event.realm,
                sha256=event.sha256,
                expires=recorded.time + event.lifetime * SECOND,
                started=recorded.position,
                started_at=recorded.time,
                proved_at=recorded.time,
                amr=event.amr,
            )
        case SteppedUp():
            return replace(state, proved_at=recorded.time, amr=event.amr)
        case SessionEnded():
            return replace(state, ended=True, ended_reason=event.reason, ended_together=None)
        case LogoutDelivered() | LogoutFailed():
            return state
        case _:
            raise AssertionError(f"{recorded.type} is no event of a session")
