"""What the rows of dropped events say of stream and type: shorter than those of others, and made of the event alone.

Most streams are of the uses of one token and have its whole digest in their name, which stood in each row and in the
index of streams. With the event one can tell whether a row is its own; a statement asks by both.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from hashlib import sha256

from domain.events import EVENTS
from eventstore.mapper import UPCASTS
from security import base64url

_USES_OF_TOKEN = re.compile("usage:([0-9a-f]{32})[0-9a-f]{32}").fullmatch
"""With the half of the digest that is the token's `jti`, and tells it from all others."""


def kept_stream(stream: str) -> str:
    """The name of a stream in the rows of its dropped events. A shorter one has no category, as no stream's own has."""
    found = _USES_OF_TOKEN(stream)
    return stream if found is None else base64url.encode(bytes.fromhex(found[1]))


@lru_cache(1_024)
def kept_type(tag: str) -> str:
    """The type of an event in its row when it is dropped: four characters, of which none is a full stop."""
    return base64url.encode(sha256(tag.encode()).digest()[:3])


def as_kept(tags: Iterable[str]) -> list[str]:
    """Types as rows say them, be their events dropped or not."""
    return sorted({name for tag in tags for name in (tag, kept_type(tag))})


def listed(tags: Iterable[str]) -> str:
    """The same for a statement's text."""
    return ", ".join(f"'{each}'" for each in as_kept(tags))


def whole_type(name: str) -> str:
    """The type that a row says; of one that nobody knows the name itself."""
    return _whole_types().get(name, name)


@cache
def _whole_types() -> Mapping[str, str]:
    return {kept_type(tag): tag for tag in (*(each.type for each in EVENTS), *UPCASTS)}
