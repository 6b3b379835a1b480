"""Personal values as states and read models hold them: sealed, and with what it takes to open them."""

import msgspec

from domain.event import Recorded


class Sealed(msgspec.Struct, frozen=True):
    """A sealed value. The seal is bound to the event and the field where the value stands, so both are kept with it."""

    event_id: str
    field: str
    text: str


def sealed(recorded: Recorded, field: str) -> Sealed | None:
    """The personal value of `field` in a stored event; None when the event states none."""
    text = getattr(recorded.event, field)
    return None if text is None else Sealed(recorded.id, field, text)
