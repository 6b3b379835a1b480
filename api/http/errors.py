"""Every way to refuse a request: a class for each code of OAuth (RFC 6749 §4.1.2.1, §5.2; RFC 6750 §3.1; RFC 8707 §2),
and one for each further status of HTTP (RFC 9110 §15.5).

Anyone who refuses raises one of them, wherever that is. In which words it is told, as OAuth's JSON, as problem details
or as a page, depends on the place that was asked (`api.http.error_responses`).
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Self

import msgspec

from api.languages import Words
from domain import decision as reasons
from domain.decision import Reason, Refusal
from security import foreign_tokens

TOLD = "grantlog.told"
"""Where a request's scope holds the code and the reason of its refusal, for those who count them."""


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one member of a request. `field` is its name or path, `detail` never repeats its value."""

    field: str
    detail: str


class HTTPError(Exception):
    """A refusal on its way to the caller. `code` is OAuth's word (RFC 6749 §5.2), `detail` and `errors` are public
    words, `default` is said where nobody says more, and `reason` is a closed word for programs. Pages tell `words`, in
    the reader's language if they are `Words` or a catalogue has them."""

    status: int = 400
    code: str = "invalid_request"
    default: str | None = None
    cause: str | None = None
    """Why a client was refused, for anyone who looks after it alone: no answer to the request tells it."""
    enrol_url: str | None = None
    """Where people get the second factor that they lack for this."""
    challenge: str | None = None
    """`WWW-Authenticate`, which RFC 9110 §11.6.1 wants in every 401."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Iterable[FieldError] = (),
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.words = detail or self.default
        # For programs, in English and nothing but a text.
        self.detail = None if self.words is None else str(self.words)
        self.errors = tuple(errors)
        self.reason = reason
        self.headers = dict(headers or {})
        if self.challenge is not None:
            self.headers["www-authenticate"] = self.challenge
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    @property
    def told(self) -> tuple[str, str | None]:
        """Its code and reason, both words of closed lists."""
        return self.code, self.cause or self.reason

    def because(self, reason: Reason) -> Self:
        """The same, with its cause."""
        self.cause = reason.value
        return self


class InvalidRequest(HTTPError):
    """400: the request is malformed, or members of it are missing, doubled or not valid (RFC 6749 §5.2)."""

    @classmethod
    def field(cls, field: str, detail: str) -> "InvalidRequest":
        """One member is at fault."""
        return cls("The request is not valid.", errors=(FieldError(field, detail),))


class InvalidClient(HTTPError):
    """401: client authentication failed (RFC 6749 §5.2), wherever the client's secret stood."""

    status = 401
    code = "invalid_client"
    default = "Client authentication failed."
    challenge = 'Basic realm="grantlog", charset="UTF-8"'


class InvalidGrant(HTTPError):
    """The code, refresh token or password is invalid, expired, ended or another client's (RFC 6749 §5.2)."""

    code = "invalid_grant"
    default = "The grant is not valid, has expired or was ended."


class AuthorizationPending(HTTPError):
    """Nobody has approved the device yet (RFC 8628 §3.5)."""

    code = "authorization_pending"
    default = "Nobody has approved this device yet. Ask again after the interval."


class SlowDown(HTTPError):
    """The device asks more often than it may (RFC 8628 §3.5)."""

    code = "slow_down"
    default = "Ask less often: the interval is 5 seconds longer from now on."


class ExpiredToken(HTTPError):
    """Nobody approved the device in time (RFC 8628 §3.5)."""

    code = "expired_token"
    default = "The device code has expired. Begin anew."


class PersonDenied(HTTPError):
    """The person said no to the device (RFC 8628 §3.5)."""

    code = "access_denied"
    default = "The person denied the request."


class SignInRefused(InvalidGrant):
    """401 of a dashboard's sign-in: the same for every cause, so that nothing is learnt about accounts."""

    status = 401
    default = "User name or password is wrong."
    # Not Basic, for which browsers ask people themselves.
    challenge = 'Bearer error="invalid_grant"'


class UnauthorizedClient(HTTPError):
    """The client may not use this grant type or response type (RFC 6749 §4.1.2.1, §5.2)."""

    code = "unauthorized_client"
    default = "The client may not use this grant type."


class UnsupportedGrantType(HTTPError):
    """The server has no such grant type (RFC 6749 §5.2)."""

    code = "unsupported_grant_type"
    default = "The server does not know this grant type."


class UnsupportedResponseType(HTTPError):
    """The server has no such response type (RFC 6749 §4.1.2.1)."""

    code = "unsupported_response_type"
    default = "The only response type is code."


class RequestNotSupported(HTTPError):
    """The request came as a request object, which the server does not read (RFC 9101 §7)."""

    code = "request_not_supported"
    default = "Request objects are not supported."


class InvalidRequestObject(HTTPError):
    """The request object is not signed by the client, or does not count (RFC 9101 §7)."""

    code = "invalid_request_object"
    default = "The request object is not valid."


class RequestUriNotSupported(RequestNotSupported):
    """The request names a request object by its URI, which the server does not fetch (RFC 9101 §7)."""

    code = "request_uri_not_supported"


class LoginRequired(HTTPError):
    """The person is not signed in, or not as the request wants it, and was not to be asked (OpenID Connect Core
    §3.1.2.6).
    """

    code = "login_required"
    default = "The person has to sign in."


class ConsentRequired(HTTPError):
    """The person has not allowed this yet, and was not to be asked (OpenID Connect Core §3.1.2.6)."""

    code = "consent_required"
    default = "The person has to be asked."


class InteractionRequired(HTTPError):
    """Something else is to be done by the person, who was not to be asked (OpenID Connect Core §3.1.2.6)."""

    code = "interaction_required"
    default = "The person has to see a page."


class UnmetAuthenticationRequirements(HTTPError):
    """No sign-in here is of the class that the client cannot do without (Unmet Authentication Requirements §2)."""

    code = "unmet_authentication_requirements"
    default = "There is no way to sign in as this client demands it."


class InsufficientAuthorization(HTTPError):
    """More is needed of the person (OAuth for First-Party Applications §5.2.2)."""

    status = 403
    code = "insufficient_authorization"
    default = "The person has to give their name and password."
    members: Mapping[str, Any] = {}
    """What else the answer holds at an endpoint of OAuth."""


class RedirectToWeb(HTTPError):
    """This takes a browser (OAuth for First-Party Applications §5.2.2)."""

    status = 403
    code = "redirect_to_web"
    default = "The person has to be asked in a browser."


class InvalidScope(HTTPError):
    """The scope is unknown, malformed or exceeds what may be given (RFC 6749 §4.1.2.1, §5.2)."""

    code = "invalid_scope"
    default = "The scope is unknown or may not be given to this client."


class InvalidTarget(HTTPError):
    """The client may not have a token for that resource, or has to say for which (RFC 8707 §2)."""

    code = "invalid_target"
    default = "This client may not have a token for that resource."


class InvalidAuthorizationDetails(HTTPError):
    """The authorization details are malformed, or none that this client may ask for (RFC 9396 §5)."""

    code = "invalid_authorization_details"
    default = "These authorization details may not be given to this client."


class InvalidClientMetadata(HTTPError):
    """What a client registers is not valid, or not to be had here (RFC 7591 §3.2.2)."""

    code = "invalid_client_metadata"
    default = "This cannot be registered."


class InvalidRedirectUri(InvalidClientMetadata):
    """A redirect URI that a client registers is not valid (RFC 7591 §3.2.2)."""

    code = "invalid_redirect_uri"


class InvalidToken(HTTPError):
    """401: no bearer token, or none that is valid (RFC 6750 §3.1)."""

    status = 401
    code = "invalid_token"
    default = "A valid access token is needed."
    challenge = 'Bearer error="invalid_token"'


class InsufficientUserAuthentication(HTTPError):
    """401: the person's sign-in behind the token is too long ago for this (RFC 9470 §3). `max_age` is in seconds."""

    status = 401
    code = "insufficient_user_authentication"
    default = "This needs a recent sign-in."

    def __init__(self, max_age: int, acr_values: str) -> None:
        challenge = f'Bearer error="{self.code}", error_description="{self.default}"'
        super().__init__(
            reason=self.code,
            headers={"www-authenticate": f'{challenge}, acr_values="{acr_values}", max_age="{max_age}"'},
        )


class InvalidDpopProof(HTTPError):
    """The proof of a key is none, or not for this request (RFC 9449 §5); 401 with the scheme at a resource (§7.1)."""

    code = "invalid_dpop_proof"
    default = "The DPoP proof is not valid."

    def __init__(self, detail: str | None = None, *, at_resource: bool = False) -> None:
        super().__init__(detail)
        if at_resource:
            self.status = 401
            algorithms = " ".join(foreign_tokens.ALGORITHMS)
            self.headers["www-authenticate"] = f'DPoP error="{self.code}", algs="{algorithms}"'


class UseDpopNonce(InvalidDpopProof):
    """The proof lacks a nonce of the server, which comes along (RFC 9449 §8, §9)."""

    code = "use_dpop_nonce"
    default = "The DPoP proof needs the nonce that comes with this answer."

    def __init__(self, nonce: str, *, at_resource: bool = False) -> None:
        super().__init__(at_resource=at_resource)
        self.headers["dpop-nonce"] = nonce


class InsufficientScope(HTTPError):
    """403: the token is valid and lacks a scope (RFC 6750 §3.1); `field` names the member that needs it."""

    status = 403
    code = "insufficient_scope"

    def __init__(self, scope: str, *, field: str | None = None) -> None:
        super().__init__(
            f"The access token lacks the scope {scope}.",
            errors=() if field is None else (FieldError(field, f"needs the scope {scope}"),),
            headers={"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )


class AccessDenied(HTTPError):
    """403 for another cause than the token's scope; in a redirect, the person said no (RFC 6749 §4.1.2.1)."""

    status = 403
    code = "access_denied"
    default = "The request was denied."


class Missing(HTTPError):
    """404: nothing has this address or id."""

    status = 404


class WrongMethod(HTTPError):
    """405, with `Allow` (RFC 9110 §15.5.6)."""

    status = 405
    default = "This address does not answer to that method."

    def __init__(self, allow: Iterable[str]) -> None:
        methods = set(allow)
        # Anyone who answers GET answers HEAD (RFC 9110 §9.3.2); the outermost layer sees to it.
        if "GET" in methods:
            methods.add("HEAD")
        super().__init__(headers={"allow": ", ".join(sorted(methods))})


class TooSlow(HTTPError):
    """408, and the connection ends with it (RFC 9110 §15.5.9)."""

    status = 408
    default = "The request body did not come in time."


class Clash(HTTPError):
    """409: the name is taken or the state forbids it."""

    status = 409


class TooLarge(HTTPError):
    """413: the body exceeds the limit, which is in bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(Words("The request body is larger than %(limit)s bytes.", limit=limit))


class TargetTooLong(HTTPError):
    """414: the target, path and query, exceeds the limit, which is in bytes (RFC 9110 §15.5.15)."""

    status = 414

    def __init__(self, limit: int) -> None:
        super().__init__(Words("The target of the request is longer than %(limit)s bytes.", limit=limit))


class WrongMediaType(HTTPError):
    """415, with `Accept` (RFC 9110 §15.5.16)."""

    status = 415

    def __init__(self, accepted: Iterable[str]) -> None:
        names = ", ".join(accepted)
        super().__init__(Words("The request body must be %(names)s.", names=names), headers={"accept": names})


class Misdirected(HTTPError):
    """The host of the request is none that is served (RFC 9110 §15.5.20)."""

    status = 421
    default = "No issuer is served under this host name."


class Unprocessable(HTTPError):
    """422: well-formed, but it contradicts what was said before (an `Idempotency-Key` with another body) or a bound."""

    status = 422


class HeadTooLarge(HTTPError):
    """431: too many header fields, or too large ones (RFC 6585 §5)."""

    status = 431
    default = "The header fields of the request are too many or too large."


class Throttled(HTTPError):
    """429: this caller has to wait, others need not; `retry_after` in whole seconds (RFC 6585 §4)."""

    status = 429
    code = "temporarily_unavailable"
    default = "Too many attempts. Wait before the next one."

    def __init__(self, retry_after: int, detail: str | None = None) -> None:
        super().__init__(detail, headers={"retry-after": str(retry_after)})
        self.retry_after = retry_after


class ServerError(HTTPError):
    """500: a fault of the server. The cause is in the log under the request id, never in the answer."""

    status = 500
    code = "server_error"
    default = "Something went wrong on the server."


class TemporarilyUnavailable(HTTPError):
    """503: overloaded, or the database is away; `retry_after` in whole seconds."""

    status = 503
    code = "temporarily_unavailable"
    default = "The server is busy. Try again."

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int = 1,
        errors: Iterable[FieldError] = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(detail, errors=errors, reason=reason, headers={"retry-after": str(retry_after)})


BY_REASON: dict[type[Reason], tuple[type[HTTPError], type[HTTPError]]] = {
    reasons.InvalidRequest: (InvalidRequest, InvalidRequest),
    reasons.InvalidClient: (InvalidClient, AccessDenied),
    reasons.InvalidToken: (InvalidToken, InvalidToken),
    reasons.InvalidGrant: (InvalidGrant, InvalidRequest),
    reasons.AuthorizationPending: (AuthorizationPending, InvalidRequest),
    reasons.SlowDown: (SlowDown, InvalidRequest),
    reasons.ExpiredToken: (ExpiredToken, InvalidRequest),
    reasons.PersonDenied: (PersonDenied, InvalidRequest),
    reasons.UnauthorizedClient: (UnauthorizedClient, AccessDenied),
    reasons.InvalidScope: (InvalidScope, InvalidRequest),
    reasons.InvalidTarget: (InvalidTarget, InvalidRequest),
    reasons.InvalidAuthorizationDetails: (InvalidAuthorizationDetails, InvalidRequest),
    reasons.AccessDenied: (AccessDenied, AccessDenied),
    reasons.FactorRefused: (InsufficientAuthorization, InsufficientAuthorization),
    reasons.Forbidden: (UnauthorizedClient, AccessDenied),
    reasons.NotFound: (InvalidRequest, Missing),
    reasons.Conflict: (InvalidRequest, Clash),
    reasons.Unavailable: (TemporarilyUnavailable, TemporarilyUnavailable),
}
"""What each closed list of reasons amounts to at OAuth's endpoints, and in the JSON API. Without its row: a bug."""


def oauth_error(refusal: Refusal) -> HTTPError:
    """A domain refusal at an endpoint of OAuth. Why a client or a grant was refused stays in the log: an answer that
    tells a wrong secret from an unknown client, or an expired code from a replayed one, helps anyone who tries."""
    kind, _ = BY_REASON[type(refusal.reason)]
    if isinstance(refusal.reason, reasons.InvalidClient | reasons.InvalidGrant):
        return kind().because(refusal.reason)
    return kind(refusal.detail).because(refusal.reason)


def api_error(refusal: Refusal) -> HTTPError:
    """A domain refusal in the JSON API, with its reason and the member at fault."""
    if refusal.reason is reasons.InvalidGrant.CREDENTIALS:
        return SignInRefused()
    _, kind = BY_REASON[type(refusal.reason)]
    detail = refusal.detail or "The request is refused."
    errors = (FieldError(refusal.field, refusal.words or detail),) if refusal.field is not None else ()
    return kind(detail, errors=errors, reason=refusal.reason.value)
