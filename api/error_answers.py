"""Every way a request can fail, told in the words of the place it was sent to: OAuth, problem details or a page."""

import re
from collections.abc import Callable
from typing import Any, Literal

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

from api import oauth_errors, problems
from api.answers import Answer, Scope, answer, header
from api.arrival import arrival
from api.log_lines import trace
from api.oauth_errors import OAuthError
from api.problems import FieldError, Problem
from eventstore.asking.faults import away
from eventstore.commands import DatabaseAway, DatabaseReadOnly, Forged, InDoubt, StorageFull, WentBack, WrongClock
from eventstore.commands import Overloaded as LedgerOverloaded
from security.keyring import MasterKeyError
from security.passwords import Overloaded as PasswordsOverloaded

Vocabulary = Literal["oauth", "problem", "dashboard", "page"]
ErrorPage = Callable[[Problem, str], tuple[bytes, dict[str, str]]]
"""Renders a problem and the request's id as UTF-8 HTML, with the headers that go with it."""

MACHINE = ("/admin", "/audit", "/leaks", "/credentials", "/log", "/health", "/metrics", "/schema", "/.well-known")
PAGES = ("/oauth/authorize", "/account")
MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '([\w.-]{1,64})'")
NAME = re.compile(r"[\w.\[\]-]{1,100}")
WORD = re.compile(r"[a-z][a-z_]{0,39}[0-9]{0,3}")
"""What a member may be called. A name that was sent and is no such word may be a secret, and is not repeated."""

log = structlog.get_logger("api")


def vocabulary(scope: Scope) -> Vocabulary:
    """In whose words to answer: a handler's `opt={"answers": …}` decides, else the path, and last what is accepted."""
    route_handler = scope.get("route_handler")
    if route_handler is not None and (chosen := route_handler.opt.get("answers")):
        found: Vocabulary = chosen
        return found
    path: str = scope["path"]
    if _under(path, PAGES):
        return "page"
    if path.startswith("/oauth/"):
        return "oauth"
    if path.startswith("/dashboards/"):
        # The sign-in page lives among the JSON endpoints; a browser says what it wants to see.
        return "page" if path.count("/") == 2 and _wants_page(scope) else "dashboard"
    if _under(path, MACHINE):
        return "problem"
    return "page" if _wants_page(scope) else "problem"


def _wants_page(scope: Scope) -> bool:
    return "text/html" in (header(scope, b"accept") or "")


def _under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def plain_page(problem: Problem, request_id: str) -> tuple[bytes, dict[str, str]]:
    """A page without looks, for an app that was given no other. Every word in it is ours, so nothing needs escaping."""
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{problem.title}</title>'
        f"<h1>{problem.title}</h1><p>{problem.detail or ''}</p><p>Request {request_id}</p></html>"
    )
    return text.encode(), {}


class ErrorAnswers:
    """Turns exceptions into answers. One per app; `error_page` is how pages say that something went wrong."""

    def __init__(self, error_page: ErrorPage = plain_page) -> None:
        self.error_page = error_page

    def answer(self, scope: Scope, error: Exception) -> Answer:
        """The answer to a failed request. What no class of ours names is logged and becomes a 500 without detail."""
        request_id = arrival(scope).request_id
        words = vocabulary(scope)
        if isinstance(error, OAuthError):
            if words == "oauth":
                return error.answer()
            failure = _as_problem(error)
        else:
            failure = to_problem(error, scope)
        if failure.status == 503 and not isinstance(error, Problem | OAuthError):
            # A known condition of every request while it lasts: a trace of each would drown what matters.
            log.warning("request postponed", request_id=request_id, error=type(error).__name__)
        elif failure.status >= 500 and not isinstance(error, Problem | OAuthError):
            log.error("request failed", request_id=request_id, **trace(error))
        if words == "oauth":
            return _as_oauth(failure).answer()
        if words == "page":
            body, headers = self.error_page(failure, request_id)
            return answer(
                failure.status,
                body,
                "text/html; charset=utf-8",
                {"cache-control": "no-store", **headers, **failure.headers},
            )
        return failure.answer(request_id, dashboard=words == "dashboard")

    def response(self, request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        """The same for Litestar's exception handlers."""
        given = self.answer(request.scope, error)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given.headers}
        # The framework adds the charset to text by itself.
        media_type = headers.pop("content-type").partition(";")[0]
        headers.pop("content-length", None)
        return Response(given.body, status_code=given.status, headers=headers, media_type=media_type)

    @property
    def exception_handlers(self) -> dict[type[Exception] | int, Callable[[Request[Any, Any, Any], Any], Response[Any]]]:
        """What to hand to `Litestar(exception_handlers=…)`."""
        return {HTTPException: self.response, Exception: self.response}


FORGED_FOR = 60
"""Seconds after which a caller may ask again while a log is forged or has diverged: people have to see to it."""


def to_problem(error: Exception, scope: Scope) -> Problem:
    """Any exception as the problem it amounts to."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, msgspec.ValidationError):
        return invalid(error)
    if (meant := error if isinstance(error, DatabaseAway | InDoubt) else away(error)) is not None:
        return _postponed(meant)
    if isinstance(error, LedgerOverloaded | PasswordsOverloaded):
        return problems.Unavailable()
    if isinstance(error, MasterKeyError):
        # Another node has wrapped something with a key that this one was not given yet.
        return problems.Unavailable("A master key is missing on this server. Try again.", retry_after=2)
    if isinstance(error, HTTPException):
        return _from_http(error, scope)
    return problems.Crashed()


def _postponed(error: Exception) -> Problem:
    """What the log or its database is in no state for."""
    match error:
        case InDoubt():
            words = "Nothing is issued at present, to anybody: the server's log has to be looked at."
            return problems.Unavailable(words, retry_after=FORGED_FOR, reason="log_diverged")
        case WentBack():
            words = "The log is not the one that this server knew. It answers again when its operator has restarted it."
            return problems.Unavailable(words, retry_after=10, reason="log_went_back")
        case Forged():
            words = "The log is forged. Nothing is written."
            return problems.Unavailable(words, retry_after=FORGED_FOR, reason="log_forged")
        case StorageFull():
            words = "storage_full: there is no room to store anything. What is stored is answered for."
            return problems.Unavailable(words, retry_after=10, reason="storage_full")
        case WrongClock():
            return problems.Unavailable("This server's clock is off. Try again.", retry_after=2)
        case DatabaseReadOnly():
            return problems.Unavailable("The database is read-only.", retry_after=2)
        case _:
            return problems.Unavailable("The database cannot be reached. Try again.", retry_after=2)


def _from_http(error: HTTPException, scope: Scope) -> Problem:
    match error:
        case ValidationException():
            return _from_validation(error, scope)
        case NotAuthorizedException():
            return problems.Unauthenticated()
        case PermissionDeniedException():
            return problems.Denied("This is not allowed.")
        case NotFoundException():
            return problems.Missing("Nothing has this address.")
        case MethodNotAllowedException():
            return problems.WrongMethod((error.headers or {}).get("allow", "").split(", "))
        case RequestEntityTooLarge():
            handler = scope.get("route_handler")
            return problems.TooLarge(handler.resolve_request_max_body_size() if handler is not None else 0)
        case TooManyRequestsException():
            return problems.Throttled(int((error.headers or {}).get("retry-after", "1")))
        case ServiceUnavailableException():
            return problems.Unavailable()
        case ClientException():
            # The framework's own words may repeat what was sent.
            return problems.Invalid("The request is malformed.")
        case _:
            return problems.Crashed()


def _from_validation(error: ValidationException, scope: Scope) -> Problem:
    """Litestar's list of faults, each with the parameter's name; a missing parameter is told in words only."""
    names, allowed = _names(scope), _allowed(scope)
    faults = []
    for entry in error.extra or ():
        if isinstance(entry, dict):
            key = str(entry.get("key", "body"))
            name, words = names.get(key, key), str(entry.get("message", ""))
            otherwise = f"must be one of {', '.join(allowed[key])}" if key in allowed else "is missing or not valid"
            if name == "data" or not NAME.fullmatch(name):
                name = "body"
            faults.append(FieldError(name, _words(words) if "`" in words else otherwise))
    if not faults and (match := MISSING_PARAMETER.search(error.detail)):
        faults.append(FieldError(match[1], "is missing"))
    return problems.Invalid("The request is not valid.", errors=faults)


def _parameters(scope: Scope) -> dict[str, Any]:
    """What the handler and its dependencies take, by the names that they have for it."""
    handler = scope.get("route_handler")
    if handler is None:
        return {}
    signatures = [handler.parsed_fn_signature]
    signatures += [provider.parsed_fn_signature for provider in handler.resolve_dependencies().values()]
    return {name: parameter for signature in signatures for name, parameter in signature.parameters.items()}


def _names(scope: Scope) -> dict[str, str]:
    """What callers know those parameters as that have other names here."""
    told = {name: getattr(each.kwarg_definition, "name", None) for name, each in _parameters(scope).items()}
    return {name: known for name, known in told.items() if known}


def _allowed(scope: Scope) -> dict[str, list[str]]:
    """The values of those parameters that have a few words to choose from."""
    return {name: [str(value) for value in each.args] for name, each in _parameters(scope).items() if each.is_literal}


def invalid(error: Exception, path: str | None = None) -> problems.Invalid:
    """A msgspec error as a 400 that names the member: its path is turned from `$.a[0].b` to `a[0].b`."""
    text, _, where = str(error).partition(" - at `")
    field = path or where.removesuffix("`").removeprefix("key in ").removeprefix("$").lstrip(".")
    parent = f"{field}." if field else ""
    if match := re.search(r"Object (missing required|contains unknown) field `(.*)`$", text, re.DOTALL):
        missing = match[1] == "missing required"
        name = parent + match[2] if missing or WORD.fullmatch(match[2]) else ""
        detail = "is missing" if missing else "is not known here"
        return problems.Invalid.field(name if NAME.fullmatch(name) else field or "body", detail)
    return problems.Invalid.field(field if NAME.fullmatch(field) else "body", _words(text))


def _words(text: str) -> str:
    """msgspec's words, without the value that two of its messages repeat."""
    text = text.split(" - at `", 1)[0]
    if text.startswith("Invalid enum value"):
        return "is none of the allowed values"
    if text.startswith("Invalid value"):
        return "is not valid"
    return text


def _as_oauth(problem: Problem) -> OAuthError:
    """A problem met on an OAuth endpoint (a wrong method, a body too large) in RFC 6749's words, the status kept."""
    kinds: dict[str, type[OAuthError]] = {
        "temporarily_unavailable": oauth_errors.TemporarilyUnavailable,
        "server_error": oauth_errors.ServerError,
        "invalid_token": oauth_errors.InvalidToken,
    }
    if isinstance(problem, problems.InsufficientScope):
        return oauth_errors.InsufficientScope(problem.scope)
    words = "; ".join(f"{fault.field}: {fault.detail}" for fault in problem.errors) or problem.detail
    kind = kinds.get(problem.error, oauth_errors.InvalidRequest)
    error = kind(words)
    error.headers |= problem.headers
    if problem.status != kind.status:
        # An instance may differ from its class in the status alone: 405, 413 and 415 are all `invalid_request`.
        error.status = problem.status
    return error


def _as_problem(error: OAuthError) -> Problem:
    """An OAuth error met where problem details are spoken (`/dashboards/*`, pages), with the same status and code."""
    problem = Problem(error.detail, error=error.code, headers=error.headers)
    problem.status = error.status
    return problem
