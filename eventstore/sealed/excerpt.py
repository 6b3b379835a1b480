"""What stays of an event's text in the database when that is dropped: the few members that queries look at by SQL.

It is made of the event alone, so that the one who has the event can tell whether the excerpt is that of it. Of most
events nothing stays, since what is looked for is in the search index.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

BEGINNINGS = (b"{}", b'{"data":', b'{"actor":')
"""How excerpts begin, and no event."""

EVENT = b'{"p'
"""How every event begins, and no excerpt."""

SHORT = b'{"z'
"""How what has all of an event in short begins (`eventstore.sealed.short_forms`)."""

TEXTS = (EVENT, SHORT)

_LISTED = ", ".join(f"'{each.decode()}'" for each in TEXTS)
IS_DROPPED = f"substr(state, 1, {len(EVENT)}) NOT IN ({_LISTED})"
"""Whether a row of a statement has an excerpt."""

ALWAYS = ("account_id", "session_id")
"""Members of events of grants that are looked at."""

OF_KEYED = "client_id"
GIVEN = ("code", "refresh_token")
"""Members of which only matters that they are there. These and the former are looked at where an event names a key."""

KEYS = ("dpop_jkt", "x5t_s256")
"""Members that name the key to which a code or token is bound."""

PATHS = frozenset(
    (
        *(("data", name) for name in (*ALWAYS, OF_KEYED, *GIVEN)),
        ("actor", "id"),
        ("actor", "kind"),
        ("actor", "credential", "key_id"),
    )
)
"""All that a query may look at in the text of an event by SQL, dropped or not."""

MARKS = ("signing_key", "asserted_by")
"""Members of events of grants that are looked at in those alone that were not dropped."""

_encode = msgspec.json.Encoder().encode


class _Actor(msgspec.Struct):
    kind: str
    id: str | None = None
    credential: dict[str, str] | None = None


class _Data(msgspec.Struct):
    """The members of events of grants that are looked at. Anything else is passed over, which takes a third of reading
    it."""

    account_id: Any = None
    session_id: Any = None
    client_id: Any = None
    code: Any = None
    refresh_token: Any = None
    dpop_jkt: Any = None
    x5t_s256: Any = None
    signing_key: Any = None
    asserted_by: Any = None


class _Event(msgspec.Struct):
    type: str
    actor: _Actor
    data: _Data


_DECODER = msgspec.json.Decoder(_Event)
_NOTHING = b"{}"


def excerpt(form: bytes) -> bytes:
    """The excerpt of a stored form."""
    event = _DECODER.decode(form)
    if event.actor.credential is None and not event.type.startswith("grant."):
        return _NOTHING
    return _encode(_kept(event))


def looked_at(form: bytes) -> bytes:
    """What queries look at by SQL in an event that was not dropped: more than its excerpt by what marks it."""
    event = _DECODER.decode(form)
    found = _kept(event)
    if event.type.startswith("grant.") and (marks := _given(event.data, MARKS)):
        found["data"] = found.get("data", {}) | marks
    return _encode(found)


def _kept(event: _Event) -> dict[str, Any]:
    found: dict[str, Any] = {}
    own = (event.actor.credential or {}).get("key_id")
    if own is not None:
        given = {"kind": event.actor.kind, "id": event.actor.id, "credential": {"key_id": own}}
        found["actor"] = {name: value for name, value in given.items() if value is not None}
    if event.type.startswith("grant.") and (data := _of_grant(event.data, is_keyed=own is not None)):
        found["data"] = data
    return found


def _given(data: _Data, names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(data, name)) is not None}


def _of_grant(data: _Data, *, is_keyed: bool) -> dict[str, Any]:
    is_keyed = is_keyed or any(getattr(data, name) is not None for name in KEYS)
    found = _given(data, ALWAYS)
    if is_keyed:
        found |= _given(data, (OF_KEYED,)) | dict.fromkeys(_given(data, GIVEN), True)
    return found


def is_excerpt(text: bytes) -> bool:
    """Whether that stands in the place of an event."""
    return text.startswith(BEGINNINGS)
