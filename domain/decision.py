"""What a decision gives: events to record, or a refusal for a reason of a closed list, each list one error code."""

from enum import StrEnum
from typing import Any

import msgspec

from domain.event import Event


class Reason(StrEnum):
    """Parent of the closed lists of reasons below; each list is one error code of the wire."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a command was refused. `detail` is for the caller and never repeats what they sent; `field` is at fault."""

    reason: Reason
    detail: str | None = None
    field: str | None = None

    @property
    def words(self) -> str | None:
        """The refusal in words, to be led by the field at fault; None where its reason is all there is."""
        return self.detail or _WORDS.get(self.reason.value)


class Outcome(msgspec.Struct, frozen=True):
    """Events to append and, when the command was refused, why. A refusal is a fact: its events are recorded too."""

    events: tuple[Event, ...] = ()
    refusal: Refusal | None = None
    result: Any = None


def accept(*events: Event, result: Any = None) -> Outcome:
    """The command is carried out; with no events it had been already."""
    return Outcome(events, None, result)


def refuse(reason: Reason, *events: Event, detail: str | None = None, field: str | None = None) -> Outcome:
    """The command is refused; `events` are the facts that the attempt itself established."""
    return Outcome(events, Refusal(reason, detail, field))


def malformed(field: str, detail: str) -> Outcome:
    """The refusal of one member."""
    return refuse(InvalidRequest.MALFORMED, detail=detail, field=field)


COUNT_MAXIMUM = 1_000_000_000
WINDOW_MAXIMUM = 366 * 86_400


def counted(event: Any) -> Outcome:
    """Accepts what anyone can repeat: told at once (a window of 0), or as a `count` within `window_seconds`."""
    if not 1 <= event.count <= COUNT_MAXIMUM:
        return malformed("count", f"must be between 1 and {COUNT_MAXIMUM}")
    if not 0 <= event.window_seconds <= WINDOW_MAXIMUM:
        return malformed("window_seconds", f"must be between 0 and {WINDOW_MAXIMUM}")
    return accept(event)


# The reasons: a class is one error code.


class InvalidRequest(Reason):
    """RFC 6749 §4.1.2.1 and §5.2 `invalid_request`; on the JSON API 400 with the field."""

    MALFORMED = "malformed"
    PKCE_REQUIRED = "pkce_required"
    PKCE_METHOD = "pkce_method"
    SUBJECT_TOKEN = "subject_token"
    ACTOR_TOKEN = "actor_token"
    PROOF_REQUIRED = "proof_required"


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
    ASSERTION = "assertion"
    ASSERTION_KEY = "assertion_key"
    ASSERTION_SIGNATURE = "assertion_signature"
    ASSERTION_CLAIMS = "assertion_claims"
    ASSERTION_AUDIENCE = "assertion_audience"
    ASSERTION_EXPIRED = "assertion_expired"
    ASSERTION_TOO_EARLY = "assertion_too_early"
    ASSERTION_USED = "assertion_used"
    KEYS_UNAVAILABLE = "keys_unavailable"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_NAME = "certificate_name"
    REGISTRATION_TOKEN = "registration_token"


class InvalidToken(Reason):
    """RFC 6750 §3.1 `invalid_token`: of a token that lets clients register."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REDEEMED = "redeemed"
    REVOKED = "revoked"


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
    PROOF_KEY = "proof_key"


class AuthorizationPending(Reason):
    """RFC 8628 §3.5 `authorization_pending`."""

    UNDECIDED = "undecided"


class SlowDown(Reason):
    """RFC 8628 §3.5 `slow_down`."""

    TOO_SOON = "too_soon"


class ExpiredToken(Reason):
    """RFC 8628 §3.5 `expired_token`."""

    UNANSWERED = "unanswered"


class PersonDenied(Reason):
    """RFC 8628 §3.5 `access_denied`."""

    DENIED = "denied"


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


class InvalidAuthorizationDetails(Reason):
    """RFC 9396 §5 `invalid_authorization_details`."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    OUTSIDE_CLIENT = "outside_client"
    SCHEMA = "schema"
    WIDENED = "widened"


class AccessDenied(Reason):
    """RFC 6749 §4.1.2.1 `access_denied`."""

    ACCOUNT = "account"
    CONSENT = "consent"
    ANSWERED = "answered"


class FactorRefused(Reason):
    """A second factor was not shown: `insufficient_authorization` (OAuth for First-Party Applications §5.2.2)."""

    MISSING = "missing"
    WRONG = "wrong"
    TOO_MANY = "too_many"
    SESSION_OVER = "session_over"
    NOT_ENROLLED = "not_enrolled"
    ENROLMENT = "enrolment"


class Forbidden(Reason):
    """The caller may not do this: 403 on the JSON API."""

    ADMINISTRATIVE_SCOPE = "administrative_scope"
    THIRD_PARTY = "third_party"
    BUILT_IN_SCOPE = "built_in_scope"


class NotFound(Reason):
    """No such aggregate: 404 on the JSON API."""

    UNKNOWN = "unknown"


class Conflict(Reason):
    """The state forbids it: 409 on the JSON API."""

    EXISTS = "exists"
    NAME_TAKEN = "name_taken"
    LAST_ADMINISTRATOR = "last_administrator"
    NOT_CONFIDENTIAL = "not_confidential"
    NO_SECRET = "no_secret"
    ENDED = "ended"
    IN_USE = "in_use"
    UNREACHABLE = "unreachable"
    TOO_MANY_LINKS = "too_many_links"


class Unavailable(Reason):
    """Nobody is given this at present: 503, RFC 6749 §4.1.2.1 `temporarily_unavailable`."""

    SUSPENDED = "suspended"
    NO_KEY = "no_key"
    FULL = "full"


_WORDS = {
    "unknown": "there is nothing of that name or id",
    "exists": "exists already",
    "name_taken": "is taken",
    "not_confidential": "a public client has no secret",
    "no_secret": "this client authenticates by its keys and has no secret",
    "ended": "has ended already",
    "in_use": "is in use",
    "unreachable": "this person has no e-mail address",
    "too_many_links": "three links were mailed to this person within an hour",
    "last_administrator": "nobody would be left who can make administrators",
}
