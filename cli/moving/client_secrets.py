"""Secrets of clients that another system made, in clear or hashed."""

from typing import NamedTuple

from cli.moving.arrivals import Unfit
from cli.moving.people_file import hashed_elsewhere
from domain.client_secret import NewSecret
from domain.registering.foreign_secret import LEAST
from security.tokens import digest, new_id


class KeptSecret(NamedTuple):
    """What is kept of a secret: its SHA-256, or another system's hash until it is shown for the first time."""

    known: NewSecret | None = None
    hashed: str | None = None


def kept_secret(secret: str) -> KeptSecret:
    """What is kept of a secret, or of a hash of one. Raises Unfit for one that cannot be kept."""
    if secret.startswith("$"):
        hashed_elsewhere(secret, "secret")
        return KeptSecret(hashed=secret)
    if len(secret) < LEAST:
        raise Unfit(f"secret: has under {LEAST} characters, so that it could be guessed by its digest")
    return KeptSecret(NewSecret(new_id(), digest(secret).hex(), foreign=True))
