"""A command of the JSON API, carried out once however often it is sent with the same `Idempotency-Key`.

The answer is stored in the transaction that carried the command out, sealed, and without the secret that it showed: one
is shown once. What was refused is not stored, since nothing was carried out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hmac import digest
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from litestar import Request, Response
from litestar.openapi.spec import Operation, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api.audit.filters import PERSONAL
from api.http.errors import (
    Clash,
    HTTPError,
    InsufficientScope,
    InvalidRequest,
    Missing,
    Unprocessable,
    api_error,
)
from api.http.request_context import header_values
from api.oauth.bearer import Bearer, PermissionLost, caller, lost, needing, unauthorized
from api.services import Services, services_of
from domain.decision import Reason, Refusal
from domain.event import SECOND, Moment, Recorded, Sealed
from eventstore.database import Connection
from eventstore.execution import Single, Step
from eventstore.view import View
from security.keyring import WrapBroken
from security.vault import StoredAnswer

T = TypeVar("T")

HEADER = "Idempotency-Key"
LONGEST = 255
_KEY = re.compile(rf"[\x20-\x7e]{{1,{LONGEST}}}")
_PURPOSE = "idempotency"
_ALTERED = "What was kept under this Idempotency-Key was altered in the database. Look what was done; use another key."
_RUNNING = "A request with this Idempotency-Key is still being carried out. Repeat it later."

_in_hand: set[tuple[int, bytes]] = set()
"""Keys of the commands that this process is carrying out, each with the ledger that it goes to."""


@dataclass
class CommandOperation(Operation):
    """How a command stands in the OpenAPI document: it takes the header."""

    def __post_init__(self) -> None:
        header = Parameter(
            name=HEADER,
            param_in="header",
            description="A repeat with this key and the same body changes nothing and gets the first answer.",
            schema=Schema(type=OpenAPIType.STRING, min_length=1, max_length=LONGEST, pattern=r"^[ -~]+$"),
        )
        self.parameters = [*(self.parameters or ()), header]


def commanding(scope: str, **opt: Any) -> dict[str, Any]:
    """Keyword arguments of a route that carries out commands of callers who hold this scope."""
    return needing(scope, **opt) | {"operation_class": CommandOperation}


class Repeated(Reason):
    """The same key was used by somebody who was faster, in another process."""

    RUNNING = "running"
    ALTERED = "altered"


class Reply(msgspec.Struct, Generic[T], frozen=True):
    """What a command answers. `subject` is the person it tells about: once they are erased, so is the stored copy.
    `personal` are the members that need `audit:personal`; a repeat without it gets null in their place."""

    content: T
    status: int = 200
    location: str | None = None
    subject: str | None = None
    personal: tuple[str, ...] = ()


class _Key(NamedTuple):
    """`digest` binds actor, method and path; `body` the rest of what was sent."""

    digest: bytes
    body: bytes


class _Stored(msgspec.Struct, frozen=True):
    """The first answer as the vault keeps it. `text` is the body, or with `sealed` what opens to it."""

    location: str | None
    text: str
    sealed: bool
    personal: tuple[str, ...] = ()


class Once:
    """Carries out commands of the caller whom the route's guard let in, once for each key."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        self._request = request
        self._services = services_of(request)
        self._who = caller(request)
        self._is_ahead = False

    async def carry_out(
        self, first: Single, *others: Step, reply: Callable[[View, tuple[Recorded, ...]], Reply[T]]
    ) -> Response[T]:
        """Executes the commands, and gives what `reply` makes of it inside the transaction. Under the lock the caller's
        token and scope are asked for once more. Raises the problem that a refusal amounts to, 409 while the same key is
        in hand, 422 for the same key with another body."""
        key = await self._key()
        if key is None:
            return _response(await self._execute(None, (first, *others), reply))
        place = (id(self._services.ledger), key.digest)
        if place in _in_hand:
            raise Clash(_RUNNING, reason=Repeated.RUNNING)
        _in_hand.add(place)
        try:
            found = await self._first(key)
            return _response(await self._execute(key, (first, *others), reply)) if found is None else found
        finally:
            _in_hand.discard(place)

    async def ahead(self, first: Single, *others: Step) -> tuple[Recorded, ...]:
        """Executes what must be in force before the command that is answered can be made; says what was recorded. The
        caller's token and scope are asked for under this lock, and not again by what follows: the token may be among
        what this ended."""
        given = await self._execute(None, (first, *others), lambda _, recorded: Reply(recorded))
        self._is_ahead = True
        return given.content

    async def first_answer(self) -> Response[Any] | None:
        """The answer of a command that was carried out under this key before; None when there was none. For handlers
        that look at something before `carry_out`: what they would find is not what counts."""
        key = await self._key()
        return None if key is None else await self._first(key)

    async def _first(self, key: _Key) -> Response[Any] | None:
        return await self._services.ledger.read(_first, self._services, self._who, key)

    async def _key(self) -> _Key | None:
        request, actor = self._request, self._who.origin.actor
        values = header_values(request.scope, HEADER.lower().encode())
        if not values:
            return None
        if len(values) > 1 or not _KEY.fullmatch(values[0]):
            raise InvalidRequest.field(HEADER, f"must stand once and have 1 to {LONGEST} printable ASCII characters")
        bound = [actor.kind, actor.id, request.method, request.scope["path"], values[0]]
        # The query counts as a part of the body: it says what to do, and another one is another command.
        body = request.scope["query_string"] + b"\0" + await request.body()
        # Keyed, because a body may hold a password: its plain digest would be enough to try a dictionary against.
        secret = self._services.keyring.derive(_PURPOSE)
        return _Key(digest(secret, msgspec.json.encode(bound), "sha256"), digest(secret, body, "sha256"))

    async def _execute(
        self,
        key: _Key | None,
        commands: tuple[Single, *tuple[Step, ...]],
        reply: Callable[[View, tuple[Recorded, ...]], Reply[T]],
    ) -> Reply[T]:
        needed: str = self._request.route_handler.opt["scope"]
        services, who = self._services, self._who
        first, *others = commands

        def refused(view: View) -> Refusal | None:
            if not self._is_ahead and (gone := lost(services, view, who, needed)):
                return gone
            # Between our look and the lock another process may have carried out the same.
            if key is not None and _kept(view.connection, services, key, view.now) is not None:
                return Refusal(Repeated.RUNNING)
            return None

        def then(view: View, recorded: tuple[Recorded, ...]) -> Reply[T]:
            given = reply(view, recorded)
            if key is not None:
                _store(services, view, key, given)
            return given

        executed = await services.ledger.execute(first.guarded(refused), *others, origin=who.origin, then=then)
        if executed.refusal is not None:
            raise _problem(services, executed.refusal, needed)
        if executed.value is None:
            raise AssertionError("what was not refused has an answer")
        return executed.value


def _problem(services: Services, refusal: Refusal, needed: str) -> HTTPError:
    match refusal.reason:
        case PermissionLost.TOKEN:
            return unauthorized(services)
        case PermissionLost.SCOPE:
            return InsufficientScope(needed)
        case Repeated.RUNNING:
            return Clash(_RUNNING, reason=Repeated.RUNNING)
    return api_error(refusal)


def _response(given: Reply[T]) -> Response[T]:
    headers = {} if given.location is None else {"location": given.location}
    return Response(given.content, status_code=given.status, headers=headers)


def _store(services: Services, view: View, key: _Key, given: Reply[Any]) -> None:
    """Keeps the answer, its secret left out."""
    content = _without_secrets(given.content)
    text = "" if content is None else msgspec.json.encode(content).decode()
    if given.subject is not None and text:
        text = services.ledger.privacy.seal(
            view.connection, given.subject, view.now, key.digest.hex(), "answer", text
        ).text
    stored = _Stored(given.location, text, given.subject is not None, given.personal)
    services.ledger.vault.put_answer(
        view.connection,
        key.digest,
        StoredAnswer(key.body, given.status, msgspec.json.encode(stored)),
        now=view.now,
        expires_at=view.now + services.settings.idempotency_lifetime * SECOND,
    )


def _without_secrets(content: Any) -> Any:
    for name in ("client_secret", "initial_access_token", "signing_key"):
        if isinstance(getattr(content, name, None), str):
            content = msgspec.structs.replace(content, **{name: None})
    if items := getattr(content, "items", ()):
        content = msgspec.structs.replace(content, items=tuple(map(_without_secrets, items)))
    return content


def _kept(connection: Connection, services: Services, key: _Key, now: Moment) -> StoredAnswer | None:
    """What is kept under the key; raises the problem that it was altered, since nobody knows whether it was done."""
    try:
        return services.ledger.vault.get_answer(connection, key.digest, now)
    except WrapBroken:
        raise Clash(_ALTERED, reason=Repeated.ALTERED) from None


def _first(connection: Connection, services: Services, who: Bearer, key: _Key) -> Response[Any] | None:
    """The first answer again, as far as this caller may see it; None when there was none."""
    kept = _kept(connection, services, key, services.ledger.clock.now())
    if kept is None:
        return None
    if kept.body_hash != key.body:
        raise Unprocessable("This Idempotency-Key was used for another request body.")
    stored = msgspec.json.decode(kept.content, type=_Stored)
    text: str | None = stored.text
    if stored.sealed and stored.text:
        text = services.ledger.privacy.open(connection, Sealed(key.digest.hex(), "answer", stored.text))
        if text is None:
            raise Missing("Whom the first answer was about has been erased.")
    if text and stored.personal and PERSONAL not in who.scope:
        # The key is the actor's, who may have come with another token.
        text = msgspec.json.encode(msgspec.json.decode(text) | dict.fromkeys(stored.personal)).decode()
    headers = {} if stored.location is None else {"location": stored.location}
    content = text.encode() if text else None
    return Response(content, status_code=kept.status, headers=headers, media_type="application/json")
