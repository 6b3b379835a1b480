"""Sealed values in rows: text that carries what it takes to open them. No row holds a personal value in clear."""

from domain.event import Recorded
from domain.sealed import Sealed, sealed


def reference(recorded: Recorded, field: str) -> str | None:
    """The value of an event's personal field as `<event_id>|<field>|<sealed text>`; None when the event states none."""
    value = sealed(recorded, field)
    return None if value is None else f"{value.event_id}|{value.field}|{value.text}"


def parse(text: str | None) -> Sealed | None:
    """What `reference` made, taken apart."""
    return None if text is None else Sealed(*text.split("|", 2))
