"""The keys that sign the transparency log. Stream `log_key`: all of them, one after the other.

The keys themselves are in the vault; here stands which there were, when each began to sign, and how it ended. A public
key is told in full as a signed-note verifier key (C2SP signed-note), whose name is the log's origin.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded

STREAM = "log_key"
LONGEST_KEY = 512
"""Characters of a verifier key, its name included."""

RevocationReason = Literal["compromised", "lost"]
KeyStanding = Literal["introduced", "active", "beside", "retired", "revoked"]

# Facts ------------------------------------------------------------------------------------------------------------


class LogKeyIntroduced(Event, frozen=True, kw_only=True):
    """A key was made for signing the log. `verifier_key` is its public half, `key_id` the eight digits within it."""

    type = "log_key.introduced"

    key_id: str
    verifier_key: str


class LogKeyActivated(Event, frozen=True, kw_only=True):
    """This key became the one by which the log is known. The key before it signs beside it until it is retired."""

    type = "log_key.activated"

    key_id: str


class LogKeyRetired(Event, frozen=True, kw_only=True):
    """A former key signs no longer. What it has signed stays verifiable."""

    type = "log_key.retired"
    in_doubt = True

    key_id: str


class LogKeyRevoked(Event, frozen=True, kw_only=True):
    """A key is not to be trusted any more: anyone who has pinned it must pin its successor."""

    type = "log_key.revoked"
    in_doubt = True

    key_id: str
    reason: RevocationReason


class LogKeySucceeded(Event, frozen=True, kw_only=True):
    """The log goes on under another name, because its database was put back to an older copy.

    `predecessor`, `size` and `root` are those of the last checkpoint known of the log under its former name, the root
    in base64 as it stands there. What that log held beyond this copy is lost; its checkpoints stay what they are.
    """

    type = "log_key.succeeded"

    origin: str
    predecessor: str
    size: int
    root: str


EVENTS: tuple[type[Event], ...] = (LogKeyIntroduced, LogKeyActivated, LogKeyRetired, LogKeyRevoked, LogKeySucceeded)


class LogKey(msgspec.Struct, frozen=True):
    """One key. `introduced` is the moment between being made and being activated."""

    verifier_key: str
    standing: KeyStanding = "introduced"


class State(msgspec.Struct, frozen=True):
    """Every key there was, by its id in the order they were made, and which is the active one."""

    keys: dict[str, LogKey] = {}
    active: str | None = None

    @property
    def verifier_key(self) -> str | None:
        """The active key; None before the first."""
        return None if self.active is None else self.keys[self.active].verifier_key

    @property
    def origin(self) -> str | None:
        """The log's name: that of every key since the log began, or since it succeeded another."""
        return None if self.verifier_key is None else _name(self.verifier_key)

    def in_standing(self, standing: KeyStanding) -> Iterator[str]:
        """Ids of the keys with this standing."""
        return (key_id for key_id, key in self.keys.items() if key.standing == standing)


INITIAL = State()

# Verbs ------------------------------------------------------------------------------------------------------------


def begin(state: State, *, now: Moment, key_id: str, verifier_key: str) -> Outcome:
    """The first key of a log; refused when it has one."""
    if state.active is not None:
        return refuse(Conflict.EXISTS, detail="the log has a key already")
    return _flaw(state, key_id, verifier_key) or accept(*_new(key_id, verifier_key))


def rotate(state: State, *, now: Moment, key_id: str, verifier_key: str) -> Outcome:
    """A new key becomes the active one; the old one signs beside it. Refused while another rotation is under way."""
    if state.active is None:
        return refuse(NotFound.UNKNOWN, detail="the log has no key yet")
    if any(state.in_standing("beside")):
        return refuse(Conflict.IN_USE, detail="a rotation is under way: finish it first")
    return _flaw(state, key_id, verifier_key) or accept(*_new(key_id, verifier_key))


def retire(state: State, *, now: Moment) -> Outcome:
    """Ends a rotation: the active key signs alone."""
    former = list(state.in_standing("beside"))
    if not former:
        return refuse(NotFound.UNKNOWN, detail="no rotation is under way")
    return accept(*(LogKeyRetired(key_id=each) for each in former))


def revoke(state: State, *, now: Moment, key_id: str, verifier_key: str, reason: RevocationReason) -> Outcome:
    """A new key takes over at once, and every other that still signs is not to be trusted from now on."""
    if state.active is None:
        return refuse(NotFound.UNKNOWN, detail="the log has no key yet")
    signing = (*state.in_standing("beside"), state.active)
    return _flaw(state, key_id, verifier_key) or accept(
        *_new(key_id, verifier_key), *(LogKeyRevoked(key_id=each, reason=reason) for each in signing)
    )


def succeed(
    state: State, *, now: Moment, key_id: str, verifier_key: str, predecessor: str, size: int, root: str, held: bool
) -> Outcome:
    """Ends the log under its name and begins one that names its head. `held`: this log still has that very head.

    The former keys sign no longer at once: what they would sign would be a second history under the former name.
    """
    if state.active is None:
        return refuse(NotFound.UNKNOWN, detail="the log has no key yet")
    if predecessor != state.origin:
        return malformed("checkpoint", "must be of the log under its present name")
    if held:
        return refuse(Conflict.EXISTS, detail="the log still has everything that this checkpoint covers")
    name = _name(verifier_key)
    if any(_name(key.verifier_key) == name for key in state.keys.values()):
        return refuse(Conflict.NAME_TAKEN, detail="the log has or had this name", field="origin")
    signing = (*state.in_standing("beside"), state.active)
    return _flaw(replace(state, active=None), key_id, verifier_key) or accept(
        LogKeySucceeded(origin=name, predecessor=predecessor, size=size, root=root),
        *_new(key_id, verifier_key),
        *(LogKeyRetired(key_id=each) for each in signing),
    )


def _name(verifier_key: str) -> str:
    return verifier_key.partition("+")[0]


def _new(key_id: str, verifier_key: str) -> tuple[Event, Event]:
    return LogKeyIntroduced(key_id=key_id, verifier_key=verifier_key), LogKeyActivated(key_id=key_id)


def _flaw(state: State, key_id: str, verifier_key: str) -> Outcome | None:
    name, _, rest = verifier_key.partition("+")
    if not name or len(verifier_key) > LONGEST_KEY or not rest.startswith(f"{key_id}+"):
        return malformed("verifier_key", f"must be a verifier key of at most {LONGEST_KEY} characters with its own id")
    if key_id in state.keys:
        return refuse(Conflict.EXISTS, detail="the log has or had this key", field="verifier_key")
    if state.origin not in (None, name):
        return malformed("verifier_key", "must have the log's own name")
    return None


def evolve(state: State, recorded: Recorded) -> State:
    """The log's keys after one more event."""
    match recorded.event:
        case LogKeyIntroduced(key_id=key_id, verifier_key=verifier_key):
            return replace(state, keys=state.keys | {key_id: LogKey(verifier_key)})
        case LogKeyActivated(key_id=key_id):
            former = {} if state.active is None else _standing(state, state.active, "beside")
            return State(state.keys | former | _standing(state, key_id, "active"), key_id)
        case LogKeyRetired(key_id=key_id):
            return replace(state, keys=state.keys | _standing(state, key_id, "retired"))
        case LogKeyRevoked(key_id=key_id):
            return replace(state, keys=state.keys | _standing(state, key_id, "revoked"))
        case LogKeySucceeded():
            # The key that follows bears the new name.
            return state
        case _:
            raise AssertionError(f"{recorded.type} is no event of the log's keys")


def _standing(state: State, key_id: str, standing: KeyStanding) -> dict[str, LogKey]:
    return {key_id: replace(state.keys.get(key_id, LogKey("")), standing=standing)}
