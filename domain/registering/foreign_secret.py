"""A client's secret of which another system kept a hash: it counts until the client shows it, and is a version then.

Its facts stand in the client's stream.
"""

from domain.event import Event, Recorded, Sealed, sealed

LEAST = 32
"""Characters that a secret has at least to be kept as SHA-256: of a shorter one the digest could be guessed."""


class ForeignSecretImported(Event, frozen=True, kw_only=True):
    """Another system knew the client's secret by this hash. Anyone who shows what it is of is the client."""

    type = "client.foreign_secret_imported"
    personal = ("secret_hash",)
    hidden = ("secret_hash",)

    secret_hash: str


class ForeignSecretEnded(Event, frozen=True, kw_only=True):
    """What only its hash tells of authenticates nobody any more."""

    type = "client.foreign_secret_ended"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (ForeignSecretImported, ForeignSecretEnded)


def fold(recorded: Recorded) -> Sealed | None:
    """The hash after one of `EVENTS`."""
    return sealed(recorded, "secret_hash") if isinstance(recorded.event, ForeignSecretImported) else None
