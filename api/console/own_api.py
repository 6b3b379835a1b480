"""The API as the console calls it: in this process, with the person's token, for the address that they came from."""

import asyncio
import re
import shlex
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar, overload
from urllib.parse import quote, unquote, urlencode

import msgspec

from api.http.error_responses import error_response
from api.http.request_context import KEY, READINGS, Message, Receive, Scope, Send, check, request_context
from api.http.responses import JSON
from api.services import SERVICES, services_of

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
Query = Mapping[str, str | int | Sequence[str] | None]

FORM = "application/x-www-form-urlencoded"
PASSED_ON = (b"user-agent", b"accept-language", b"host")
"""What of the browser's request the API is told, besides its address and its id."""

_NETWORK_ADDRESS = re.compile(r"([?&]ip=)[^&]*")


class FaultyMember(msgspec.Struct, frozen=True):
    """What the API found wrong with one member of a request."""

    field: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """Problem details (RFC 9457), as far as pages tell them."""

    title: str = ""
    status: int = 500
    detail: str | None = None
    errors: tuple[FaultyMember, ...] = ()
    reason: str | None = None
    retry_after: int | None = None


class Refused(Exception):
    """The API did not do what it was asked. `fields` are the answer's headers by lower-case name."""

    def __init__(self, status: int, problem: Problem, fields: Mapping[str, str]) -> None:
        super().__init__(f"{status} {problem.detail or problem.title}")
        self.status = status
        self.problem = problem
        self.fields = fields

    @property
    def words(self) -> str:
        """What is told on a page."""
        faults = "; ".join(f"{each.field} {each.detail}" for each in self.problem.errors)
        return faults or self.problem.detail or self.problem.title


class ApiCall(msgspec.Struct, frozen=True):
    """A call, as the foot of a page tells it, without the network addresses by which it searched. `curl` is the line
    that does the same with a token in `$TOKEN`, and `readings` are the positions of the events that it left."""

    method: str
    url: str
    curl: str
    status: int
    readings: tuple[int, ...] = ()


class ApiAnswer(msgspec.Struct, frozen=True):
    """What the API answered."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class OwnApi:
    """The API for one request to the console."""

    def __init__(self, app: Any, scope: Scope, issuer: str, token: str = "") -> None:
        self._app = app
        self._scope = scope
        self._issuer = issuer
        self._token = token
        self._calls: dict[int, ApiCall] = {}
        self._begun = 0

    @property
    def calls(self) -> tuple[ApiCall, ...]:
        """Those that it made, in the order in which they began."""
        return tuple(self._calls[each] for each in sorted(self._calls))

    def untold(self) -> Self:
        """The same, of whose calls no page tells."""
        return type(self)(self._app, self._scope, self._issuer, self._token)

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """What stands there, as this type; raises `Refused`."""
        return msgspec.json.decode((await self.call("GET", path, query=query)).body, type=kind)

    async def send(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Any = None,
        *,
        query: Query | None = None,
        tell: bool = False,
        once: str | None = None,
    ) -> T:
        """What comes of a command or a question, as this type; raises `Refused`. Only with `tell` the foot of the page
        shows the body, which must hold no secret then. A command is carried out `once` for each such key."""
        answer = await self.call(method, path, query=query, body=body, tell=tell, once=once)
        return msgspec.json.decode(answer.body or b"null", type=kind)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        tell: bool = False,
        once: str | None = None,
    ) -> ApiAnswer:
        """The answer to one call; raises `Refused` for any that is no success."""
        url = address(path, query)
        octets = b"" if body is None else msgspec.json.encode(body)
        readings: list[int] = []
        self._begun += 1
        place = self._begun
        answer = await self.exchange(
            method, url, octets, JSON if octets else None, f"Bearer {self._token}", readings=readings, once=once
        )
        shown = octets.decode() if tell else None if not octets else "@body.json"
        # Also where it is refused: who has the link of a search need not be somebody who may see what it is for.
        told = _NETWORK_ADDRESS.sub(r"\g<1>masked", url)
        self._calls[place] = ApiCall(
            method, told, as_curl(method, self._issuer + told, shown), answer.status, tuple(readings)
        )
        if answer.status >= 300:
            raise Refused(answer.status, _problem(answer), answer.fields)
        return answer

    async def exchange(
        self,
        method: str,
        url: str,
        body: bytes,
        media_type: str | None,
        authorization: str | None,
        *,
        accept: str = "application/json",
        readings: list[int] | None = None,
        once: str | None = None,
    ) -> ApiAnswer:
        """One exchange with any endpoint of the server, whatever its answer is."""
        inner = self.inner(method, url, body, media_type, authorization, accept)
        if once is not None:
            inner["headers"].append((b"idempotency-key", once.encode("latin-1", "replace")))
        inner[READINGS] = [] if readings is None else readings
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            check(inner)
            await self._app(inner, _receiving(body), send)
        except Exception as error:
            given = error_response(inner, error)
            return ApiAnswer(given.status, {n.decode(): v.decode("latin-1") for n, v in given.headers}, given.body)
        return _answer_of(sent)

    async def pass_through(
        self, method: str, url: str, accept: str, receive: Receive, send: Send, last_event_id: str | None = None
    ) -> None:
        """Lets an answer of any length go straight to the browser: what it asked with its cookie is asked with the
        token. For streams and exports."""
        inner = self.inner(method, url, b"", None, f"Bearer {self._token}", accept)
        if last_event_id is not None:
            inner["headers"].append((b"last-event-id", last_event_id.encode("latin-1")))
        await self._app(inner, receive, send)

    def inner(
        self, method: str, url: str, body: bytes, media_type: str | None, authorization: str | None, accept: str
    ) -> Scope:
        """The ASGI scope of a call, on behalf of who asked for the page."""
        path, _, query = url.partition("?")
        headers = [each for each in self._scope["headers"] if each[0] in PASSED_ON]
        headers.append((b"accept", accept.encode()))
        if authorization is not None:
            headers.append((b"authorization", authorization.encode("latin-1")))
        if media_type is not None:
            headers += [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
        return {
            "type": "http",
            "asgi": self._scope["asgi"],
            "http_version": self._scope.get("http_version", "1.1"),
            "method": method,
            "scheme": self._scope.get("scheme", "http"),
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "client": self._scope.get("client"),
            "server": self._scope.get("server"),
            "state": {},
            KEY: request_context(self._scope),
            # A further issuer's people ask that issuer.
            SERVICES: services_of(self._scope),
        }


Call = Coroutine[Any, Any, T]


@overload
async def together(first: Call[T1], second: Call[T2], /) -> tuple[T1, T2]: ...


@overload
async def together(first: Call[T1], second: Call[T2], third: Call[T3], /) -> tuple[T1, T2, T3]: ...


@overload
async def together(
    first: Call[T1], second: Call[T2], third: Call[T3], fourth: Call[T4], /
) -> tuple[T1, T2, T3, T4]: ...


async def together(*calls: Call[Any]) -> tuple[Any, ...]:
    """What several calls answer that do not wait for each other: what they leave in the log can share a transaction.
    All of them are over afterwards; raises `Refused` of the first that was."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for each in answers:
        if isinstance(each, BaseException):
            raise each
    return tuple(answers)


def address(path: str, query: Query | None = None) -> str:
    """The path with its query; a parameter that is None, or an empty list, is left out. What is encoded in the path
    stays a part of the name that it stands in: an id that somebody made up leads to no other endpoint."""
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if value is None:
            continue
        values = [str(value)] if isinstance(value, str | int) else list(value)
        pairs += [(name, each) for each in values]
    return quote(path, safe="/:@") + (f"?{urlencode(pairs)}" if pairs else "")


def as_curl(method: str, url: str, body: str | None) -> str:
    """The line that does the same; `body` is told as it is."""
    words = ["curl", *([] if method == "GET" else ["-X", method]), "-H", "Authorization: Bearer $TOKEN"]
    if body is not None:
        words += ["-H", f"Content-Type: {JSON}", "--data", body]
    # The variable is the shell's to fill in.
    return " ".join(f'"{each}"' if "$TOKEN" in each else shlex.quote(each) for each in (*words, url))


def _receiving(body: bytes) -> Receive:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    return receive


def _answer_of(sent: Sequence[Message]) -> ApiAnswer:
    status: int = sent[0]["status"]
    fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return ApiAnswer(status, fields, b"".join(each.get("body", b"") for each in sent[1:]))


def refused(sent: Sequence[Message]) -> Refused:
    """The refusal that these messages of an answer are."""
    answer = _answer_of(sent)
    return Refused(answer.status, _problem(answer), answer.fields)


def _problem(answer: ApiAnswer) -> Problem:
    try:
        return msgspec.json.decode(answer.body, type=Problem)
    except msgspec.DecodeError:
        return Problem("The server could not do that.", answer.status)
