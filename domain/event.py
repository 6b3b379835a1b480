"""What a fact is: the event itself, and the event as it stands recorded in the log."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

Moment = int
"""A point in time: whole microseconds since 1970-01-01T00:00:00Z."""

SECOND: Moment = 1_000_000


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One immutable fact. A subclass binds its permanent tag and names its personal fields.

    `type` is the tag under which the fact is stored for ever: `noun.verb_past`, never renamed, never reused.
    `personal` names the fields whose values are about somebody, as a rule the stream's own subject. A fresh event holds
    them in clear; the ledger seals them under the subject's key, so a stored event holds sealed text.
    `of_origin` names those of the personal fields that tell where a request came from: they end with their month too.
    `hidden` names those of the personal fields that no reader is ever shown, auditors included (a password's hash).
    `destroys_key` says that the key in the vault which has the stream's name is destroyed in the same transaction.
    `in_doubt` says that it is recorded also while the log has diverged (`server.log_diverged`), when nobody can tell
    who may do what: an end of something, what replaces a secret that leaked, and what was merely noticed. Such a fact
    lets nobody do more than before. Everything else waits, what nobody has thought of included. It stands with each
    event, and not in a list of commands, since what is written is events: no verb can promise one thing and record
    another, and a new verb that ends something needs no line anywhere.
    Fields added later have defaults, and no field ever changes its meaning.
    `since` is the feature level from which on the event may be written, `members_since` that of fields added later: an
    older node would not know what they say (`domain.rules.feature_level`).
    """

    type: ClassVar[str]
    personal: ClassVar[tuple[str, ...]] = ()
    of_origin: ClassVar[tuple[str, ...]] = ()
    hidden: ClassVar[tuple[str, ...]] = ()
    destroys_key: ClassVar[bool] = False
    in_doubt: ClassVar[bool] = False
    since: ClassVar[int] = 1
    members_since: ClassVar[Mapping[str, int]] = {}

    def subject(self, stream: str) -> str:
        """Under whose key the personal fields are sealed; in almost every event that of the stream it stands in."""
        return stream


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did it and what they acted with.

    `credential` names the means: `{"grant_id": …}` for a bearer token, `{"secret_id": …}` for a client secret,
    `{"key_id": …}` for a client's key by its thumbprint,
    `{"session_id": …}` for a browser session, `{"link_sha256": …}` for a link that was mailed, `{"user": …}` for the
    command line's system user.
    """

    kind: Literal["person", "client", "system", "anonymous"]
    id: str | None = None
    credential: dict[str, str] | None = None


ANONYMOUS = Actor("anonymous")


class Recorded(msgspec.Struct, frozen=True):
    """An event at its place in the log. `version` counts its stream's events from 1, `position` those of the log."""

    position: int
    id: str
    stream: str
    version: int
    time: Moment
    actor: Actor
    request_id: str | None
    ip: str | None
    user_agent: str | None
    event: Any

    @property
    def type(self) -> str:
        tag: str = self.event.type
        return tag


# Personal values as states and read models hold them: sealed, and with what it takes to open them.


class Sealed(msgspec.Struct, frozen=True):
    """A sealed value. The seal is bound to the event and the field where the value stands, so both are kept with it."""

    event_id: str
    field: str
    text: str


def sealed(recorded: Recorded, field: str) -> Sealed | None:
    """The personal value of `field` in a stored event; None when the event states none."""
    text = getattr(recorded.event, field)
    return None if text is None else Sealed(recorded.id, field, text)
