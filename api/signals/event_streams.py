"""Streams of security events, as their receivers manage them (OpenID Shared Signals Framework 1.0 §7, §8), and the poll
endpoint (RFC 8936). A receiver is a client that acts for itself, with the scope `ssf`.
"""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from api.config.settings import Settings
from api.http.cors import EVERYBODY
from api.http.errors import InsufficientScope, InvalidRequest, Missing, Throttled, api_error
from api.oauth.bearer import Bearer, lost, needing
from api.oauth.metadata import KEYS
from api.services import Injected, Services, services_of
from api.signals.security_event_tokens import opened, signed
from api.signals.signal_delivery import authorization_name, forget, kept, settle
from api.throttling.limits import Bucket, Limit
from commands import signals as commands
from commands.signals import SCOPE, ToldSignal
from domain import client
from domain.event import SECOND
from domain.signals import event_stream
from domain.signals.event_stream import EVENTS_MAXIMUM, METHODS, NAME_MAXIMUM, SUPPORTED, URI_MAXIMUM, URIS, StreamTerms
from eventstore.execution import Step
from eventstore.view import View
from projections import signals
from security.tokens import new_id

CONFIGURATION = "/.well-known/ssf-configuration"
STREAMS, STATUS, VERIFY, POLL = "/ssf/streams", "/ssf/status", "/ssf/verify", "/ssf/poll"
TAGS = ["Security events"]

VERIFIED_EVERY = 30
"""Seconds between two verifications that a receiver may ask for."""

SETS_MAXIMUM = 100
"""Events of one answer to who polls."""

ACKNOWLEDGED_MAXIMUM = 1_000

_BY_URI = {URIS[kind]: kind for kind in SUPPORTED}
_METHODS_BY_URN = {urn: method for method, urn in METHODS.items()}

StreamId = Annotated[str, Meta(max_length=128)]
GivenStreamId = Annotated[str, QueryParameter(max_length=128, description="The stream's id.")]
AnyStreamId = Annotated[str | None, QueryParameter(max_length=128, description="The stream's id; without it all.")]


class GivenDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """How events are to go out (SSF §6.1): pushed to an address (RFC 8935), or fetched here (RFC 8936)."""

    method: Literal["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"]
    endpoint_url: Annotated[str, Meta(max_length=URI_MAXIMUM)] | None = None
    authorization_header: Annotated[str, Meta(max_length=1_024, pattern=r"^[\x20-\x7e]*(?![\s\S])")] | None = None

    def __repr__(self) -> str:
        return f"GivenDelivery({self.method})"


SaidText = Annotated[str, Meta(max_length=URI_MAXIMUM)]
EventNames = Annotated[list[Annotated[str, Meta(max_length=NAME_MAXIMUM)]], Meta(max_length=EVENTS_MAXIMUM)]


class StreamConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver asks for (SSF §8.1.1). What the server says of a stream may stand beside it, as it is; other
    members are passed over."""

    stream_id: StreamId | UnsetType = UNSET
    iss: SaidText | UnsetType = UNSET
    aud: SaidText | UnsetType = UNSET
    delivery: GivenDelivery | UnsetType = UNSET
    events_requested: EventNames | UnsetType = UNSET
    events_supported: EventNames | UnsetType = UNSET
    events_delivered: EventNames | UnsetType = UNSET
    min_verification_interval: Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType = UNSET


class GivenStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a stream is to go on (SSF §8.1.2)."""

    stream_id: StreamId
    status: event_stream.StreamStatus
    reason: Annotated[str, Meta(max_length=1_024)] | None = None


class VerificationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for an event by which a receiver sees that it is reached (SSF §8.1.4)."""

    stream_id: StreamId
    state: Annotated[str, Meta(max_length=1_024)] | None = None


class SetError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a receiver could do nothing with an event (RFC 8936 §2.6)."""

    err: Annotated[str, Meta(max_length=256)]
    description: Annotated[str, Meta(max_length=1_024)] | None = None


class PollRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver took, and how much more it wants (RFC 8936 §2.2). It is answered at once in any case."""

    maxEvents: Annotated[int, Meta(ge=0, le=1_000_000)] = SETS_MAXIMUM  # noqa: N815 - as the RFC has it
    returnImmediately: bool = True  # noqa: N815
    ack: Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=ACKNOWLEDGED_MAXIMUM)] = []
    setErrs: Annotated[dict[str, SetError], Meta(max_length=ACKNOWLEDGED_MAXIMUM)] = {}  # noqa: N815


DELIVERY = {"method": METHODS["push"], "endpoint_url": "https://app.example/events"}
EXAMPLE = {"delivery": DELIVERY, "events_requested": [URIS["session_revoked"]]}
ANSWER = {
    "stream_id": "4PfM8yWs6GjD1uHe9KaV3x",
    "iss": "https://login.example.com",
    "aud": "2Yt0kQm4VdLw8sRz1XbN6c",
    "delivery": DELIVERY,
    "events_supported": [URIS[kind] for kind in SUPPORTED],
    "events_requested": [URIS["session_revoked"]],
    "events_delivered": [URIS["session_revoked"]],
    "min_verification_interval": VERIFIED_EVERY,
}


@get(CONFIGURATION, tags=TAGS, summary="Metadata of the transmitter of security events (SSF §7.1)")
async def configuration(settings: Injected[Settings]) -> Response[Any]:
    """How a program hears of what happens to people's sessions and accounts. Public, for pages of every origin too."""
    issuer = settings.issuer
    told = {
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": f"{issuer}{KEYS}",
        "delivery_methods_supported": list(METHODS.values()),
        "configuration_endpoint": f"{issuer}{STREAMS}",
        "status_endpoint": f"{issuer}{STATUS}",
        "verification_endpoint": f"{issuer}{VERIFY}",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        "default_subjects": "ALL",
    }
    return Response(told, headers={"cache-control": "max-age=60", **EVERYBODY})


def _receiver(who: Bearer) -> str:
    """The client that acts for itself; raises 403 where a person's token came."""
    if who.account_id is not None:
        raise InsufficientScope(SCOPE)
    return who.known.terms.client_id


async def _stream(services: Services, client_id: str, stream_id: str | None = None) -> event_stream.State:
    """The receiver's stream; raises 404 for none, and for one that is not its."""
    found: event_stream.State = await services.ledger.state(event_stream.stream(client_id))
    if found.terms is None or stream_id not in (None, found.stream_id):
        raise Missing("There is no such stream.")
    return found


def _terms(data: StreamConfiguration, before: StreamTerms | None) -> StreamTerms:
    """What a body asks for; what it leaves out is as `before`. Raises 400."""
    if data.delivery is UNSET:
        method, url = ("poll", None) if before is None else (before.method, before.endpoint_url)
    else:
        method = _METHODS_BY_URN[data.delivery.method]
        url = data.delivery.endpoint_url if method == "push" else None
    if data.events_requested is UNSET:
        events = SUPPORTED if before is None else before.events
    else:
        events = tuple(dict.fromkeys(_BY_URI[uri] for uri in data.events_requested if uri in _BY_URI))
    return StreamTerms(method=method, endpoint_url=url, events=events)


def _body(services: Services, receiver: client.State, state: event_stream.State) -> dict[str, Any]:
    """The configuration as it is told (SSF §8.1.1); what the receiver wants as Authorization is never shown."""
    assert state.terms is not None  # noqa: S101 - `_stream` found it
    events = [URIS[kind] for kind in state.terms.events]
    issuer = services.settings.issuer
    url = state.terms.endpoint_url if state.terms.method == "push" else f"{issuer}{POLL}"
    return {
        "stream_id": state.stream_id,
        "iss": issuer,
        "aud": receiver.known_as,
        "delivery": {"method": METHODS[state.terms.method], "endpoint_url": url},
        "events_supported": [URIS[kind] for kind in SUPPORTED],
        "events_requested": events,
        "events_delivered": events,
        "min_verification_interval": VERIFIED_EVERY,
    }


def _require_as_told(data: StreamConfiguration, told: dict[str, Any]) -> None:
    """Raises 400 where a body says otherwise of the stream than the server does (SSF §8.1.1.3, §8.1.1.4)."""
    for name in ("iss", "aud", "events_supported", "events_delivered", "min_verification_interval"):
        said, known = getattr(data, name), told[name]
        same = set(said) == set(known) if isinstance(said, list) else said == known
        if said is not UNSET and not same:
            raise InvalidRequest.field(name, "is not what it is, and not the receiver's to say")


async def _carry_out(services: Services, who: Bearer, command: Step, data: StreamConfiguration | None = None) -> None:
    """Executes a command of a receiver, and keeps what it wants as Authorization; raises the refusal's error."""
    client_id, vault = who.known.terms.client_id, services.ledger.vault

    def keep(view: View, _: object) -> None:
        if data is None:
            forget(view, vault, client_id)
        elif data.delivery is not UNSET:
            name, given = authorization_name(client_id), data.delivery.authorization_header
            if given:
                vault.put_secret(view.connection, name, given.encode(), view.now)
            else:
                vault.delete_secret(view.connection, name)
            signals.touch(view.connection, client_id, view.now)

    guarded: Any = command
    guarded = guarded.guarded(lambda view: lost(services, view, who, SCOPE))
    executed = await services.ledger.execute(guarded, origin=who.origin, then=keep)
    if executed.refusal is not None:
        raise api_error(executed.refusal)


async def _told(services: Services, client_id: str) -> dict[str, Any]:
    receiver: client.State = await services.ledger.state(client.stream(client_id))
    return _body(services, receiver, await _stream(services, client_id))


@post(
    STREAMS,
    **needing(SCOPE, example=EXAMPLE, answer=ANSWER),
    tags=TAGS,
    summary="Make a stream of security events (SSF §8.1.1.1)",
)
async def create_stream(
    request: Request[Any, Any, Any], data: JSONBody[StreamConfiguration], who: Injected[Bearer]
) -> Response[Any]:
    """It tells of every person of whom the client has a live grant, by the name that it knows them by. There is one for
    each client; without `delivery` its events wait here to be fetched."""
    services, client_id = services_of(request), _receiver(who)
    terms = _terms(data, None)
    await _carry_out(services, who, commands.create(client_id, new_id(), terms), data)
    return Response(await _told(services, client_id), status_code=201, headers={"location": STREAMS})


@get(STREAMS, **needing(SCOPE, answer=ANSWER), tags=TAGS, summary="Read the stream of security events (SSF §8.1.1.2)")
async def read_stream(
    request: Request[Any, Any, Any], who: Injected[Bearer], stream_id: AnyStreamId = None
) -> Response[Any]:
    """The one of that id; without an id a list of what the client has."""
    services, client_id = services_of(request), _receiver(who)
    if stream_id is not None:
        await _stream(services, client_id, stream_id)
        return Response(await _told(services, client_id))
    state: event_stream.State = await services.ledger.state(event_stream.stream(client_id))
    return Response([] if state.terms is None else [await _told(services, client_id)])


@patch(
    STREAMS,
    **needing(SCOPE, example=EXAMPLE | {"stream_id": ANSWER["stream_id"]}, answer=ANSWER),
    tags=TAGS,
    summary="Change some of the stream (SSF §8.1.1.3)",
)
async def change_stream(
    request: Request[Any, Any, Any], data: JSONBody[StreamConfiguration], who: Injected[Bearer]
) -> Response[Any]:
    """What is not named stays."""
    return await _changed(request, data, who, keeps=True)


@put(
    STREAMS,
    **needing(SCOPE, example=EXAMPLE | {"stream_id": ANSWER["stream_id"]}, answer=ANSWER),
    tags=TAGS,
    summary="Replace the stream's configuration (SSF §8.1.1.4)",
)
async def replace_stream(
    request: Request[Any, Any, Any], data: JSONBody[StreamConfiguration], who: Injected[Bearer]
) -> Response[Any]:
    """What is not named is as if it had never been."""
    return await _changed(request, data, who, keeps=False)


async def _changed(
    request: Request[Any, Any, Any], data: StreamConfiguration, who: Bearer, *, keeps: bool
) -> Response[Any]:
    services, client_id = services_of(request), _receiver(who)
    if data.stream_id is UNSET:
        raise InvalidRequest.field("stream_id", "is missing")
    before = await _stream(services, client_id, data.stream_id)
    _require_as_told(data, await _told(services, client_id))
    terms = _terms(data, before.terms if keeps else None)
    await _carry_out(services, who, commands.change(client_id, before.stream_id, terms), data)
    return Response(await _told(services, client_id))


@delete(STREAMS, **needing(SCOPE), status_code=204, tags=TAGS, summary="Delete the stream (SSF §8.1.1.5)")
async def delete_stream(
    request: Request[Any, Any, Any], who: Injected[Bearer], stream_id: GivenStreamId
) -> Response[None]:
    """With what is still waiting."""
    services, client_id = services_of(request), _receiver(who)
    await _carry_out(services, who, commands.delete(client_id, stream_id))
    return Response(None, status_code=204)


STATUS_ANSWER = {"stream_id": ANSWER["stream_id"], "status": "enabled"}


@get(STATUS, **needing(SCOPE, answer=STATUS_ANSWER), tags=TAGS, summary="Read the stream's status (SSF §8.1.2.1)")
async def read_status(
    request: Request[Any, Any, Any], who: Injected[Bearer], stream_id: GivenStreamId
) -> Response[Any]:
    """Whether it goes on."""
    found = await _stream(services_of(request), _receiver(who), stream_id)
    return Response({"stream_id": found.stream_id, "status": found.status})


@post(
    STATUS,
    **needing(SCOPE, example=STATUS_ANSWER, answer=STATUS_ANSWER),
    status_code=200,
    tags=TAGS,
    summary="Change the stream's status (SSF §8.1.2.2)",
)
async def change_stream_status(
    request: Request[Any, Any, Any], data: JSONBody[GivenStatus], who: Injected[Bearer]
) -> Response[Any]:
    """While it is paused, events wait; while it is disabled, there are none, and those that wait are gone."""
    services, client_id = services_of(request), _receiver(who)

    def keep(view: View, _: object) -> None:
        if data.status == "disabled":
            signals.drop(view.connection, client_id)
        elif data.status == "enabled":
            signals.touch(view.connection, client_id, view.now)

    command = commands.change_status(client_id, data.stream_id, data.status)
    guarded = command.guarded(lambda view: lost(services, view, who, SCOPE))
    executed = await services.ledger.execute(guarded, origin=who.origin, then=keep)
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return Response({"stream_id": data.stream_id, "status": data.status})


@post(
    VERIFY,
    **needing(SCOPE, example={"stream_id": ANSWER["stream_id"], "state": "VGhpcyBpcyBhbiBleGFtcGxl"}),
    status_code=204,
    tags=TAGS,
    summary="Ask for an event that verifies the stream (SSF §8.1.4.2)",
)
async def verify_stream(
    request: Request[Any, Any, Any], data: JSONBody[VerificationRequest], who: Injected[Bearer]
) -> Response[None]:
    """It goes the way of all others, with the `state` that was given."""
    services, client_id = services_of(request), _receiver(who)
    stream = await _stream(services, client_id, data.stream_id)
    bucket = Bucket(1, VERIFIED_EVERY * SECOND)
    admission = services.throttle.begin(Limit("tokens", f"ssf verify {client_id}", bucket))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after, "This stream was verified a moment ago.")
    ledger = services.ledger
    said = {} if data.state is None else {"state": data.state}
    told = ToldSignal(event="verification", stream_id=stream.stream_id, at=ledger.clock.now(), said=said)
    position, _ = await ledger.head()
    if await ledger.read(signals.number, client_id) < signals.AT_MOST:
        await ledger.maintain(signals.add, [kept(services, stream, told, position)])
    return Response(None, status_code=204)


@post(
    POLL,
    **needing(SCOPE, example={"maxEvents": 10, "ack": []}, answer={"sets": {}, "moreAvailable": False}),
    status_code=200,
    tags=TAGS,
    summary="Fetch security events (RFC 8936)",
)
async def poll(request: Request[Any, Any, Any], data: JSONBody[PollRequest], who: Injected[Bearer]) -> Response[Any]:
    """Those that wait, the oldest first, each by its `jti`, until it is acknowledged. An event that is not fetched
    within a week is given up."""
    services, client_id = services_of(request), _receiver(who)
    stream = await _stream(services, client_id)
    if stream.terms is None or stream.terms.method != "poll":
        raise InvalidRequest("The events of this stream are pushed.")
    await _acknowledge(services, client_id, data, who)
    if stream.status != "enabled":
        return Response({"sets": {}, "moreAvailable": False})
    most = min(data.maxEvents, SETS_MAXIMUM)
    waiting = await services.ledger.read(signals.of_client, client_id, most + 1)
    receiver: client.State = await services.ledger.state(client.stream(client_id))
    sets: dict[str, str] = {}
    for each in waiting[:most]:
        told = opened(services, each)
        if told is not None:
            sets[each.jti] = await signed(services, receiver, each.jti, told)
    return Response({"sets": sets, "moreAvailable": len(waiting) > most})


async def _acknowledge(services: Services, client_id: str, data: PollRequest, who: Bearer) -> None:
    """Records what the receiver took, and what it could do nothing with; nothing of that is given again."""
    if not data.ack and not data.setErrs:
        return
    named = [*data.ack, *data.setErrs]
    waiting = {each.jti: each for each in await services.ledger.read(signals.named, client_id, named)}
    for jti in dict.fromkeys(data.ack):
        signal = waiting.pop(jti, None)
        told = None if signal is None else opened(services, signal)
        if signal is not None and told is not None:
            await settle(services, signal, told, by=who.origin)
    for jti in data.setErrs:
        signal = waiting.pop(jti, None)
        told = None if signal is None else opened(services, signal)
        if signal is not None and told is not None:
            await _refused(services, signal, told, who)


async def _refused(services: Services, signal: signals.KeptSignal, told: ToldSignal, who: Bearer) -> None:
    failed = commands.note_failed(signal.client_id, signal.jti, told.event, 1, "refused", final=True)
    await services.ledger.execute(
        failed, origin=who.origin, then=lambda view, _: signals.settled(view.connection, signal.jti)
    )


ROUTES: list[Any] = [
    configuration,
    create_stream,
    read_stream,
    change_stream,
    replace_stream,
    delete_stream,
    read_status,
    change_stream_status,
    verify_stream,
    poll,
]
