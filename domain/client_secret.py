"""Issues, rotates and ends a client's secret versions (RFC 6749 §2.3.1), by hand and on schedule.

Any number may live at a time, each with its own end. Their facts stand in the client's stream.
"""

from __future__ import annotations

import hmac
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, InvalidClient, NotFound, Outcome, accept, counted, malformed, refuse
from domain.event import SECOND, Event, Moment, Recorded, Sealed
from domain.registering.foreign_secret import ForeignSecretEnded
from domain.rules import administrative_scope
from domain.rules.client_metadata import SECRET_METHODS, ClientMetadata

# Scheduled rotation: how old a version may become.

DAY = 86_400
AGE_MAXIMUM = 5 * 365 * DAY


class RotationScheduled(Event, frozen=True, kw_only=True):
    """How long a secret version may be the newest, how long it overlaps with the next, how early that is announced.

    All in seconds. `secret_id` is the newest version at this moment and `made_at` when it was made.
    """

    type = "client.rotation_scheduled"

    maximum_age: int
    overlap: int
    warning: int
    secret_id: str | None = None
    made_at: Moment | None = None


class RotationUnscheduled(Event, frozen=True, kw_only=True):
    """The client's secrets may become as old as they like."""

    type = "client.rotation_unscheduled"


class RotationAnnounced(Event, frozen=True, kw_only=True):
    """The newest secret version reaches its maximum age at `due_at`: somebody has to rotate it until then."""

    type = "client.rotation_announced"
    in_doubt = True

    secret_id: str
    version: int
    due_at: Moment


class Policy(msgspec.Struct, frozen=True):
    """A policy in seconds, and the version that was announced last."""

    maximum_age: int
    overlap: int
    warning: int
    announced: str | None = None

    @property
    def lifetime(self) -> int:
        """How long a version lives that is made under it."""
        return self.maximum_age + self.overlap

    def due_at(self, version: SecretVersion) -> Moment:
        """When the version has reached its maximum age."""
        return version.created_at + self.maximum_age * SECOND


def set_policy(state: SecretHolder, *, now: Moment, maximum_age: int, overlap: int, warning: int) -> Outcome:
    """Sets or changes the policy. The same once more is no news."""
    if not state.exists or state.deleted:
        return refuse(NotFound.UNKNOWN)
    if state.type == "public":
        return refuse(Conflict.NOT_CONFIDENTIAL)
    if not DAY <= maximum_age <= AGE_MAXIMUM:
        return malformed("maximum_age", f"must be between {DAY} and {AGE_MAXIMUM} seconds")
    for field, value in (("overlap", overlap), ("warning", warning)):
        if not 0 <= value <= maximum_age:
            return malformed(field, "must be between 0 and the maximum age")
    known = state.rotation
    if known is not None and (known.maximum_age, known.overlap, known.warning) == (maximum_age, overlap, warning):
        return accept()
    newest = state.secrets[-1] if state.secrets else None
    return accept(
        RotationScheduled(
            maximum_age=maximum_age,
            overlap=overlap,
            warning=warning,
            secret_id=None if newest is None else newest.secret_id,
            made_at=None if newest is None else newest.created_at,
        )
    )


def remove_policy(state: SecretHolder, *, now: Moment) -> Outcome:
    """Removes the policy. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept() if state.rotation is None else accept(RotationUnscheduled())


def announce(state: SecretHolder, *, now: Moment) -> Outcome:
    """Warns, once for each version, when its time has come."""
    policy, newest = state.rotation, state.secrets[-1] if state.secrets else None
    if state.deleted or policy is None or newest is None or policy.announced == newest.secret_id:
        return accept()
    due_at = policy.due_at(newest)
    if now < due_at - policy.warning * SECOND:
        return accept()
    return accept(RotationAnnounced(secret_id=newest.secret_id, version=newest.version, due_at=due_at))


def is_due(state: SecretHolder, now: Moment) -> bool:
    """Whether the newest version has reached its maximum age."""
    policy, newest = state.rotation, state.secrets[-1] if state.secrets else None
    return not state.deleted and policy is not None and newest is not None and now >= policy.due_at(newest)


def defaults(state: SecretHolder, lifetime: int | None, others_expire_in: int | None) -> tuple[int | None, int | None]:
    """The lifetime of a new version and the end of the others, as the policy has them where a rotation says nothing."""
    policy = state.rotation
    if policy is None:
        return lifetime, others_expire_in
    return (
        policy.lifetime if lifetime is None else lifetime,
        policy.overlap if others_expire_in is None else others_expire_in,
    )


def fold_policy(policy: Policy | None, recorded: Recorded) -> Policy | None:
    """The policy after one more of `EVENTS`."""
    event: Any = recorded.event
    match event:
        case RotationScheduled():
            return Policy(event.maximum_age, event.overlap, event.warning)
        case RotationAnnounced() if policy is not None:
            return replace(policy, announced=event.secret_id)
        case RotationUnscheduled():
            return None
    return policy


SecretUse = Literal["token", "introspection", "revocation", "other"]

LIFETIME_MAXIMUM = 10 * 365 * 86_400
FORGOTTEN_AFTER: Moment = 2 * 366 * 86_400 * SECOND
"""No token lives longer than a year, so a version that ended two years ago has none left to decide about."""

# Facts ------------------------------------------------------------------------------------------------------------


class SecretIssued(Event, frozen=True, kw_only=True):
    """The first secret version, or another made beside it. `lifetime` in seconds; null never ends.

    One that is `foreign` was made by another system: it has no prefix by which scanners know it.
    """

    type = "client.secret_issued"

    secret_id: str
    version: int
    sha256: str
    lifetime: int | None = None
    foreign: bool = False


class SecretRotated(Event, frozen=True, kw_only=True):
    """A new secret version. Others end after `others_expire_in` seconds, or sooner if they were to; null keeps them.

    It begins to work after `not_before_in` seconds, and its `lifetime` counts from now on.
    """

    type = "client.secret_rotated"
    in_doubt = True

    secret_id: str
    version: int
    sha256: str
    lifetime: int | None = None
    others_expire_in: int | None = None
    not_before_in: int | None = None


class SecretRevoked(Event, frozen=True, kw_only=True):
    """A secret version was ended; with `revoke`, so was every token that it had authenticated."""

    type = "client.secret_revoked"
    in_doubt = True

    secret_id: str
    tokens: Literal["keep", "revoke"]


class SecretExpiredUsed(Event, frozen=True, kw_only=True):
    """Someone presented a version after its end, `count` times within `window_seconds` (0: told at once)."""

    type = "client.secret_expired_used"
    in_doubt = True

    secret_id: str
    ended: Literal["expired", "revoked"]
    via: SecretUse
    count: int = 1
    window_seconds: int = 0


class SecretVersion(msgspec.Struct, frozen=True):
    """One version of the client's secret. Tokens at positions up to `tokens_cutoff` that it authenticated are dead."""

    secret_id: str
    version: int
    sha256: str
    created_at: Moment
    expires_at: Moment | None = None
    revoked: bool = False
    tokens_cutoff: int = 0
    revoked_at: Moment | None = None
    not_before: Moment | None = None


class NewSecret(msgspec.Struct, frozen=True):
    """A secret that was made: its digest, and how many seconds it lives; None never ends."""

    secret_id: str
    sha256: str
    lifetime: int | None = None
    foreign: bool = False


class SecretHolder(ClientMetadata, frozen=True):
    """A client as far as its secrets go; `secrets_issued` counts the versions that it ever had. `foreign_secret` is the
    hash of one that it has not shown yet."""

    deleted: bool = False
    secrets: tuple[SecretVersion, ...] = ()
    secrets_issued: int = 0
    rotation: Policy | None = None
    foreign_secret: Sealed | None = None


# Verbs ------------------------------------------------------------------------------------------------------------


def rotate(
    state: SecretHolder,
    *,
    now: Moment,
    new: NewSecret,
    others_expire_in: int | None = None,
    not_before_in: int | None = None,
    caller_scope: frozenset[str],
) -> Outcome:
    """Adds a version; the others end after so many seconds, now (0), or as before (None), else as the policy has it."""
    if not state.exists or state.deleted:
        return refuse(NotFound.UNKNOWN)
    if state.token_endpoint_auth_method not in SECRET_METHODS:
        return refuse(Conflict.NOT_CONFIDENTIAL if state.type == "public" else Conflict.NO_SECRET)
    refused = seconds("secret_lifetime", new.lifetime, least=1) or seconds("others_expire_in", others_expire_in)
    lifetime, others_expire_in = defaults(state, new.lifetime, others_expire_in)
    refused = refused or _early(state, now, not_before_in, lifetime, others_expire_in)
    # Anyone who learns a service's secret can act with all its scopes: to show it is to hand them out.
    if not refused and "client_credentials" in state.grant_types:
        refused = administrative_scope.handing_out(state.scope, caller_scope=caller_scope, field="scope")
    rotated = (
        SecretRotated(
            secret_id=new.secret_id,
            version=state.secrets_issued + 1,
            sha256=new.sha256,
            lifetime=lifetime,
            others_expire_in=others_expire_in,
            not_before_in=not_before_in or None,
        ),
    )
    # What nobody has shown so far is not waited for.
    unseen = state.foreign_secret is not None and others_expire_in is not None
    return refused or accept(*rotated, *((ForeignSecretEnded(),) if unseen else ()))


def adopt(state: SecretHolder, *, now: Moment, new: NewSecret, verified: str, known: bool) -> Outcome:
    """Makes a version of the secret that the client has shown, right by the hash in event `verified`. One that is
    `known` already, as anybody's, is none of this client's."""
    hidden = state.foreign_secret
    if state.deleted or known or hidden is None or hidden.event_id != verified:
        return accept()
    return accept(issued(new, state.secrets_issued + 1), ForeignSecretEnded())


def issued(new: NewSecret, version: int) -> SecretIssued:
    """The fact that a version was made."""
    return SecretIssued(
        secret_id=new.secret_id, version=version, sha256=new.sha256, lifetime=new.lifetime, foreign=new.foreign
    )


def _early(
    state: SecretHolder, now: Moment, begins_in: int | None, ends_in: int | None, others_end_in: int | None
) -> Outcome | None:
    """Refuses a beginning until which the client would be without any secret for a while."""
    if not begins_in:
        return None
    if state.type == "dashboard":
        return malformed("not_before_in", "a dashboard uses its newest secret at once")
    if ends_in is not None and begins_in >= ends_in:
        return malformed("not_before_in", "must be less than the secret's lifetime")
    last = _lasting_until(state.secrets, now, None if others_end_in is None else now + others_end_in * SECOND)
    if last is not None and last < now + begins_in * SECOND:
        return malformed("not_before_in", "the client would be without a secret that works until this one begins")
    return seconds("not_before_in", begins_in)


def _lasting_until(versions: tuple[SecretVersion, ...], now: Moment, end: Moment | None) -> Moment | None:
    """Until when there is always one that works, if all end at `end`; None is for ever."""
    until = now
    for version in sorted(versions, key=lambda each: each.not_before or each.created_at):
        if ended(version, now) is not None or unusable(version, until) is InvalidClient.SECRET_NOT_YET_VALID:
            continue
        ends = (version if end is None else _ending(version, end)).expires_at
        if ends is None:
            return None
        until = max(until, ends)
    return until


def revoke(state: SecretHolder, *, now: Moment, secret_id: str, tokens: Literal["keep", "revoke"] = "keep") -> Outcome:
    """Ends a version, on demand with every token that it authenticated so far. A repeat changes nothing."""
    version = find(state.secrets, secret_id)
    if version is None:
        return refuse(NotFound.UNKNOWN)
    if version.revoked and (tokens == "keep" or version.tokens_cutoff):
        return accept()
    return accept(SecretRevoked(secret_id=secret_id, tokens=tokens))


def revoke_all(state: SecretHolder, *, now: Moment) -> Outcome:
    """Ends every version that lives, and none of their tokens."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    living = [version for version in state.secrets if ended(version, now) is None]
    unseen = () if state.foreign_secret is None else (ForeignSecretEnded(),)
    return accept(*(SecretRevoked(secret_id=version.secret_id, tokens="keep") for version in living), *unseen)


def contain(state: SecretHolder, *, now: Moment, secret_id: str, tokens: Literal["keep", "revoke"]) -> Outcome:
    """Ends a version of which it may be so long ago that nothing depends on it any more."""
    if find(state.secrets, secret_id) is None and state.exists:
        return accept()
    return revoke(state, now=now, secret_id=secret_id, tokens=tokens)


def note_dead_use(
    state: SecretHolder, *, now: Moment, secret_id: str, via: SecretUse, count: int = 1, window_seconds: int = 0
) -> Outcome:
    """Records that a version was presented after its end."""
    version = find(state.secrets, secret_id)
    if version is None:
        return refuse(NotFound.UNKNOWN)
    reason: Literal["expired", "revoked"] = "revoked" if version.revoked else "expired"
    return counted(
        SecretExpiredUsed(secret_id=secret_id, ended=reason, via=via, count=count, window_seconds=window_seconds)
    )


# Questions --------------------------------------------------------------------------------------------------------


def find(versions: tuple[SecretVersion, ...], secret_id: str) -> SecretVersion | None:
    """The version of this id, live or not."""
    for version in versions:  # asked for every token, and a generator costs more
        if version.secret_id == secret_id:
            return version
    return None


def matching(versions: tuple[SecretVersion, ...], sha256: str) -> SecretVersion | None:
    """The version of this digest, live or not. Every version is compared, so that time tells nothing."""
    found = None
    presented = sha256.encode()
    for version in versions:
        if hmac.compare_digest(version.sha256.encode(), presented):
            found = version
    return found


def ended(version: SecretVersion, now: Moment) -> InvalidClient | None:
    """Why nobody may authenticate with this version any more; None while it lives."""
    if version.revoked:
        return InvalidClient.SECRET_REVOKED
    if version.expires_at is not None and version.expires_at <= now:
        return InvalidClient.SECRET_EXPIRED
    return None


def unusable(version: SecretVersion, now: Moment) -> InvalidClient | None:
    """Why nobody may authenticate with this version at this moment; None when they may."""
    if version.not_before is not None and now < version.not_before:
        return InvalidClient.SECRET_NOT_YET_VALID
    return ended(version, now)


def usable(versions: tuple[SecretVersion, ...], secret_id: str, now: Moment) -> SecretVersion | InvalidClient:
    """The version of this id, or why nobody may authenticate with it at this moment."""
    version = find(versions, secret_id)
    return InvalidClient.WRONG_SECRET if version is None else unusable(version, now) or version


def seconds(field: str, value: int | None, *, least: int = 0) -> Outcome | None:
    """Refuses a span that is out of range; None, which means no end, is within."""
    if value is None or least <= value <= LIFETIME_MAXIMUM:
        return None
    return malformed(field, f"must be between {least} and {LIFETIME_MAXIMUM} seconds")


def fold(versions: tuple[SecretVersion, ...], recorded: Recorded) -> tuple[SecretVersion, ...]:
    """The versions after one more of `EVENTS`, without those that ended so long ago that nothing depends on them."""
    event, now = recorded.event, recorded.time
    kept = tuple(version for version in versions if not _forgotten(version, now))
    match event:
        case SecretIssued() | SecretRotated():
            end = None if event.lifetime is None else now + event.lifetime * SECOND
            new = SecretVersion(
                event.secret_id, event.version, event.sha256, now, end, not_before=begins_at(event, now)
            )
            if isinstance(event, SecretRotated) and event.others_expire_in is not None:
                others_end = now + event.others_expire_in * SECOND
                kept = tuple(_ending(version, others_end) for version in kept)
            return (*kept, new)
        case SecretRevoked():
            return tuple(
                _revoked(version, event, recorded) if version.secret_id == event.secret_id else version
                for version in kept
            )
        case _:
            return versions


def begins_at(event: Event, now: Moment) -> Moment | None:
    """When a version begins to work; None where that is at once."""
    seconds_later: int | None = getattr(event, "not_before_in", None)
    return None if seconds_later is None else now + seconds_later * SECOND


def _ending(version: SecretVersion, end: Moment) -> SecretVersion:
    if version.revoked or (version.expires_at is not None and version.expires_at <= end):
        return version
    return replace(version, expires_at=end)


def _revoked(version: SecretVersion, event: SecretRevoked, recorded: Recorded) -> SecretVersion:
    cutoff = recorded.position if event.tokens == "revoke" else version.tokens_cutoff
    revoked_at = recorded.time if version.revoked_at is None else version.revoked_at
    return replace(version, revoked=True, revoked_at=revoked_at, tokens_cutoff=cutoff)


def _forgotten(version: SecretVersion, now: Moment) -> bool:
    ends = [end for end in (version.expires_at, version.revoked_at) if end is not None]
    return bool(ends) and min(ends) <= now - FORGOTTEN_AFTER


EVENTS: tuple[type[Event], ...] = (
    RotationScheduled,
    RotationUnscheduled,
    RotationAnnounced,
    SecretIssued,
    SecretRotated,
    SecretRevoked,
    SecretExpiredUsed,
)
