"""RFC 9457 problem details: one class per kind of refusal of the JSON API."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from api.answers import Answer, answer
from api.refusal_words import words
from domain import refusal as reasons
from domain.decision import Reason, Refusal

MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one member of a request. `field` is its name or path, `detail` never repeats its value."""

    field: str
    detail: str


class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it.
    """A refusal on its way to the caller.

    `detail` and `errors` are public words. `reason` is a closed word for programs. `error` is the OAuth word that
    `/dashboards/*` carries beside the rest (RFC 6749 §5.2); a subclass has a default for it.
    """

    status: int = 500
    error: str = "server_error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Iterable[FieldError] = (),
        reason: str | None = None,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.reason = reason
        self.headers: dict[str, str] = dict(headers or {})
        if error is not None:
            self.error = error

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def members(self, request_id: str | None, *, dashboard: bool = False) -> dict[str, Any]:
        """The object on the wire (RFC 9457 §3.1). Its type is `about:blank`: the status says it all (§4.2.1)."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        if self.reason is not None:
            body["reason"] = self.reason
        if dashboard:
            body["error"] = self.error
        body["request_id"] = request_id
        return body

    def answer(self, request_id: str | None, *, dashboard: bool = False) -> Answer:
        """The whole answer, never to be stored (RFC 9111 §5.2.2.5)."""
        body = msgspec.json.encode(self.members(request_id, dashboard=dashboard))
        return answer(self.status, body, MEDIA_TYPE, {**self.headers, "cache-control": "no-store"})


class Invalid(Problem):
    """400: the request is malformed, or members of it are."""

    status = 400
    error = "invalid_request"

    @classmethod
    def field(cls, field: str, detail: str) -> "Invalid":
        """One member is at fault."""
        return cls("The request is not valid.", errors=(FieldError(field, detail),))


class Unauthenticated(Problem):
    """401: no bearer token, or none that is valid (RFC 6750 §3.1)."""

    status = 401
    error = "invalid_token"

    def __init__(self, detail: str | None = "A valid access token is needed.", *, error: str | None = None) -> None:
        super().__init__(detail, error=error, headers={"www-authenticate": 'Bearer error="invalid_token"'})


class WrongCredentials(Problem):
    """401 of a dashboard's sign-in: the same for every cause, so that nothing is learnt about accounts."""

    status = 401
    error = "invalid_grant"

    def __init__(self, detail: str | None = "User name or password is wrong.") -> None:
        # RFC 9110 §11.6.1 wants a challenge with every 401; a scheme of its own keeps browsers from asking themselves.
        super().__init__(detail, headers={"www-authenticate": 'Bearer error="invalid_grant"'})


class InsufficientScope(Problem):
    """403: the token is valid and lacks a scope (RFC 6750 §3.1); `field` names the member that needs it."""

    status = 403
    error = "insufficient_scope"

    def __init__(self, scope: str, *, field: str | None = None) -> None:
        self.scope = scope
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(
            f"The access token lacks the scope {scope}.",
            errors=() if field is None else (FieldError(field, f"needs the scope {scope}"),),
            headers={"www-authenticate": challenge},
        )


class Denied(Problem):
    """403 for another cause than the token's scope."""

    status = 403
    error = "access_denied"


class Missing(Problem):
    """404: nothing has this address or id."""

    status = 404
    error = "invalid_request"


class WrongMethod(Problem):
    """405, with `Allow` (RFC 9110 §15.5.6)."""

    status = 405
    error = "invalid_request"

    def __init__(self, allow: Iterable[str]) -> None:
        methods = set(allow)
        # Whoever answers GET answers HEAD (RFC 9110 §9.3.2); the outermost layer sees to it.
        if "GET" in methods:
            methods.add("HEAD")
        super().__init__("This address does not answer to that method.", headers={"allow": ", ".join(sorted(methods))})


class Clash(Problem):
    """409: the name is taken or the state forbids it."""

    status = 409
    error = "invalid_request"


class TooLarge(Problem):
    """413: the body exceeds the limit, which is in bytes."""

    status = 413
    error = "invalid_request"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes.")


class TargetTooLong(Problem):
    """414: the target, path and query, exceeds the limit, which is in bytes (RFC 9110 §15.5.15)."""

    status = 414
    error = "invalid_request"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The target of the request is longer than {limit} bytes.")


class HeadTooLarge(Problem):
    """431: too many header fields, or too large ones (RFC 6585 §5)."""

    status = 431
    error = "invalid_request"

    def __init__(self) -> None:
        super().__init__("The header fields of the request are too many or too large.")


class WrongMediaType(Problem):
    """415, with `Accept` (RFC 9110 §15.5.16)."""

    status = 415
    error = "invalid_request"

    def __init__(self, accepted: Iterable[str]) -> None:
        names = ", ".join(accepted)
        super().__init__(f"The request body must be {names}.", headers={"accept": names})


class Unprocessable(Problem):
    """422: well-formed, but it contradicts what was said before (an `Idempotency-Key` with another body) or a bound."""

    status = 422
    error = "invalid_request"


class Throttled(Problem):
    """429; `retry_after` in whole seconds (RFC 6585 §4)."""

    status = 429
    error = "temporarily_unavailable"

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many attempts. Wait before the next one.", headers={"retry-after": str(retry_after)})
        self.retry_after = retry_after

    def members(self, request_id: str | None, *, dashboard: bool = False) -> dict[str, Any]:
        """With the seconds, which a script of another origin need not read from a header."""
        return super().members(request_id, dashboard=dashboard) | {"retry_after": self.retry_after}


class Crashed(Problem):
    """500: a fault of the server. The cause is in the log under the request id, never in the answer."""

    def __init__(self) -> None:
        super().__init__("Something went wrong on the server.")


class Unavailable(Problem):
    """503: overloaded, or the database is away; `retry_after` in whole seconds."""

    status = 503
    error = "temporarily_unavailable"

    def __init__(
        self,
        detail: str | None = "The server is busy. Try again.",
        *,
        retry_after: int = 1,
        errors: Iterable[FieldError] = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(detail, errors=errors, reason=reason, headers={"retry-after": str(retry_after)})


BY_REASON: dict[type[Reason], type[Problem]] = {
    reasons.InvalidRequest: Invalid,
    reasons.InvalidClient: Denied,
    reasons.InvalidGrant: Invalid,
    reasons.UnauthorizedClient: Denied,
    reasons.InvalidScope: Invalid,
    reasons.InvalidTarget: Invalid,
    reasons.AccessDenied: Denied,
    reasons.Forbidden: Denied,
    reasons.NotFound: Missing,
    reasons.Conflict: Clash,
    reasons.Unavailable: Unavailable,
}
"""The answer of the JSON API to each closed list of reasons."""

CREDENTIALS = frozenset({reasons.InvalidGrant.CREDENTIALS})


def from_refusal(refusal: Refusal) -> Problem:
    """A domain refusal as a problem. KeyError for a list of reasons that has no row above: that is a bug."""
    if refusal.reason in CREDENTIALS:
        return WrongCredentials()
    kind = BY_REASON[type(refusal.reason)]
    detail = refusal.detail or "The request is refused."
    errors = (FieldError(refusal.field, words(refusal) or detail),) if refusal.field is not None else ()
    return kind(detail, errors=errors, reason=refusal.reason.value)
