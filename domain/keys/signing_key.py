"""The keys that sign tokens (RFC 7515). Stream `signing_key`: all of them, one after the other.

Their private halves are in the vault; here stands which there were, for which algorithm, and how each lived: published
before it signs, active while it signs, published still until all that it signed has expired, and then retired.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, NotFound, Outcome, accept, refuse
from domain.event import SECOND, Event, Moment, Recorded
from domain.rules.client_metadata import SigningAlgorithm

STREAM = "signing_key"

ALGORITHMS: tuple[SigningAlgorithm, ...] = ("RS256", "ES256", "PS256", "EdDSA")
"""Each has a key of its own (RFC 7518 §3.1, RFC 8037 §3.1), so that no signature can be taken for one of another."""

TOKENS_LAST = 86_400
"""Seconds. Nothing that a key signs is good for longer, so a former key is published for as long."""

SigningKeyRevocationReason = Literal["compromised"]
SigningKeyStanding = Literal["introduced", "active", "superseded", "retired", "revoked"]
PUBLISHED: frozenset[SigningKeyStanding] = frozenset(("introduced", "active", "superseded"))

# Facts ------------------------------------------------------------------------------------------------------------


class SigningKeyIntroduced(Event, frozen=True, kw_only=True):
    """A key was made and published, to sign after `active_in` seconds. `jwk` is its public half (RFC 7517 §4)."""

    type = "signing_key.introduced"
    in_doubt = True

    key_id: str
    algorithm: SigningAlgorithm
    jwk: dict[str, str]
    active_in: int = 0


class SigningKeyActivated(Event, frozen=True, kw_only=True):
    """This key signs from now on. The `former` one of its algorithm stays published for `former_lasts` seconds."""

    type = "signing_key.activated"
    in_doubt = True

    key_id: str
    former: str | None = None
    former_lasts: int | None = None


class SigningKeyRetired(Event, frozen=True, kw_only=True):
    """A former key is published no longer, since all that it signed has expired; its private half was destroyed."""

    type = "signing_key.retired"
    in_doubt = True

    key_id: str


class SigningKeyRevoked(Event, frozen=True, kw_only=True):
    """A key is not to be trusted any more, and neither is what it signed; its private half was destroyed."""

    type = "signing_key.revoked"
    in_doubt = True

    key_id: str
    reason: SigningKeyRevocationReason


class SigningKeyExposed(Event, frozen=True, kw_only=True):
    """The private half of this key was in a text that somebody pasted, so others may sign in this server's name. It is
    revoked by anyone who may rotate the keys, and not by this."""

    type = "signing_key.exposed"
    in_doubt = True

    key_id: str


EVENTS: tuple[type[Event], ...] = (
    SigningKeyIntroduced,
    SigningKeyActivated,
    SigningKeyRetired,
    SigningKeyRevoked,
    SigningKeyExposed,
)

# State ------------------------------------------------------------------------------------------------------------


class SigningKey(msgspec.Struct, frozen=True):
    """One key. `activates_at` is when it is due to sign, `retires_at` when a superseded one is due to go.

    `ended_at` is when it was retired or revoked, `exposed_at` when its private half was found outside.
    """

    algorithm: SigningAlgorithm
    jwk: dict[str, str]
    standing: SigningKeyStanding = "introduced"
    introduced_at: Moment = 0
    activates_at: Moment = 0
    activated_at: Moment | None = None
    retires_at: Moment | None = None
    ended_at: Moment | None = None
    exposed_at: Moment | None = None


class State(msgspec.Struct, frozen=True):
    """Every key there was, by its id in the order they were made, and which is the active one of each algorithm."""

    keys: dict[str, SigningKey] = {}
    active: dict[str, str] = {}

    def in_standing(self, *standings: SigningKeyStanding) -> Iterator[str]:
        """Ids of the keys with one of these standings."""
        return (key_id for key_id, key in self.keys.items() if key.standing in standings)

    def published(self) -> dict[str, SigningKey]:
        """The keys in use, next and past, as those who verify have to know them."""
        return {key_id: key for key_id, key in self.keys.items() if key.standing in PUBLISHED}


INITIAL = State()


def revoked_at(state: State, key_id: str) -> Moment | None:
    """When the key was revoked; None for one that was not."""
    key = state.keys.get(key_id)
    return key.ended_at if key is not None and key.standing == "revoked" else None


# Verbs ------------------------------------------------------------------------------------------------------------


class NewKey(msgspec.Struct, frozen=True):
    """A key as it was made: its thumbprint (RFC 7638), its algorithm and its public half."""

    key_id: str
    algorithm: SigningAlgorithm
    jwk: dict[str, str]


def missing(state: State) -> tuple[SigningAlgorithm, ...]:
    """The algorithms for which nothing can be signed."""
    return tuple(algorithm for algorithm in ALGORITHMS if algorithm not in state.active)


def begin(state: State, *, now: Moment, made: Sequence[NewKey]) -> Outcome:
    """The first key of each algorithm that has none, active at once. Where another process was faster, nothing."""
    lacking = missing(state)
    return accept(*(event for key in made if key.algorithm in lacking for event in _first(key)))


def rotate(state: State, *, now: Moment, made: Sequence[NewKey], lead: int) -> Outcome:
    """Publishes the next key of each algorithm, which signs after `lead` seconds. One rotation at a time."""
    if missing(state):
        return refuse(NotFound.UNKNOWN, detail="there are no signing keys yet")
    if any(state.in_standing("introduced")):
        return refuse(Conflict.IN_USE, detail="the next keys are published already and not active yet")
    introduced = [
        SigningKeyIntroduced(key_id=key.key_id, algorithm=key.algorithm, jwk=key.jwk, active_in=lead) for key in made
    ]
    if lead:
        return accept(*introduced)
    return accept(*introduced, *(_activated(state, key.key_id, key.algorithm) for key in made))


def compromise(state: State, *, now: Moment, made: Sequence[NewKey]) -> Outcome:
    """Revokes every key whose private half is anywhere, and has new ones sign at once."""
    revoked = (SigningKeyRevoked(key_id=each, reason="compromised") for each in state.in_standing(*PUBLISHED))
    return accept(*(event for key in made for event in _first(key)), *revoked)


def expose(state: State, *, now: Moment, key_id: str) -> Outcome:
    """Records that the private half of a key is outside. A repeat changes nothing."""
    key = state.keys.get(key_id)
    if key is None:
        return refuse(NotFound.UNKNOWN)
    return accept() if key.exposed_at is not None else accept(SigningKeyExposed(key_id=key_id))


def is_due(state: State, now: Moment) -> bool:
    """Whether `settle` would change something."""
    return bool(_due(state, now))


def settle(state: State, *, now: Moment) -> Outcome:
    """Has the keys sign that were published long enough, and takes away those of which nothing is left."""
    return accept(*_due(state, now))


def _due(state: State, now: Moment) -> list[Event]:
    events: list[Event] = []
    for key_id, key in state.keys.items():
        if key.standing == "introduced" and key.activates_at <= now:
            events.append(_activated(state, key_id, key.algorithm))
        elif key.standing == "superseded" and key.retires_at is not None and key.retires_at <= now:
            events.append(SigningKeyRetired(key_id=key_id))
    return events


def _first(key: NewKey) -> tuple[Event, Event]:
    return SigningKeyIntroduced(key_id=key.key_id, algorithm=key.algorithm, jwk=key.jwk), SigningKeyActivated(
        key_id=key.key_id
    )


def _activated(state: State, key_id: str, algorithm: SigningAlgorithm) -> SigningKeyActivated:
    return SigningKeyActivated(key_id=key_id, former=state.active.get(algorithm), former_lasts=TOKENS_LAST)


# Fold -------------------------------------------------------------------------------------------------------------


def evolve(state: State, recorded: Recorded) -> State:
    """The signing keys after one more event."""
    event, now = recorded.event, recorded.time
    match event:
        case SigningKeyIntroduced():
            due = now + event.active_in * SECOND
            key = SigningKey(event.algorithm, event.jwk, introduced_at=now, activates_at=due)
            return replace(state, keys=state.keys | {event.key_id: key})
        case SigningKeyActivated():
            return _after_activation(state, event, now)
        case SigningKeyRetired(key_id=key_id):
            return _ended(state, key_id, "retired", now)
        case SigningKeyRevoked(key_id=key_id):
            return _ended(state, key_id, "revoked", now)
        case SigningKeyExposed(key_id=key_id):
            return _exposed(state, key_id, now)
        case _:
            raise AssertionError(f"{recorded.type} is no event of the signing keys")


def _after_activation(state: State, event: SigningKeyActivated, now: Moment) -> State:
    key = state.keys.get(event.key_id)
    if key is None:
        return state
    changed = {event.key_id: replace(key, standing="active", activated_at=now)}
    former = None if event.former is None else state.keys.get(event.former)
    if event.former is not None and former is not None:
        retires_at = now + (event.former_lasts or 0) * SECOND
        changed[event.former] = replace(former, standing="superseded", retires_at=retires_at)
    return State(state.keys | changed, state.active | {key.algorithm: event.key_id})


def _ended(state: State, key_id: str, standing: SigningKeyStanding, now: Moment) -> State:
    key = state.keys.get(key_id)
    if key is None:
        return state
    active = {algorithm: each for algorithm, each in state.active.items() if each != key_id}
    return State(state.keys | {key_id: replace(key, standing=standing, ended_at=now)}, active)


def _exposed(state: State, key_id: str, now: Moment) -> State:
    key = state.keys.get(key_id)
    return state if key is None else replace(state, keys=state.keys | {key_id: replace(key, exposed_at=now)})
