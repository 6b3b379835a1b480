"""Which keys an event names, by their thumbprints (RFC 7638, RFC 8705 §3.1): as a client's own, as what a code or token
is bound to, and as what whoever acted proved themselves by."""

from collections.abc import Iterator

from domain.event import Event, Recorded
from domain.keys.client_keys import KeyRevoked, KeysRegistered
from domain.rules import public_key

_BOUND = ("dpop_jkt", "x5t_s256")
"""Members that say to which key or certificate a code or token is bound."""

_CREDENTIAL = "key_id"

_NAMING: dict[type[Event], tuple[str, ...]] = {}
"""The members by the type of event: most have none."""


def of(recorded: Recorded) -> Iterator[str]:
    """Each key that the event names, perhaps more than once."""
    event, credential = recorded.event, recorded.actor.credential
    for name in _naming(type(event)):
        if (thumbprint := getattr(event, name)) is not None:
            yield thumbprint
    if credential is not None and _CREDENTIAL in credential:
        yield credential[_CREDENTIAL]
    if isinstance(event, KeysRegistered):
        yield from map(public_key.thumbprint, event.jwks)
    elif isinstance(event, KeyRevoked):
        yield event.thumbprint


def _naming(kind: type[Event]) -> tuple[str, ...]:
    found = _NAMING.get(kind)
    if found is None:
        found = _NAMING[kind] = tuple(name for name in _BOUND if name in kind.__struct_fields__)
    return found
