"""What an auditor is told in the end."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["verified", "tampered", "unverifiable"]

_EXIT_CODES: dict[Outcome, int] = {"verified": 0, "tampered": 1, "unverifiable": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence in plain words, and the figures behind it.

    `position` is the first position that does not fit. Where only a stretch can be told, it is the stretch's beginning
    and `until` its end. `checked` events were looked at one by one; `pending` of them are newer than the checkpoint.
    """

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
