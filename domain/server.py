"""The server itself: with what it runs, and what concerns no aggregate that it knows. Stream `server`."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, counted, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.registering.refusals import RegistrationError

STREAM = "server"
SETTINGS_MAXIMUM = 24_000
"""Bytes of all settings as JSON: an event states the new ones, and the old ones of those that changed."""

REASON_MAXIMUM = 500
"""Characters of what was found."""

MISFITS_MAXIMUM = 400
"""Positions that one acceptance names. Where more do not fit it is another log."""

Setting = str | int | float | bool | list[str] | None

# Facts ------------------------------------------------------------------------------------------------------------


class ServerStarted(Event, frozen=True, kw_only=True):
    """The server started with these settings, none of them secret. `old` holds the former values of what changed."""

    type = "server.started"
    in_doubt = True

    version: str
    build: str | None = None
    settings: dict[str, Setting]
    old: dict[str, Setting] = {}


class UnknownClientRefused(Event, frozen=True, kw_only=True):
    """Somebody authenticated as a client that does not exist. What they sent is not recorded."""

    type = "server.unknown_client_refused"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class ClientsRefused(Event, frozen=True, kw_only=True):
    """Authentication failed as more clients, or from more addresses, than are told apart, whether they exist or not."""

    type = "server.clients_refused"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class RegistrationsRefused(Event, frozen=True, kw_only=True):
    """Clients that nobody vouches for wanted to register themselves, `count` of them within `window_seconds` from one
    address, and were refused for this `reason`. What they sent is not recorded."""

    type = "server.registrations_refused"
    in_doubt = True

    reason: RegistrationError | Literal["invalid_token"]
    count: int = 1
    window_seconds: int = 0


class IssuerAccepted(Event, frozen=True, kw_only=True):
    """From now on the server may start under this issuer identifier, and under no other."""

    type = "server.issuer_accepted"

    issuer: str
    former: str | None = None


class IssuanceSuspended(Event, frozen=True, kw_only=True):
    """From now on no code and no token is issued, to anybody. What was issued before is validated as ever."""

    type = "server.issuance_suspended"
    in_doubt = True


class IssuanceResumed(Event, frozen=True, kw_only=True):
    """Codes and tokens are issued again."""

    type = "server.issuance_resumed"


class LogDiverged(Event, frozen=True, kw_only=True):
    """The log is not the one that its tree was built over. `reason` says what was found, `position` where, if it was an
    event. Until somebody accepts it nothing is issued to anybody, and nobody gets to do more than before.
    """

    type = "server.log_diverged"
    in_doubt = True

    reason: str
    position: int | None = None


class DivergenceAccepted(Event, frozen=True, kw_only=True):
    """Somebody has understood what was found (`reason`), and the server goes on as before.

    `misfits` has each position that does not fit, with the SHA-256 of what stands there now, empty where nothing does:
    from now on no alarm is raised about exactly that. What was signed about those positions stays as it was.
    """

    type = "server.divergence_accepted"
    in_doubt = True

    reason: str
    misfits: dict[str, str] = {}


class ProjectionDiffered(Event, frozen=True, kw_only=True):
    """A read model was found not to be what the log says: somebody changed it, or something is broken.

    `projection` is its name, or `vault_keys` for a key that is gone although nothing destroyed it; `key_sha256` names
    the row to the one who has it, and `head` is the newest position at which it differed.
    """

    type = "server.projection_differed"
    in_doubt = True

    projection: str
    key_sha256: str
    head: int


class SubjectKeyIntroduced(Event, frozen=True, kw_only=True):
    """The key was made from which pairwise subjects come (OpenID Connect Core §8.1); the vault has it."""

    type = "server.subject_key_introduced"
    in_doubt = True


class FeatureLevelRaised(Event, frozen=True, kw_only=True):
    """Every node that serves the log knows this level: from now on events that take it are written, and a version that
    does not know it serves no more.
    """

    type = "server.feature_level_raised"

    level: int
    former: int = 1


EVENTS: tuple[type[Event], ...] = (
    ServerStarted,
    UnknownClientRefused,
    ClientsRefused,
    RegistrationsRefused,
    IssuerAccepted,
    IssuanceSuspended,
    IssuanceResumed,
    LogDiverged,
    DivergenceAccepted,
    ProjectionDiffered,
    SubjectKeyIntroduced,
    FeatureLevelRaised,
)

Refused = UnknownClientRefused | ClientsRefused | RegistrationsRefused
"""What strangers repeat, as it is counted."""


class Divergence(msgspec.Struct, frozen=True):
    """What was found, and when. `position` is that of the event `server.log_diverged` itself."""

    reason: str
    at: Moment
    position: int


class State(msgspec.Struct, frozen=True):
    """With what it was last started, what is suspended, and whether the log can be believed.

    `accepted` has what an operator has accepted of what does not fit: by position, the SHA-256 of what stands there.
    """

    version: str = ""
    build: str | None = None
    settings: dict[str, Setting] = {}
    issuer: str | None = None
    """Under which it may start; None before its first start."""
    started_at: Moment | None = None
    unknown_clients_refused: int = 0
    clients_refused: int = 0
    registrations_refused: int = 0
    suspended_at: Moment | None = None
    diverged: Divergence | None = None
    accepted: dict[str, str] = {}
    accepted_at: Moment | None = None
    differences: int = 0
    feature_level: int = 1


INITIAL = State()

# Verbs ------------------------------------------------------------------------------------------------------------


def start(
    state: State, *, now: Moment, version: str, settings: dict[str, Setting], build: str | None = None
) -> Outcome:
    """Records a start, with what changed since the former one. Secret settings are the caller's to leave out."""
    if len(version) > 64 or (build is not None and len(build) > 128):
        return malformed("version", "must have at most 64 characters, and the build at most 128")
    if len(msgspec.json.encode(settings)) > SETTINGS_MAXIMUM:
        return malformed("settings", f"must take at most {SETTINGS_MAXIMUM} bytes together")
    old = {name: value for name, value in state.settings.items() if name not in settings or settings[name] != value}
    return accept(ServerStarted(version=version, build=build, settings=settings, old=old))


def accept_issuer(state: State, *, now: Moment, issuer: str) -> Outcome:
    """Lets the server start under another issuer identifier, a well-formed one. A repeat changes nothing."""
    return accept() if state.issuer == issuer else accept(IssuerAccepted(issuer=issuer, former=state.issuer))


def note(state: State, *, now: Moment, refused: Refused) -> Outcome:
    """Records failures: the first at once (window 0), later ones as a count."""
    return counted(refused)


def suspend_issuance(state: State, *, now: Moment) -> Outcome:
    """Lets nothing more be issued. A repeat changes nothing."""
    return accept() if state.suspended_at is not None else accept(IssuanceSuspended())


def resume_issuance(state: State, *, now: Moment) -> Outcome:
    """Lifts that. A repeat changes nothing."""
    return accept() if state.suspended_at is None else accept(IssuanceResumed())


def note_divergence(
    state: State, *, now: Moment, reason: str, position: int | None = None, accepted: bool = False
) -> Outcome:
    """Has nothing issued until somebody has looked. Once is enough, no matter who else notices it, be it after the
    look."""
    if accepted or state.diverged is not None:
        return accept()
    return accept(LogDiverged(reason=reason[:REASON_MAXIMUM], position=position))


def accept_divergence(
    state: State, *, now: Moment, misfits: dict[str, str] | None = None, reason: str | None = None
) -> Outcome:
    """Lifts that, and remembers what was accepted. `reason` is for what no server has noted."""
    said = reason if state.diverged is None else state.diverged.reason
    if said is None:
        return refuse(NotFound.UNKNOWN, detail="nothing has diverged")
    if len(misfits or {}) > MISFITS_MAXIMUM:
        return malformed("misfits", f"must be at most {MISFITS_MAXIMUM}")
    return accept(DivergenceAccepted(reason=said[:REASON_MAXIMUM], misfits=misfits or {}))


def note_difference(state: State, *, now: Moment, projection: str, key_sha256: str, head: int, stands: bool) -> Outcome:
    """Records that a read model differs from the log. `stands`: it does so under the log's lock too."""
    if not stands:
        return accept()
    return accept(ProjectionDiffered(projection=projection, key_sha256=key_sha256, head=head))


def tell_of_subject_key(state: State, *, now: Moment, kept: bool) -> Outcome:
    """Records that the key was made, unless the vault has one. A log that came without its vault gets another."""
    return accept() if kept else accept(SubjectKeyIntroduced())


def raise_feature_level(state: State, *, now: Moment, level: int, known_by_all: int) -> Outcome:
    """Lets events be written that take this level, if all nodes know it. A repeat changes nothing."""
    if level <= state.feature_level or known_by_all < level:
        return accept()
    return accept(FeatureLevelRaised(level=level, former=state.feature_level))


def evolve(state: State, recorded: Recorded) -> State:
    """The server after one more event."""
    event = recorded.event
    match event:
        case ServerStarted():
            return replace(
                state,
                version=event.version,
                build=event.build,
                settings=event.settings,
                issuer=_issuer(event) or state.issuer,
                started_at=recorded.time,
            )
        case IssuerAccepted():
            return replace(state, issuer=event.issuer)
        case IssuanceSuspended() | IssuanceResumed():
            return replace(state, suspended_at=recorded.time if isinstance(event, IssuanceSuspended) else None)
        case LogDiverged(reason=reason):
            return replace(state, diverged=Divergence(reason, recorded.time, recorded.position))
        case DivergenceAccepted(misfits=misfits):
            return replace(state, diverged=None, accepted=state.accepted | misfits, accepted_at=recorded.time)
        case ProjectionDiffered():
            return replace(state, differences=state.differences + 1)
        case UnknownClientRefused() | ClientsRefused() | RegistrationsRefused():
            return _refused(state, event)
        case SubjectKeyIntroduced():
            return state
        case FeatureLevelRaised(level=level):
            return replace(state, feature_level=level)
        case _:
            raise AssertionError(f"{recorded.type} is no event of the server")


def _refused(state: State, event: Refused) -> State:
    if isinstance(event, RegistrationsRefused):
        return replace(state, registrations_refused=state.registrations_refused + event.count)
    if isinstance(event, UnknownClientRefused):
        return replace(state, unknown_clients_refused=state.unknown_clients_refused + event.count)
    return replace(state, clients_refused=state.clients_refused + event.count)


def _issuer(event: ServerStarted) -> str | None:
    found = event.settings.get("issuer")
    return found if isinstance(found, str) else None
