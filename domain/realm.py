"""A realm: a separate population with names of its own. Stream `realm:<realm>`, which tells of strangers."""

import msgspec
from msgspec.structs import replace

from domain.decision import Outcome, counted
from domain.event import Event, Moment, Recorded


def stream(realm: str) -> str:
    """The stream of this realm."""
    return f"realm:{realm}"


class UnknownUserRefused(Event, frozen=True, kw_only=True):
    """Sign-ins failed, since nobody has the name that was typed. The name is not recorded: it may be a password."""

    type = "realm.unknown_user_refused"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class SignInsRefused(Event, frozen=True, kw_only=True):
    """Sign-ins failed under more names, or from more addresses, than are told apart; whose names is not looked at."""

    type = "realm.sign_ins_refused"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class UnknownRecoveryRequested(Event, frozen=True, kw_only=True):
    """Somebody asked for a link to a new password under a name that nobody has. The name is not recorded."""

    type = "realm.unknown_recovery_requested"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class RecoveriesRequested(Event, frozen=True, kw_only=True):
    """Links to new passwords were asked for under more names, or from more addresses, than are told apart."""

    type = "realm.recoveries_requested"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class RegistrationsRequested(Event, frozen=True, kw_only=True):
    """Somebody asked for a link by which people register themselves, known here or not. The address is not recorded."""

    type = "realm.registrations_requested"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


StrangersAct = (
    UnknownUserRefused | SignInsRefused | UnknownRecoveryRequested | RecoveriesRequested | RegistrationsRequested
)

EVENTS: tuple[type[Event], ...] = (
    UnknownUserRefused,
    SignInsRefused,
    UnknownRecoveryRequested,
    RecoveriesRequested,
    RegistrationsRequested,
)


class State(msgspec.Struct, frozen=True):
    """How many sign-ins failed so, and how many links were asked for."""

    unknown_users_refused: int = 0
    sign_ins_refused: int = 0
    unknown_recoveries_requested: int = 0
    recoveries_requested: int = 0
    registrations_requested: int = 0


INITIAL = State()


def note(state: State, *, now: Moment, refused: StrangersAct) -> Outcome:
    """Records what strangers did: the first at once (window 0), later ones as a count."""
    return counted(refused)


def evolve(state: State, recorded: Recorded) -> State:
    """The realm after one more event."""
    match recorded.event:
        case UnknownUserRefused(count=count):
            return replace(state, unknown_users_refused=state.unknown_users_refused + count)
        case SignInsRefused(count=count):
            return replace(state, sign_ins_refused=state.sign_ins_refused + count)
        case UnknownRecoveryRequested(count=count):
            return replace(state, unknown_recoveries_requested=state.unknown_recoveries_requested + count)
        case RecoveriesRequested(count=count):
            return replace(state, recoveries_requested=state.recoveries_requested + count)
        case RegistrationsRequested(count=count):
            return replace(state, registrations_requested=state.registrations_requested + count)
        case _:
            raise AssertionError(f"{recorded.type} is no event of a realm")
