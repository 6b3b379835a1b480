"""The closed lists of reasons for which commands are refused: a class is one error code on the wire."""

from domain.decision import Reason, Refusal


class InvalidRequest(Reason):
    """RFC 6749 §4.1.2.1 and §5.2 `invalid_request`; on the JSON API 400 with the field."""

    MALFORMED = "malformed"
    PKCE_REQUIRED = "pkce_required"
    PKCE_METHOD = "pkce_method"


class InvalidClient(Reason):
    """RFC 6749 §5.2 `invalid_client`."""

    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong_secret"
    SECRET_EXPIRED = "secret_expired"
    SECRET_REVOKED = "secret_revoked"
    SECRET_NOT_YET_VALID = "secret_not_yet_valid"
    DISABLED = "disabled"
    DELETED = "deleted"
    METHOD = "method"


class InvalidGrant(Reason):
    """RFC 6749 §5.2 `invalid_grant`."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    ENDED = "ended"
    FOREIGN_CLIENT = "foreign_client"
    REDIRECT_URI = "redirect_uri"
    VERIFIER = "verifier"
    CREDENTIALS = "credentials"
    CLIENT_CUT_OFF = "client_cut_off"
    PERSON_CUT_OFF = "person_cut_off"
    SECRET_CUT_OFF = "secret_cut_off"
    CONSENT_WITHDRAWN = "consent_withdrawn"


class UnauthorizedClient(Reason):
    """RFC 6749 §5.2 `unauthorized_client`."""

    GRANT_TYPE = "grant_type"
    PASSWORD_GRANT = "password_grant"


class InvalidScope(Reason):
    """RFC 6749 §5.2 `invalid_scope`."""

    UNKNOWN = "unknown"
    OUTSIDE_CLIENT = "outside_client"
    WIDENED = "widened"
    NOTHING_LEFT = "nothing_left"


class InvalidTarget(Reason):
    """RFC 8707 §2 `invalid_target`."""

    OUTSIDE_CLIENT = "outside_client"
    NOT_APPROVED = "not_approved"
    SEVERAL = "several"
    MISSING = "missing"


class AccessDenied(Reason):
    """RFC 6749 §4.1.2.1 `access_denied`."""

    ACCOUNT = "account"
    CONSENT = "consent"


class Forbidden(Reason):
    """The caller may not do this: 403 on the JSON API."""

    ADMINISTRATIVE_SCOPE = "administrative_scope"
    THIRD_PARTY = "third_party"


class NotFound(Reason):
    """No such aggregate: 404 on the JSON API."""

    UNKNOWN = "unknown"


class Conflict(Reason):
    """The state forbids it: 409 on the JSON API."""

    EXISTS = "exists"
    NAME_TAKEN = "name_taken"
    LAST_ADMINISTRATOR = "last_administrator"
    NOT_CONFIDENTIAL = "not_confidential"
    ENDED = "ended"
    IN_USE = "in_use"


class Unavailable(Reason):
    """Nobody is given this at present: 503, RFC 6749 §4.1.2.1 `temporarily_unavailable`."""

    SUSPENDED = "suspended"


_WORDS = {
    "unknown": "there is nothing of that name or id",
    "exists": "exists already",
    "name_taken": "is taken",
    "not_confidential": "a public client has no secret",
    "ended": "has ended already",
    "in_use": "is in use",
    "last_administrator": "nobody would be left who can make administrators",
}


def words(refusal: Refusal) -> str | None:
    """The refusal in words, to be led by the field at fault; None where its reason is all there is."""
    return refusal.detail or _WORDS.get(refusal.reason.value)
