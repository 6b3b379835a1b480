"""Scheduled rotation of a client's secret: how old a version may become. A part of the client's page.

Under a policy a new version ends by itself, and the one before it overlaps. Nobody can hand a new secret to a client
that runs elsewhere, so its owner is warned in time; a dashboard's secret, which only the server holds, is rotated by
the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from domain.decision import Outcome, accept, refuse
from domain.event import SECOND, Event, Moment, Recorded
from domain.refusal import Conflict, NotFound
from domain.rules.registration import malformed

if TYPE_CHECKING:
    from domain.client import State
    from domain.client_secret import SecretVersion

DAY = 86_400
AGE_MAXIMUM = 5 * 365 * DAY

# Facts ------------------------------------------------------------------------------------------------------------


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


EVENTS: tuple[type[Event], ...] = (RotationScheduled, RotationUnscheduled, RotationAnnounced)

# State ------------------------------------------------------------------------------------------------------------


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


# Verbs ------------------------------------------------------------------------------------------------------------


def set_policy(state: State, *, now: Moment, maximum_age: int, overlap: int, warning: int) -> Outcome:
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


def remove_policy(state: State, *, now: Moment) -> Outcome:
    """Removes the policy. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept() if state.rotation is None else accept(RotationUnscheduled())


def announce(state: State, *, now: Moment) -> Outcome:
    """Warns, once for each version, when its time has come."""
    policy, newest = state.rotation, state.secrets[-1] if state.secrets else None
    if state.deleted or policy is None or newest is None or policy.announced == newest.secret_id:
        return accept()
    due_at = policy.due_at(newest)
    if now < due_at - policy.warning * SECOND:
        return accept()
    return accept(RotationAnnounced(secret_id=newest.secret_id, version=newest.version, due_at=due_at))


def is_due(state: State, now: Moment) -> bool:
    """Whether the newest version has reached its maximum age."""
    policy, newest = state.rotation, state.secrets[-1] if state.secrets else None
    return not state.deleted and policy is not None and newest is not None and now >= policy.due_at(newest)


def defaults(state: State, lifetime: int | None, others_expire_in: int | None) -> tuple[int | None, int | None]:
    """The lifetime of a new version and the end of the others, as the policy has them where a rotation says nothing."""
    policy = state.rotation
    if policy is None:
        return lifetime, others_expire_in
    return (
        policy.lifetime if lifetime is None else lifetime,
        policy.overlap if others_expire_in is None else others_expire_in,
    )


def fold(policy: Policy | None, recorded: Recorded) -> Policy | None:
    """The policy after one more of `EVENTS`."""
    event: Any = recorded.event
    match event:
        case RotationScheduled():
            return Policy(event.maximum_age, event.overlap, event.warning)
        case RotationAnnounced() if policy is not None:
            return msgspec.structs.replace(policy, announced=event.secret_id)
        case RotationUnscheduled():
            return None
    return policy
