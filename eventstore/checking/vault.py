"""The vault's keys held against the log: none is destroyed or missing without the event that says so."""

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from domain.event import Recorded
from domain.events import DESTROYING
from eventstore.checking.expected import AT_ONCE
from eventstore.stored import events
from security.sealing import subjects_of
from security.vault_tables import KEYS

NAME = "vault_keys"

_PRESENT = select(KEYS.c.subject).where(
    KEYS.c.subject.in_(bindparam("b_subjects", expanding=True)), KEYS.c.wrapped.is_not(None)
)
_TOLD = select(events.c.originator_id).where(
    events.c.originator_id.in_(bindparam("b_subjects", expanding=True)), events.c.topic.in_(sorted(DESTROYING))
)
_DESTROYED = (
    select(KEYS.c.subject)
    .where(KEYS.c.subject > bindparam("b_after"), KEYS.c.wrapped.is_(None))
    .order_by(KEYS.c.subject)
    .limit(bindparam("b_limit"))
)


class Missing(NamedTuple):
    """A key that cannot be had, though nothing says that it was destroyed."""

    subject: str

    @property
    def projection(self) -> str:
        """The vault is no read model, and no rebuild brings a key back."""
        return NAME

    @property
    def key_sha256(self) -> str:
        """Names the subject to whoever knows it."""
        return sha256(self.subject.encode()).hexdigest()


def begun(connection: Connection, recorded: Iterable[Recorded]) -> list[Missing]:
    """Looks for the keys under which these events are sealed."""
    wanted: set[str] = set()
    for each in recorded:
        for text in (each.ip, each.user_agent, *(getattr(each.event, name) for name in each.event.personal)):
            if text is not None:
                wanted.update(subjects_of(text))
    return _missing(connection, wanted)


def destroyed(connection: Connection, after: str, limit: int) -> tuple[list[Missing], str | None]:
    """Looks for the events of destroyed keys, behind one; where to go on, None at the end."""
    subjects = connection.scalars(_DESTROYED, {"b_after": after, "b_limit": limit}).all()
    return _missing(connection, subjects), subjects[-1] if len(subjects) == limit else None


def stands(connection: Connection, missing: Missing) -> bool:
    """Whether it is so, asked under the log's lock."""
    return bool(_missing(connection, (missing.subject,)))


def _missing(connection: Connection, subjects: Iterable[str]) -> list[Missing]:
    wanted = sorted(subjects)
    left: set[str] = set(wanted)
    for query in (_PRESENT, _TOLD):
        for start in range(0, len(wanted), AT_ONCE):
            left -= set(connection.scalars(query, {"b_subjects": wanted[start : start + AT_ONCE]}))
    return [Missing(subject) for subject in sorted(left)]
