"""Events as pages show them: what the API tells of one, and what a row or a page makes of that."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from api.console.masking import pseudonym

ENDS = ("ended", "revoked", "disabled", "deleted", "erased", "refused", "replayed", "failed", "retired", "suspended")
GRANTS = ("issued", "registered", "enabled", "given", "started", "refreshed", "introduced", "activated", "resumed")
MARKS = {"ended": "\N{MULTIPLICATION X}", "granted": "\N{BLACK DIAMOND}", "fact": "\N{BLACK CIRCLE}"}


class EventActor(msgspec.Struct, frozen=True):
    """Who acted. `credential` names what they acted with."""

    kind: str
    id: str | None = None
    credential: dict[str, Any] | None = None


class RoleThen(msgspec.Struct, frozen=True):
    """A role that the actor held, and the events that gave it, and its scopes."""

    name: str
    scopes: tuple[str, ...]
    given_by: int
    defined_by: int | None = None


class ScopeThen(msgspec.Struct, frozen=True):
    """What the actor acted with, and the event that gave it."""

    scope: tuple[str, ...]
    given_by: int


class Ground(msgspec.Struct, frozen=True):
    """What the actor held just before the event."""

    roles: tuple[RoleThen, ...] = ()
    acted_with: ScopeThen | None = None


class Event(msgspec.Struct, frozen=True):
    """An event as `GET /audit/events` tells it, with `meaning` and, where they were asked for, `names`."""

    position: int
    type: str
    stream: str
    version: int
    time: str
    actor: EventActor
    meaning: str
    id: str = ""
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    data: dict[str, Any] = {}
    sealed: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()
    names: dict[str, str | None] | UnsetType = UNSET
    ground: Ground | UnsetType = UNSET

    @property
    def url(self) -> str:
        """Its page."""
        return f"/console/events/{self.position}"

    @property
    def sort(self) -> str:
        """`granted`, `ended` or `fact`: with which mark it stands in a list."""
        last = self.type.rpartition(".")[2]
        if any(last == each or last.endswith(f"_{each}") for each in ENDS):
            return "ended"
        return "granted" if any(last == each or last.endswith(f"_{each}") for each in GRANTS) else "fact"

    @property
    def mark(self) -> str:
        """The mark itself."""
        return MARKS[self.sort]

    @property
    def by(self) -> str:
        """Who acted, by name where one is told."""
        if self.actor.id is None:
            return "the system" if self.actor.kind == "system" else "nobody who is known"
        unnamed = pseudonym(self.actor.id) if self.actor.kind == "person" else self.actor.id
        return self.name(self.actor.id) or unnamed

    @property
    def by_kind(self) -> str:
        """Of what kind who acted is, unless `by` says so itself."""
        if self.actor.id is None or (self.actor.kind == "person" and not self.name(self.actor.id)):
            return ""
        return self.actor.kind

    @property
    def people(self) -> tuple[str, ...]:
        """The ids of those whom it names."""
        found = [] if self.names is UNSET else [key for key in self.names if key.startswith("account:")]
        if self.stream.startswith("account:"):
            found.append(self.stream)
        if self.actor.kind == "person" and self.actor.id is not None:
            found.append(f"account:{self.actor.id}")
        return tuple(dict.fromkeys(each.partition(":")[2] for each in found))

    @property
    def about(self) -> str:
        """What the event names beside who acted, as far as that is called something."""
        found = {} if self.names is UNSET else self.names
        return ", ".join(dict.fromkeys(each for each in found.values() if each and each != self.by))

    def name(self, id: str) -> str | None:
        """What somebody or something is called now."""
        if self.names is UNSET:
            return None
        return next((self.names[key] for key in (id, f"client:{id}", f"account:{id}") if self.names.get(key)), None)
