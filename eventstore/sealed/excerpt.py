"""What stays of an event's text in the database when that is dropped: the few members that queries look at by SQL.

It is made of the event alone, so that whoever has the event can tell whether the excerpt is that of it.
"""

from typing import Any

import msgspec

MARK = b'{"archived":true'
"""How an excerpt begins, and no event."""

OF_DATA = ("client_id", "account_id", "session_id")
GIVEN = ("code", "refresh_token")
"""Members of which only matters that they are there."""

PATHS = frozenset(
    (
        *(("data", name) for name in (*OF_DATA, *GIVEN)),
        ("actor", "id"),
        ("actor", "kind"),
        ("actor", "credential", "key_id"),
    )
)
"""All that a query may look at in the text of an event by SQL, and of events of grants alone."""

_encode = msgspec.json.Encoder().encode


class _Actor(msgspec.Struct):
    kind: str
    id: str | None = None
    credential: dict[str, str] | None = None


class _Event(msgspec.Struct):
    type: str
    actor: _Actor
    data: dict[str, Any]


_DECODER = msgspec.json.Decoder(_Event)


def excerpt(form: bytes) -> bytes:
    """The excerpt of a stored form."""
    event = _DECODER.decode(form)
    if not event.type.startswith("grant."):
        return MARK + b"}"
    data = {name: event.data[name] for name in OF_DATA if event.data.get(name) is not None}
    data |= {name: True for name in GIVEN if event.data.get(name) is not None}
    actor: dict[str, Any] = {"kind": event.actor.kind}
    if event.actor.id is not None:
        actor["id"] = event.actor.id
    if event.actor.credential is not None and "key_id" in event.actor.credential:
        actor["credential"] = {"key_id": event.actor.credential["key_id"]}
    return _encode({"archived": True, "actor": actor, "data": data})


def is_excerpt(text: bytes) -> bool:
    """Whether that stands in the place of an event."""
    return text.startswith(MARK)
