"""Who is told at once of what happens: webhooks, chat rooms and mailboxes, and what has not reached them."""

import base64
import secrets as randomness
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies.members import Time
from api.admin.idempotency import Once, Reply, commanding
from api.config.settings import Settings, is_mailbox
from api.http.errors import InvalidRequest, Missing
from api.http.outgoing_requests import OutgoingRequests
from api.http.parameters import DEFAULT, After, AtMost, Limit, Page, decode_cursor, page, part
from api.notifications.channels import destinations as configured
from api.notifications.channels import senders
from api.notifications.channels.webhook import host_of, signing_keys
from api.notifications.chosen import sender
from api.notifications.message import SendNotification, Wrong, chosen, compose
from api.oauth.bearer import needing
from api.services import Injected
from commands import destinations as commands
from commands.destinations import DestinationSecrets
from domain.event import Recorded
from domain.notifying import destination
from domain.notifying.destination import DestinationKind, DestinationTerms
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import outbox
from projections.outbox import Delivery
from security.clock import format_rfc3339

PATH = "/admin/notifications/destinations"
ONE = PATH + "/{name:str}"
SCOPE = "leaks:write"
TAGS = ["Notifications"]

RECIPIENTS_MAXIMUM = 20
KEY_BYTES = 32

TERMS: dict[str, Any] = {
    "kind": "webhook",
    "url": "https://hooks.example.com/grantlog",
    "types": ["incident.*", "grant.code_replayed"],
}
EXAMPLE: dict[str, Any] = {
    "name": "pager",
    "kind": "webhook",
    "host": "hooks.example.com",
    "recipients": 0,
    "types": ["incident.*", "grant.code_replayed"],
    "managed_by": "api",
    "waiting": 0,
    "dead": 0,
}
MADE: dict[str, Any] = EXAMPLE | {"signing_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYq="}

Name = Annotated[
    str, PathParameter(max_length=destination.NAME_MAXIMUM, description="What the destination is called here.")
]
Type = Annotated[str, Meta(max_length=destination.TYPE_MAXIMUM)]


class DestinationRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is to be told. What a destination has already and this leaves out stays."""

    kind: DestinationKind = "webhook"
    url: Annotated[str, Meta(min_length=1, max_length=2000)] | UnsetType = UNSET
    signing_key: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1000,
                description="Of a webhook: `whsec_` and base64; several, with blanks between, all sign. One is made if"
                " none is given.",
            ),
        ]
        | UnsetType
    ) = UNSET
    to: Annotated[
        list[Annotated[str, Meta(max_length=254)]], Meta(max_length=RECIPIENTS_MAXIMUM, description="Of mail.")
    ] = []
    types: (
        Annotated[
            list[Type],
            Meta(
                max_length=destination.TYPES_MAXIMUM,
                description="Types, `noun.*`, `security`, or `*`, as at first.",
            ),
        ]
        | UnsetType
    ) = UNSET
    name: Annotated[str, Meta(max_length=destination.NAME_MAXIMUM)] | UnsetType = UNSET


class DestinationBody(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told. Its address is as good as a secret and shown to nobody; `host` is whose it is. `waiting` is
    tried again, `dead` is not."""

    name: str
    kind: DestinationKind
    host: str | None
    recipients: int
    types: list[str]
    managed_by: Literal["settings", "api"]
    waiting: int
    dead: int
    signing_key: Annotated[str, Meta(description="Shown once, where it was made here.")] | UnsetType = UNSET


def _told(
    connection: Connection, ledger: Ledger, settings: Settings, state: destination.State
) -> list[DestinationBody]:
    standing = {each.destination: each for each in outbox.standing(connection)}
    bodies = [_of_settings(each) for each in configured(settings)]
    for name, terms in state.destinations.items():
        kept = commands.secrets_of(connection, ledger.vault, name)
        bodies.append(_body(name, terms, 0 if kept is None else len(kept.to)))
    counted = [
        msgspec.structs.replace(each, waiting=found.waiting, dead=found.dead)
        if (found := standing.get(each.name)) is not None
        else each
        for each in bodies
    ]
    return sorted(counted, key=lambda each: each.name)


def _body(name: str, terms: DestinationTerms, recipients: int) -> DestinationBody:
    return DestinationBody(
        name=name,
        kind=terms.kind,
        host=terms.host,
        recipients=recipients,
        types=list(terms.types),
        managed_by="api",
        waiting=0,
        dead=0,
    )


def _of_settings(known: outbox.Destination) -> DestinationBody:
    kind: DestinationKind = "mail" if known.name == "mail" else "webhook"
    return DestinationBody(
        name=known.name,
        kind=kind,
        host=None,
        recipients=0,
        types=sorted(known.types),
        managed_by="settings",
        waiting=0,
        dead=0,
    )


async def _all(ledger: Ledger, settings: Settings) -> list[DestinationBody]:
    return await ledger.read(_told, ledger, settings, await ledger.state(destination.STREAM))


async def _one(ledger: Ledger, settings: Settings, name: str) -> DestinationBody:
    found = next((each for each in await _all(ledger, settings) if each.name == name), None)
    if found is None:
        raise Missing("There is no such destination.")
    return found


@get(PATH, **needing(SCOPE, answer={"items": [EXAMPLE], "next": None}), tags=TAGS, summary="List who is told")
async def list_destinations(
    ledger: Injected[Ledger], settings: Injected[Settings], limit: AtMost = None, after: After = None
) -> Page[DestinationBody]:
    """All of them by name, those of the settings included."""
    return part(await _all(ledger, settings), limit, after, kind="destinations", name=lambda each: each.name)


@get(ONE, **needing(SCOPE, answer=EXAMPLE), tags=TAGS, summary="Read who is told")
async def read_destination(name: Name, ledger: Injected[Ledger], settings: Injected[Settings]) -> DestinationBody:
    """By its name."""
    return await _one(ledger, settings, name)


@put(
    ONE,
    **commanding(SCOPE, recent=True, example=TERMS, answer=EXAMPLE),
    tags=TAGS,
    summary="Tell somebody",
    responses={201: ResponseSpec(DestinationBody, description="They are told from now on.")},
)
async def put_destination(
    name: Name,
    data: JSONBody[DestinationRequest],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    once: Injected[Once],
) -> Response[DestinationBody]:
    """Tells a webhook, a chat room or mailboxes of these types from now on. The address is kept in the vault alone."""
    if data.name not in (UNSET, name):
        raise InvalidRequest.field("name", "must be the name in the address")
    if (first := await once.first_answer()) is not None:
        return first
    state: destination.State = await ledger.state(destination.STREAM)
    before = state.destinations.get(name)
    kept = await ledger.read(commands.secrets_of, ledger.vault, name)
    if before is None or kept is None or before.kind != data.kind:
        before, kept = None, DestinationSecrets()
    terms, secrets = _terms(data, before, kept, settings)
    made = secrets.signing_key if secrets.signing_key != kept.signing_key and data.signing_key is UNSET else None

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[DestinationBody]:
        if recorded:
            commands.keep(view, ledger.vault, name, secrets)
        body = _body(name, terms, len(secrets.to))
        if recorded and made is not None:
            body = msgspec.structs.replace(body, signing_key=made)
        return Reply(body, 201, f"{PATH}/{name}") if recorded and name not in state.destinations else Reply(body)

    taken = {each.name for each in configured(settings)}
    command = commands.put(name, terms, secrets, vault=ledger.vault, taken=taken)
    return await once.carry_out(command, reply=reply)


def _terms(
    data: DestinationRequest, before: DestinationTerms | None, kept: DestinationSecrets, settings: Settings
) -> tuple[DestinationTerms, DestinationSecrets]:
    """What is asked for. Raises 400 with the member at fault."""
    former = ("*",) if before is None else before.types
    types = former if data.types is UNSET else tuple(dict.fromkeys(data.types))
    try:
        chosen(types)
    except Wrong as error:
        raise InvalidRequest.field("types", str(error)) from None
    if data.kind == "mail":
        return DestinationTerms(kind="mail", types=types), DestinationSecrets(to=_recipients(data, kept, settings))
    if data.to:
        raise InvalidRequest.field("to", "is for mail")
    url = kept.url if data.url is UNSET else data.url
    if url is None:
        raise InvalidRequest.field("url", "is missing")
    try:
        host = host_of(url, allow_private=settings.allow_private_urls)
    except Wrong as error:
        raise InvalidRequest.field("url", str(error)) from None
    terms = DestinationTerms(kind=data.kind, host=host, types=types)
    if data.kind == "slack":
        if data.signing_key is not UNSET:
            raise InvalidRequest.field("signing_key", "is for a webhook")
        return terms, DestinationSecrets(url=url)
    return terms, DestinationSecrets(url=url, signing_key=_signing_key(data, kept))


def _recipients(data: DestinationRequest, kept: DestinationSecrets, settings: Settings) -> tuple[str, ...]:
    if data.url is not UNSET or data.signing_key is not UNSET:
        raise InvalidRequest.field("url" if data.url is not UNSET else "signing_key", "is not for mail")
    if not settings.mail_host:
        raise InvalidRequest.field("kind", "needs a mail server (GRANTLOG_MAIL_HOST)")
    to: Sequence[str] = data.to or kept.to
    if not to or not all(map(is_mailbox, to)):
        raise InvalidRequest.field("to", "must be e-mail addresses")
    return tuple(dict.fromkeys(to))


def _signing_key(data: DestinationRequest, kept: DestinationSecrets) -> str:
    if data.signing_key is UNSET:
        made = base64.b64encode(randomness.token_bytes(KEY_BYTES)).decode()
        return kept.signing_key or f"whsec_{made}"
    try:
        signing_keys(data.signing_key)
    except Wrong as error:
        raise InvalidRequest.field("signing_key", str(error)) from None
    return data.signing_key


@delete(ONE, **commanding(SCOPE, recent=True), tags=TAGS, summary="Tell somebody no longer")
async def delete_destination(name: Name, ledger: Injected[Ledger], once: Injected[Once]) -> Response[None]:
    """What they have not been told yet they never are. Those of the settings are taken out there."""

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[None]:
        commands.forget(view, ledger.vault, name)
        return Reply(None, 204)

    return await once.carry_out(commands.remove(name), reply=reply)


# What has not been delivered.

DELIVERY: dict[str, Any] = {
    "position": 4711,
    "type": "incident.reported",
    "state": "waiting",
    "attempts": 2,
    "next_at": "2026-01-31T12:00:25.000000Z",
    "outcome": "status 503",
}


class DeliveryBody(msgspec.Struct, frozen=True):
    """An event that somebody has not been told. `outcome` is what came of the attempt before; what is `dead` is not
    tried again."""

    position: int
    type: str
    state: Literal["waiting", "dead"]
    attempts: int
    next_at: Time | None
    outcome: str | None


@get(
    f"{ONE}/deliveries",
    **needing(SCOPE, answer={"items": [DELIVERY], "next": None}),
    tags=TAGS,
    summary="What has not been delivered",
)
async def list_deliveries(
    name: Name,
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[DeliveryBody]:
    """In the order of the log."""
    await _one(ledger, settings, name)
    cursor = decode_cursor("deliveries", after, int)
    rows = await ledger.read(_undelivered, name, 0 if cursor is None else cursor[0], limit + 1)
    return page(rows, limit, kind="deliveries", key=lambda each: (each.position,), item=_delivery)


def _undelivered(connection: Connection, name: str, after: int, limit: int) -> list[Delivery]:
    return outbox.undelivered(connection, destination=name, after=after, limit=limit)


def _delivery(each: Delivery) -> DeliveryBody:
    next_at = None if each.dead else format_rfc3339(each.due_at)
    state: Literal["waiting", "dead"] = "dead" if each.dead else "waiting"
    return DeliveryBody(each.position, each.type, state, each.attempts, next_at, each.outcome)


# Whether they can be told anything, and telling them what they could not be told.

TESTED: dict[str, Any] = {"position": 4712, "delivered": False, "outcome": "status 503"}


class DestinationTest(msgspec.Struct, frozen=True):
    """What came of it: the event that they were notified of, and why they did not take it."""

    position: int
    delivered: bool
    outcome: str | None


@post(
    f"{ONE}/test",
    status_code=200,
    **commanding(SCOPE, answer=TESTED),
    tags=TAGS,
    summary="Send a test message",
)
async def test_destination(
    name: Name, ledger: Injected[Ledger], settings: Injected[Settings], once: Injected[Once]
) -> Response[DestinationTest]:
    """Tells them of `destination.tested`, at once and once, and says what came of it."""
    if (first := await once.first_answer()) is not None:
        return first
    (recorded,) = await once.ahead(commands.test(name, {each.name for each in configured(settings)}))
    await ledger.settled()
    message = await ledger.read(compose, ledger.privacy, recorded.position)
    send = await _send_to(ledger, settings, name)
    if message is None:
        raise AssertionError("what was recorded is there")
    failed = await send(message)
    outcome = None if failed is None else failed.outcome
    given = DestinationTest(recorded.position, failed is None, outcome)
    return await once.carry_out(commands.tested(), reply=lambda view, _: Reply(given))


async def _send_to(ledger: Ledger, settings: Settings, name: str) -> SendNotification:
    if (known := senders(settings, ledger.clock).get(name)) is not None:
        return known
    state: destination.State = await ledger.state(destination.STREAM)
    if name not in state.destinations:
        raise Missing("There is no such destination.")
    kept = await ledger.read(commands.secrets_of, ledger.vault, name)
    outgoing = OutgoingRequests(allow_private=settings.allow_private_urls)
    return sender(name, state.destinations[name], kept, settings, outgoing, ledger.clock)


class ReplayRequest(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}
):
    """Of which positions; of all without any."""

    first: Annotated[int, Meta(ge=1, le=commands.LAST)] = 1
    last: Annotated[int, Meta(ge=1, le=commands.LAST)] | None = None


class Replayed(msgspec.Struct, frozen=True):
    """How many dead letters are tried once more."""

    deliveries: int


@post(
    f"{ONE}/replay",
    status_code=200,
    **commanding(SCOPE, example={"from": 4711}, answer={"deliveries": 3}),
    tags=TAGS,
    summary="Try dead letters once more",
)
async def replay_destination(
    name: Name,
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    once: Injected[Once],
    data: JSONBody[ReplayRequest] = ReplayRequest(),  # noqa: B008 - nothing in it is ever changed.
) -> Response[Replayed]:
    """From the beginning, as if they were new. Receivers know a repeat by its `webhook-id`."""

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[Replayed]:
        revived = commands.revive(view, ledger.vault, name, data.first, data.last) if recorded else 0
        return Reply(Replayed(revived))

    taken = {each.name for each in configured(settings)}
    return await once.carry_out(commands.replay(name, taken, data.first, data.last), reply=reply)


ROUTES: list[Any] = [
    list_destinations,
    read_destination,
    put_destination,
    delete_destination,
    list_deliveries,
    test_destination,
    replay_destination,
]
