"""Which keys an event names, by their thumbprints (RFC 7638, RFC 8705 §3.1): as a client's own, as what a code or token
is bound to, and as what the one who acted proved themselves by."""

from collections.abc import Collection

from domain.event import Event, Recorded
from domain.keys.client_keys import KeyRevoked, KeysRegistered
from domain.rules import public_key

_BOUND = ("dpop_jkt", "x5t_s256")
"""Members that say to which key or certificate a code or token is bound."""

_CREDENTIAL = "key_id"

_NAMING: dict[type[Event], tuple[str, ...]] = {}
"""The members by the type of event: most have none."""


def of(recorded: Recorded) -> Collection[str]:
    """Each key that the event names, perhaps more than once. Most events name none, which takes next to no time."""
    event, credential = recorded.event, recorded.actor.credential
    names = _NAMING.get(type(event))
    if names is None:
        names = _naming(type(event))
    own = credential.get(_CREDENTIAL) if credential is not None else None
    if own is None and not names:
        return ()
    named = [thumbprint for name in names if (thumbprint := getattr(event, name)) is not None]
    if isinstance(event, KeysRegistered):
        named = [public_key.thumbprint(each) for each in event.jwks]
    return named if own is None else [*named, own]


def _naming(kind: type[Event]) -> tuple[str, ...]:
    members = ("jwks",) if kind is KeysRegistered else ("thumbprint",) if kind is KeyRevoked else _BOUND
    found = _NAMING[kind] = tuple(name for name in members if name in kind.__struct_fields__)
    return found
