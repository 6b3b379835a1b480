"""The password of an account: its facts, the failures to give it, and what may be kept of it."""

from typing import Literal

import msgspec

from domain.decision import Outcome, malformed
from domain.event import Event

AccountFailure = Literal["wrong_password", "no_password", "disabled", "wrong_realm", "invalid_scope", "wrong_passkey"]
"""Why a sign-in failed; `invalid_scope` with the right password, of a person who would have got a token for nothing."""

HASH_MAXIMUM = 512
COSTS_MAXIMUM = 64

NOT_CURRENT = "is not the present password"


class PasswordChanged(Event, frozen=True, kw_only=True):
    """A new password. Every token so far is dead, save those of the grant that changed it."""

    type = "account.password_changed"
    in_doubt = True
    personal = ("password_hash",)
    hidden = ("password_hash",)

    password_hash: str
    except_grant: str | None = None


class PasswordRehashed(Event, frozen=True, kw_only=True):
    """The same password under stronger parameters; nothing is cut off."""

    type = "account.password_rehashed"
    personal = ("password_hash",)
    hidden = ("password_hash",)

    password_hash: str


class SignInFailed(Event, frozen=True, kw_only=True):
    """Sign-ins failed, `count` times within `window_seconds` from one address."""

    type = "account.sign_in_failed"
    in_doubt = True

    reason: AccountFailure
    count: int = 1
    window_seconds: int = 0


class ForeignHash(msgspec.Struct, frozen=True):
    """What it takes to look at a password whose hash another system made: its kind and parameters without salt and
    digest, such as `$2b$12`, and about how many microseconds that is. A sign-in that fails takes as long as the
    dearest, so that its time does not tell whose hash is of which kind.
    """

    costs: str
    work: int


def hash_problem(password_hash: str | None, foreign: ForeignHash | None = None) -> Outcome | None:
    """Refuses a hash that is empty or too long to be recorded; None is no password."""
    if foreign is not None and (password_hash is None or len(foreign.costs) > COSTS_MAXIMUM):
        return malformed("password", "cannot be kept")
    if password_hash is None or 0 < len(password_hash) <= HASH_MAXIMUM:
        return None
    return malformed("password", "cannot be kept")
