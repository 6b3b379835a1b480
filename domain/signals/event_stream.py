"""A receiver's stream of security events (OpenID Shared Signals Framework 1.0 §8): what it wants to hear, where, and
what became of telling it. Stream `event_stream:<client_id>`: a receiver, which is a client, has one at most.
"""

from typing import Literal, get_args

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules.logout import web_problem

URI_MAXIMUM = 512
EVENTS_MAXIMUM = 50
NAME_MAXIMUM = 256

SignalKind = Literal["session_revoked", "credential_change", "account_disabled", "credential_compromise"]
"""What a receiver can ask to hear of."""

ControlKind = Literal["verification", "stream_updated"]
"""What is told about the stream itself, whatever was asked for (§8.1.4, §8.1.5)."""

_SECEVENT = "https://schemas.openid.net/secevent"
URIS: dict[SignalKind | ControlKind, str] = {
    "session_revoked": f"{_SECEVENT}/caep/event-type/session-revoked",
    "credential_change": f"{_SECEVENT}/caep/event-type/credential-change",
    "account_disabled": f"{_SECEVENT}/risc/event-type/account-disabled",
    "credential_compromise": f"{_SECEVENT}/risc/event-type/credential-compromise",
    "verification": f"{_SECEVENT}/ssf/event-type/verification",
    "stream_updated": f"{_SECEVENT}/ssf/event-type/stream-updated",
}
"""By which names the specifications know them (CAEP 1.0 §3, RISC 1.0 §2, SSF §8.1)."""

SUPPORTED: tuple[SignalKind, ...] = get_args(SignalKind)

DeliveryMethod = Literal["push", "poll"]
METHODS: dict[DeliveryMethod, str] = {"push": "urn:ietf:rfc:8935", "poll": "urn:ietf:rfc:8936"}
"""How events go out (SSF §6.1)."""

StreamStatus = Literal["enabled", "paused", "disabled"]
"""Paused: events are kept and not sent. Disabled: they are not even kept (§8.1.2)."""

SignalFailure = Literal["no_answer", "refused", "private_address", "not_fetched"]
"""The receiver did not answer, or with an error; its address is one that this server does not call; or it came for the
event in no time."""


def stream(client_id: str) -> str:
    """The stream about this receiver."""
    return f"event_stream:{client_id}"


class StreamTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a receiver asks for: the `events` that it wants of those that there are, and how they go out. The address is
    null where it comes for them."""

    method: DeliveryMethod
    endpoint_url: str | None = None
    events: tuple[SignalKind, ...] = ()


class EventStreamCreated(Event, frozen=True, kw_only=True):
    """A receiver wants to hear of security events about people (SSF §8.1.1)."""

    type = "event_stream.created"

    stream_id: str
    terms: StreamTerms


class EventStreamChanged(Event, frozen=True, kw_only=True):
    """A receiver wants to hear of other events, or elsewhere."""

    type = "event_stream.changed"

    terms: StreamTerms


class EventStreamStatusChanged(Event, frozen=True, kw_only=True):
    """A stream of security events goes on, waits, or is silent. It waits by itself where too much was kept for it."""

    type = "event_stream.status_changed"

    status: StreamStatus
    overflowed: bool = False


class EventStreamDeleted(Event, frozen=True, kw_only=True):
    """A receiver wants to hear of nothing any more."""

    type = "event_stream.deleted"
    in_doubt = True


class SignalDelivered(Event, frozen=True, kw_only=True):
    """A receiver took a security event, at the attempt of this number. `jti` is the event's (RFC 8417 §2.2)."""

    type = "event_stream.signal_delivered"

    jti: str
    event: SignalKind | ControlKind
    attempts: int = 1


class SignalFailed(Event, frozen=True, kw_only=True):
    """A receiver did not take a security event. `status` is that of its answer; `final` says that nobody tries it
    again. Failures between the first and the last are not told one by one.
    """

    type = "event_stream.signal_failed"
    in_doubt = True

    jti: str
    event: SignalKind | ControlKind
    attempts: int = 1
    reason: SignalFailure
    status: int | None = None
    final: bool = False


EVENTS: tuple[type[Event], ...] = (
    EventStreamCreated,
    EventStreamChanged,
    EventStreamStatusChanged,
    EventStreamDeleted,
    SignalDelivered,
    SignalFailed,
)


class State(msgspec.Struct, frozen=True):
    """The stream as it is; none where `terms` is None."""

    client_id: str = ""
    stream_id: str = ""
    terms: StreamTerms | None = None
    status: StreamStatus = "enabled"


INITIAL = State()


def problem(terms: StreamTerms) -> tuple[str, str] | None:
    """What is wrong with what a receiver asks for: a member and a phrase that follows its name, or None."""
    if terms.method == "poll":
        return None
    if not terms.endpoint_url:
        return "delivery", "needs an endpoint_url with push (RFC 8935)"
    found = web_problem(terms.endpoint_url, URI_MAXIMUM)
    return None if found is None else ("delivery", f"endpoint_url {found}")


def create(state: State, *, now: Moment, stream_id: str, terms: StreamTerms) -> Outcome:
    """Makes the receiver's stream, of which there is one (§8.1.1.1)."""
    if state.terms is not None:
        return refuse(Conflict.EXISTS, detail="this receiver has a stream already")
    found = problem(terms)
    return malformed(*found) if found else accept(EventStreamCreated(stream_id=stream_id, terms=terms))


def change(state: State, *, now: Moment, stream_id: str, terms: StreamTerms) -> Outcome:
    """Changes what the receiver hears and how. A repeat changes nothing."""
    if state.terms is None or state.stream_id != stream_id:
        return refuse(NotFound.UNKNOWN)
    if found := problem(terms):
        return malformed(*found)
    return accept() if state.terms == terms else accept(EventStreamChanged(terms=terms))


def change_status(
    state: State, *, now: Moment, stream_id: str, status: StreamStatus, overflowed: bool = False
) -> Outcome:
    """Has the stream go on, wait or be silent. A repeat changes nothing."""
    if state.terms is None or state.stream_id != stream_id:
        return refuse(NotFound.UNKNOWN)
    if state.status == status:
        return accept()
    return accept(EventStreamStatusChanged(status=status, overflowed=overflowed))


def delete(state: State, *, now: Moment, stream_id: str) -> Outcome:
    """Ends the stream."""
    if state.terms is None or state.stream_id != stream_id:
        return refuse(NotFound.UNKNOWN)
    return accept(EventStreamDeleted())


def note_delivered(state: State, *, now: Moment, jti: str, event: SignalKind | ControlKind, attempts: int) -> Outcome:
    """Records that the receiver took an event."""
    return accept(SignalDelivered(jti=jti, event=event, attempts=attempts))


def note_failed(
    state: State,
    *,
    now: Moment,
    jti: str,
    event: SignalKind | ControlKind,
    attempts: int,
    reason: SignalFailure,
    status: int | None,
    final: bool,
) -> Outcome:
    """Records that the receiver did not take an event: the first time, and when it is given up."""
    if attempts > 1 and not final:
        return accept()
    return accept(SignalFailed(jti=jti, event=event, attempts=attempts, reason=reason, status=status, final=final))


def evolve(state: State, recorded: Recorded) -> State:
    """The stream after one more event."""
    client_id = recorded.stream.partition(":")[2]
    match recorded.event:
        case EventStreamCreated(stream_id=stream_id, terms=terms):
            return State(client_id=client_id, stream_id=stream_id, terms=terms)
        case EventStreamChanged(terms=terms):
            return replace(state, terms=terms)
        case EventStreamStatusChanged(status=status):
            return replace(state, status=status)
        case EventStreamDeleted():
            return INITIAL
        case SignalDelivered() | SignalFailed():
            return state
        case _:
            raise AssertionError(f"{recorded.type} is no event of a stream of security events")
