"""The errors of the OAuth endpoints: one class per code (RFC 6749 §4.1.2.1, §5.2; RFC 6750 §3.1; RFC 7009 §2.2.1;
RFC 8707 §2).
"""

import re
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from api.answers import JSON, Answer, answer
from domain import refusal as reasons
from domain.decision import Reason, Refusal

OUTSIDE = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")
"""Characters that `error_description` must not hold (RFC 6749 §5.2)."""

REALM = 'Basic realm="grantlog", charset="UTF-8"'


def description(text: str) -> str:
    """Words reduced to the characters that RFC 6749 §5.2 allows: quotes become apostrophes, the rest is left out."""
    return OUTSIDE.sub("", text.replace('"', "'").replace("…", "...").replace("\\", "/"))


class OAuthError(Exception):
    """A refusal in OAuth's words. `detail` is public; `code` is the word of the RFC."""

    code: ClassVar[str]
    status: int = 400
    default: ClassVar[str | None] = None

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        text = detail or self.default
        self.detail = None if text is None else description(text)
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.code)

    def parameters(self, *, state: str | None = None, iss: str | None = None) -> list[tuple[str, str]]:
        """The error as parameters of a redirect (RFC 6749 §4.1.2.1, RFC 9207 §2); `state` goes back as it came."""
        pairs = [("error", self.code)]
        if self.detail:
            pairs.append(("error_description", self.detail))
        if state is not None:
            pairs.append(("state", state))
        if iss is not None:
            pairs.append(("iss", iss))
        return pairs

    def answer(self) -> Answer:
        """The error as a JSON answer (RFC 6749 §5.2), never to be stored."""
        body = {"error": self.code}
        if self.detail:
            body["error_description"] = self.detail
        return answer(
            self.status,
            msgspec.json.encode(body),
            JSON,
            {**self.headers, "cache-control": "no-store", "pragma": "no-cache"},
        )


class InvalidRequest(OAuthError):
    """A parameter is missing, doubled or malformed, or the request as a whole is (RFC 6749 §5.2)."""

    code = "invalid_request"


class WrongMethod(InvalidRequest):
    """`invalid_request` as 405, with `Allow`."""

    status = 405

    def __init__(self, *allow: str) -> None:
        super().__init__("This endpoint does not answer to that method.", headers={"allow": ", ".join(sorted(allow))})


class TooLarge(InvalidRequest):
    """`invalid_request` as 413; the limit is in bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes.")


class WrongMediaType(InvalidRequest):
    """`invalid_request` as 415."""

    status = 415

    def __init__(self, *accepted: str) -> None:
        names = ", ".join(accepted)
        super().__init__(f"The request body must be {names}.", headers={"accept": names})


class InvalidClient(OAuthError):
    """Client authentication failed (RFC 6749 §5.2): 401, with a challenge of the scheme that the client used.

    A client that sent its secret in the body gets the Basic challenge, since RFC 9110 §11.6.1 wants one in every 401.
    """

    code = "invalid_client"
    status = 401
    default = "Client authentication failed."

    def __init__(self, detail: str | None = None, *, challenge: str = REALM) -> None:
        super().__init__(detail, headers={"www-authenticate": challenge})


class InvalidGrant(OAuthError):
    """The code, refresh token or password is invalid, expired, ended or another client's (RFC 6749 §5.2)."""

    code = "invalid_grant"
    default = "The grant is not valid, has expired or was ended."


class UnauthorizedClient(OAuthError):
    """The client may not use this grant type or response type (RFC 6749 §4.1.2.1, §5.2)."""

    code = "unauthorized_client"
    default = "The client may not use this grant type."


class UnsupportedGrantType(OAuthError):
    """The server has no such grant type (RFC 6749 §5.2)."""

    code = "unsupported_grant_type"
    default = "The server does not know this grant type."


class UnsupportedResponseType(OAuthError):
    """The server has no such response type (RFC 6749 §4.1.2.1)."""

    code = "unsupported_response_type"
    default = "The only response type is code."


class RequestNotSupported(OAuthError):
    """The request came as a request object, which the server does not read (RFC 9101 §7)."""

    code = "request_not_supported"
    default = "Request objects are not supported."


class RequestUriNotSupported(OAuthError):
    """The request names a request object by its URI, which the server does not fetch (RFC 9101 §7)."""

    code = "request_uri_not_supported"
    default = "Request objects are not supported."


class InvalidScope(OAuthError):
    """The scope is unknown, malformed or exceeds what may be given (RFC 6749 §4.1.2.1, §5.2)."""

    code = "invalid_scope"
    default = "The scope is unknown or may not be given to this client."


class InvalidTarget(OAuthError):
    """The client may not have a token for that resource, or has to say for which (RFC 8707 §2)."""

    code = "invalid_target"
    default = "This client may not have a token for that resource."


class AccessDenied(OAuthError):
    """The person said no (RFC 6749 §4.1.2.1)."""

    code = "access_denied"
    default = "The request was denied."


class ServerError(OAuthError):
    """A fault of the server (RFC 6749 §4.1.2.1); the cause is in the log."""

    code = "server_error"
    status = 500
    default = "Something went wrong on the server."


class TemporarilyUnavailable(OAuthError):
    """Overloaded, or the database is away (RFC 6749 §4.1.2.1): 503; `retry_after` in whole seconds."""

    code = "temporarily_unavailable"
    status = 503
    default = "The server is busy. Try again."

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"retry-after": str(retry_after)})


class Throttled(TemporarilyUnavailable):
    """The same as 429 (RFC 6585 §4): this caller has to wait, others need not."""

    status = 429
    default = "Too many attempts. Wait before the next one."


class UnsupportedTokenType(OAuthError):
    """The server cannot revoke this kind of token (RFC 7009 §2.2.1)."""

    code = "unsupported_token_type"
    default = "Tokens of this type cannot be revoked."


class InvalidToken(OAuthError):
    """A bearer token, where one authenticates the caller, is not valid (RFC 6750 §3.1)."""

    code = "invalid_token"
    status = 401
    default = "The access token is not valid."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"www-authenticate": 'Bearer error="invalid_token"'})


class InsufficientScope(OAuthError):
    """A bearer token is valid and lacks a scope (RFC 6750 §3.1)."""

    code = "insufficient_scope"
    status = 403

    def __init__(self, scope: str) -> None:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(f"The access token lacks the scope {scope}.", headers={"www-authenticate": challenge})


BY_REASON: dict[type[Reason], type[OAuthError]] = {
    reasons.InvalidRequest: InvalidRequest,
    reasons.InvalidClient: InvalidClient,
    reasons.InvalidGrant: InvalidGrant,
    reasons.UnauthorizedClient: UnauthorizedClient,
    reasons.InvalidScope: InvalidScope,
    reasons.InvalidTarget: InvalidTarget,
    reasons.AccessDenied: AccessDenied,
    reasons.Forbidden: UnauthorizedClient,
    reasons.NotFound: InvalidRequest,
    reasons.Conflict: InvalidRequest,
    reasons.Unavailable: TemporarilyUnavailable,
}
"""The OAuth error of each closed list of reasons."""


def from_refusal(refusal: Refusal) -> OAuthError:
    """A domain refusal as an OAuth error.

    Why a client or a grant was refused stays in the log: an answer that tells a wrong secret from an unknown client,
    or an expired code from a replayed one, helps whoever tries. KeyError for a list of reasons without a row above.
    """
    kind = BY_REASON[type(refusal.reason)]
    if isinstance(refusal.reason, reasons.InvalidClient | reasons.InvalidGrant):
        return kind()
    return kind(refusal.detail)
