"""What an auditor is told in the end, and the signed head that everything is measured against."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from verifier.note import BadSignature, Checkpoint, Key, Malformed, encode64, open_note, parse_checkpoint

# What an auditor is told in the end.

Outcome = Literal["verified", "tampered", "unverifiable"]

_EXIT_CODES: dict[Outcome, int] = {"verified": 0, "tampered": 1, "unverifiable": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence in plain words, and the figures behind it. `position` is the first position that does not fit. Where
    only a stretch can be told, it is the stretch's beginning and `until` its end. `checked` events were looked at one
    by one; `pending` of them are newer than the checkpoint."""

    outcome: Outcome
    reason: str
    position: int | None = None
    until: int | None = None
    origin: str | None = None
    size: int | None = None
    root: bytes | None = None
    checked: int = 0
    pending: int = 0
    cosigned_by: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 verified, 1 tampered, 2 could not verify."""
        return _EXIT_CODES[self.outcome]

    @property
    def members(self) -> dict[str, Any]:
        """The verdict as JSON has it, for scripts."""
        shown: dict[str, Any] = {"verdict": self.outcome} | asdict(self)
        del shown["outcome"]
        return shown | {"root": None if self.root is None else encode64(self.root)}

    @property
    def figures(self) -> list[tuple[str, Any]]:
        """What is told below the reason, each with its name."""
        told: list[tuple[str, Any]] = []
        if self.position is not None:
            where = self.position if self.until is None else f"somewhere from {self.position} to {self.until}"
            told.append(("first misfit" if self.outcome == "tampered" else "position", where))
        if self.origin is not None:
            told += [("log", self.origin), ("size", self.size), ("root", self.members["root"])]
            told.append(("cosigned by", self.cosigned_by))
        return told


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that does not fit, and where."""

    position: int
    reason: str
    until: int | None = None

    @property
    def vague(self) -> bool:
        """Whether only a stretch is known."""
        return self.until is not None and self.until > self.position


class SourceError(Exception):
    """A source that cannot be read: nothing is proved, neither way."""


# The checkpoint that everything is measured against, and whether the pinned keys vouch for it.


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint signed by a pinned key, and the known witnesses that cosigned it."""

    checkpoint: Checkpoint
    cosigned_by: tuple[Key, ...]

    def verdict(
        self, outcome: Outcome, reason: str, fault: Fault | None = None, *, checked: int = 0, pending: int = 0
    ) -> Verdict:
        """What is said of the log whose head this is."""
        return Verdict(
            outcome,
            reason,
            None if fault is None else fault.position,
            fault.until if fault is not None and fault.vague else None,
            self.checkpoint.origin,
            self.checkpoint.size,
            self.checkpoint.root,
            checked,
            pending,
            tuple(key.name for key in self.cosigned_by),
        )


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a checkpoint cannot be believed. `foreign`: no pinned key claims it, so it may be somebody else's."""

    outcome: Outcome
    reason: str
    foreign: bool = False

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.outcome, self.reason)


def open_head(
    note: str, keys: Sequence[Key], witnesses: Sequence[Key] = (), what: str = "the checkpoint"
) -> Head | Unfit:
    """Opens a checkpoint, unless it is not what a log with one of these keys would sign. Another log's checkpoint
    proves nothing. One of this log that the pinned key did not sign is a finding: either somebody else signed it, or
    the log's key was rotated and the auditor has to learn the new one out of band."""
    try:
        opened = open_note(note, [*keys, *witnesses])
        checkpoint = parse_checkpoint(opened.text)
    except Malformed as error:
        return Unfit("tampered", f"{what} cannot be read: {error}")
    except BadSignature as error:
        return Unfit("tampered", f"{what} was changed after it was signed: {error}")
    known = [key for key in keys if key.name == checkpoint.origin]
    if not known:
        names = ", ".join(key.name for key in keys)
        return Unfit(
            "unverifiable", f"{what} is of the log {checkpoint.origin}, and the pinned key is of {names}", True
        )
    if not opened.verified_by(known):
        signers = ", ".join(f"{name}+{key_id}" for name, key_id in opened.signed_by)
        pinned = ", ".join(f"{key.name}+{key.id.hex()}" for key in known)
        return Unfit("tampered", f"{what} is not signed by the pinned key {pinned}, but by {signers}", True)
    return Head(checkpoint, opened.verified_by(witnesses))
