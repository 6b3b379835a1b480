"""How a refusal is told in the words of the place that was asked: OAuth's JSON, problem details (RFC 9457) or a page.

Whatever else goes wrong, in the framework, in the database or in our own code, is one of `api.http.errors` first.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
    ServiceUnavailableException,
    TooManyRequestsException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from api.http import errors, invalid_members
from api.http.errors import TOLD, FieldError, HTTPError, TemporarilyUnavailable
from api.http.log_lines import trace
from api.http.request_context import Scope, is_for_people, language, request_context
from api.http.responses import JSON, RawResponse, raw_response
from api.http.templates import ErrorPage, PageBranding, render, security_headers
from api.languages import Language, Words
from eventstore.database.engines import away
from eventstore.unavailable import (
    ArchiveAway,
    DatabaseAway,
    DatabaseReadOnly,
    Forged,
    InDoubt,
    LedgerOverloaded,
    StorageFull,
    WentBack,
    WrongClock,
)
from security.keyring import MasterKeyError, WrapBroken
from security.passwords import HasherOverloaded
from security.sealing import SealBroken

Vocabulary = Literal["oauth", "problem", "dashboard", "page"]

PROBLEM = "application/problem+json"
MACHINE = (
    *("/admin", "/audit", "/leaks", "/me", "/credentials", "/log", "/health", "/metrics", "/schema", "/.well-known"),
)
COMMANDS = ("/oauth/global-token-revocation",)
"""Of the JSON API, by a bearer token, where a specification wants them among OAuth's endpoints."""

OWN = (
    *("/account/password", "/account/sessions", "/account/activity", "/account/export", "/account/upstreams"),
    "/account/second-factors",
)
"""Of the JSON API, by a person's own token."""

PAGES = ("/oauth/authorize", "/oauth/logout", "/account", "/device", "/console")
MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '([\w.-]{1,64})'")
OUTSIDE = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")
"""Characters that `error_description` must not hold (RFC 6749 §5.2)."""

BESIDE = ("/sign-in", "/signed-in")
"""The pages of a dashboard beside its endpoints."""

FORGED_FOR = 60
"""Seconds after which a caller may ask again while a log is forged or has diverged: people have to see to it."""

log = structlog.get_logger("api")


def vocabulary(scope: Scope) -> Vocabulary:
    """In whose words to answer: a handler's `opt={"answers": …}` decides, else the path, and last what is accepted."""
    route_handler = scope.get("route_handler")
    if route_handler is not None and (chosen := route_handler.opt.get("answers")):
        found: Vocabulary = chosen
        return found
    path: str = scope["path"]
    if _under(path, PAGES):
        return "problem" if _is_for_programs(scope, path) else "page"
    if path.startswith("/oauth/"):
        return "problem" if _under(path, COMMANDS) else "oauth"
    if path.startswith("/dashboards/"):
        if path.endswith(BESIDE):
            return "page"
        # The sign-in page lives among the JSON endpoints; a browser says what it wants to see.
        return "page" if path.count("/") == 2 and is_for_people(scope) else "dashboard"
    if _under(path, MACHINE):
        return "problem"
    return "page" if is_for_people(scope) else "problem"


def _is_for_programs(scope: Scope, path: str) -> bool:
    """A person's account has pages, and beside them what programs ask for with a token."""
    if path == "/account":
        return scope.get("method", "GET") not in ("GET", "HEAD")
    return path in OWN or path.startswith(("/account/sessions/", "/account/upstreams/"))


def _under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def error_response(scope: Scope, error: Exception) -> RawResponse:
    """The answer to a failed request. What no class of ours names is logged and becomes a 500 without detail."""
    request_id = request_context(scope).request_id
    told = to_http_error(error, scope)
    scope[TOLD] = told.told
    if told is not error and told.status == 503:
        # A known condition of every request while it lasts: a trace of each would drown what matters.
        log.warning("request postponed", request_id=request_id, error=type(error).__name__)
    elif told is not error and told.status >= 500:
        log.error("request failed", request_id=request_id, **trace(error))
    match vocabulary(scope):
        case "oauth":
            return as_oauth(told)
        case "page":
            return as_page(told, request_id, language(scope), _branding(scope))
        case words:
            return as_problem(told, request_id, with_code=words == "dashboard")


def as_oauth(error: HTTPError) -> RawResponse:
    """RFC 6749 §5.2, never to be stored. Members at fault stand in the description."""
    body: dict[str, Any] = dict(parameters(error))
    if isinstance(error, errors.InsufficientAuthorization):
        body |= error.members
    if error.enrol_url is not None:
        body["enrol_url"] = error.enrol_url
    headers = {**error.headers, "cache-control": "no-store", "pragma": "no-cache"}
    return raw_response(error.status, msgspec.json.encode(body), JSON, headers)


def parameters(error: HTTPError) -> list[tuple[str, str]]:
    """The error as parameters of OAuth, in an answer or a redirect (RFC 6749 §4.1.2.1, §5.2)."""
    pairs = [("error", error.code)]
    if words := description("; ".join(f"{each.field}: {each.detail}" for each in error.errors) or error.detail or ""):
        pairs.append(("error_description", words))
    return pairs


def description(text: str) -> str:
    """Words reduced to the characters that RFC 6749 §5.2 allows: quotes become apostrophes, the rest is left out."""
    return OUTSIDE.sub("", text.replace('"', "'").replace("…", "...").replace("\\", "/"))


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457 problem details; `error` is OAuth's word, on `/dashboards/*` only, `enrol_url` is where people get the
    second factor that they lack, `retry_after` in seconds, with 429."""

    type: str
    title: str
    status: int
    detail: str | None
    errors: Sequence[FieldError] | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    enrol_url: str | msgspec.UnsetType = msgspec.UNSET
    request_id: str | None
    retry_after: int | msgspec.UnsetType = msgspec.UNSET


def as_problem(error: HTTPError, request_id: str | None, *, with_code: bool = False) -> RawResponse:
    """RFC 9457 §3.1, never to be stored. Its type is `about:blank`: the status says it all (§4.2.1). `with_code` adds
    OAuth's word, which `/dashboards/*` carries beside the rest."""
    body = ProblemBody(
        type="about:blank",
        title=error.title,
        status=error.status,
        detail=error.detail,
        errors=error.errors or msgspec.UNSET,
        reason=msgspec.UNSET if error.reason is None else error.reason,
        error=error.code if with_code else msgspec.UNSET,
        enrol_url=error.enrol_url or msgspec.UNSET,
        request_id=request_id,
        # A script of another origin need not read it from a header.
        retry_after=error.retry_after if isinstance(error, errors.Throttled) else msgspec.UNSET,
    )
    return raw_response(
        error.status, msgspec.json.encode(body), PROBLEM, {**error.headers, "cache-control": "no-store"}
    )


def _branding(scope: Scope) -> PageBranding | None:
    """How the page looks, as the app says that is put together with it; None before it is."""
    app = scope.get("litestar_app")
    look = None if app is None else getattr(app.state, "branding", None)
    found: PageBranding | None = None if look is None else look(scope)
    return found


def as_page(error: HTTPError, request_id: str, spoken: Language, branding: PageBranding | None = None) -> RawResponse:
    """A page for people, with the id of the request that they can tell anyone who looks after the server."""
    page = ErrorPage(
        branding=branding, title=error.title, explanation=error.words or error.title, request_id=request_id
    )
    headers = {**security_headers(), "content-language": spoken.code, **error.headers}
    return raw_response(error.status, render(page, spoken), "text/html; charset=utf-8", headers)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The same as the framework's answer."""
    given = error_response(request.scope, error)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given.headers}
    # The framework adds the charset to text by itself.
    media_type = headers.pop("content-type").partition(";")[0]
    headers.pop("content-length", None)
    return Response(given.body, status_code=given.status, headers=headers, media_type=media_type)


EXCEPTION_HANDLERS: dict[Any, Any] = {HTTPException: handle, Exception: handle}
"""What to hand to `Litestar(exception_handlers=…)`."""


def to_http_error(error: Exception, scope: Scope) -> HTTPError:
    """Any exception as the refusal that it amounts to."""
    if isinstance(error, HTTPError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return invalid_members.invalid_member(error)
    if (meant := error if isinstance(error, DatabaseAway | InDoubt) else away(error)) is not None:
        return _postponed(meant)
    if isinstance(error, LedgerOverloaded | HasherOverloaded):
        return TemporarilyUnavailable()
    if isinstance(error, MasterKeyError):
        # Another node has wrapped something with a key that this one was not given yet.
        return TemporarilyUnavailable("A master key is missing on this server. Try again.", retry_after=2)
    if isinstance(error, SealBroken | WrapBroken):
        # Somebody took the key away or altered it behind the server's back, and its operator has to see to it.
        words = Words("Something that was sealed cannot be opened: the server's vault has to be looked at.")
        return TemporarilyUnavailable(words, retry_after=FORGED_FOR, reason="vault_changed")
    if isinstance(error, HTTPException):
        return _from_framework(error, scope)
    return errors.ServerError()


def _postponed(error: Exception) -> HTTPError:
    """What the log or its database is in no state for."""
    match error:
        case InDoubt():
            words = Words("Nothing is issued at present, to anybody: the server's log has to be looked at.")
            return TemporarilyUnavailable(words, retry_after=FORGED_FOR, reason="log_diverged")
        case WentBack():
            words = Words(
                "The log is not the one that this server knew. It answers again when its operator has restarted it."
            )
            return TemporarilyUnavailable(words, retry_after=10, reason="log_went_back")
        case Forged():
            words = Words("The log is forged. Nothing is written.")
            return TemporarilyUnavailable(words, retry_after=FORGED_FOR, reason="log_forged")
        case ArchiveAway(segment=segment, first=first, last=last):
            words = Words(
                "The archive cannot be read at present: events %(first)s-%(last)s in %(segment)s.",
                first=str(first),
                last=str(last),
                segment=segment,
            )
            return TemporarilyUnavailable(words, retry_after=FORGED_FOR, reason="archive_away")
        case StorageFull():
            words = Words("storage_full: there is no room to store anything. What is stored is answered for.")
            return TemporarilyUnavailable(words, retry_after=10, reason="storage_full")
        case WrongClock():
            return TemporarilyUnavailable("This server's clock is off. Try again.", retry_after=2)
        case DatabaseReadOnly():
            return TemporarilyUnavailable("The database is read-only.", retry_after=2)
        case _:
            return TemporarilyUnavailable("The database cannot be reached. Try again.", retry_after=2)


def _from_framework(error: HTTPException, scope: Scope) -> HTTPError:
    headers = error.headers or {}
    match error:
        case ValidationException():
            return _from_validation(error, scope)
        case NotAuthorizedException():
            return errors.InvalidToken()
        case PermissionDeniedException():
            return errors.AccessDenied("This is not allowed.")
        case NotFoundException():
            return errors.Missing("Nothing has this address.")
        case MethodNotAllowedException():
            return errors.WrongMethod(headers.get("allow", "").split(", "))
        case RequestEntityTooLarge():
            handler = scope.get("route_handler")
            return errors.TooLarge(handler.resolve_request_max_body_size() if handler is not None else 0)
        case TooManyRequestsException():
            return errors.Throttled(int(headers.get("retry-after", "1")))
        case ServiceUnavailableException():
            return TemporarilyUnavailable()
        case ClientException():
            # The framework's own words may repeat what was sent.
            return errors.InvalidRequest("The request is malformed.")
        case _:
            return errors.ServerError()


def _from_validation(error: ValidationException, scope: Scope) -> HTTPError:
    """Litestar's list of faults, each with the parameter's name; a missing parameter is told in words only."""
    declared = _parameters(scope)
    faults = []
    for entry in error.extra or ():
        if isinstance(entry, dict):
            key = str(entry.get("key", "body"))
            parameter = declared.get(key)
            name = getattr(getattr(parameter, "kwarg_definition", None), "name", None) or key
            if name == "data" or not invalid_members.NAME.fullmatch(name):
                name = "body"
            faults.append(FieldError(name, _fault(str(entry.get("message", "")), parameter)))
    if not faults and (match := MISSING_PARAMETER.search(error.detail)):
        faults.append(FieldError(match[1], "is missing"))
    return errors.InvalidRequest("The request is not valid.", errors=faults)


def _fault(message: str, parameter: Any) -> str:
    """The framework's words where they name what was expected; else the few values that there are to choose from."""
    if "`" in message:
        return invalid_members.without_value(message)
    allowed = () if parameter is None else _choices(parameter.annotation)
    return f"must be one of {', '.join(map(str, allowed))}" if allowed else "is missing or not valid"


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, which may be one of a union with None; nothing for what is none."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((get_args(each) for each in get_args(annotation) if get_origin(each) is Literal), ())


def _parameters(scope: Scope) -> dict[str, Any]:
    """What the handler and its dependencies take, by the names that they have for it."""
    handler = scope.get("route_handler")
    if handler is None:
        return {}
    signatures = [handler.parsed_fn_signature]
    signatures += [provider.parsed_fn_signature for provider in handler.resolve_dependencies().values()]
    return {name: parameter for signature in signatures for name, parameter in signature.parameters.items()}
