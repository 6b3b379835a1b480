"""Ids and secrets that clients had in another system. The secrets are in clear or hashed."""

import re
from typing import NamedTuple

from cli.moving.import_lines import Unfit
from cli.moving.people_file import hashed_elsewhere
from domain.client_secret import NewSecret
from domain.registering.foreign_secret import LEAST
from security.tokens import digest, new_id

CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
"""Numbers, UUIDs and names. What looks like a URL is the address of a client's document."""

OURS = re.compile(r"\$sha256\$([0-9a-f]{64})")
"""What another Grantlog keeps of a secret, as `grantlog export clients` writes it."""


def require_id(client_id: str, field: str) -> None:
    """Raises Unfit for an id that a client cannot have here."""
    if not CLIENT_ID.fullmatch(client_id):
        raise Unfit(f"{field}: is none that a client can have")


class KeptSecret(NamedTuple):
    """What is kept of a secret: its SHA-256, or another system's hash until it is shown for the first time."""

    known: NewSecret | None = None
    hashed: str | None = None


def kept_secret(secret: str) -> KeptSecret:
    """What is kept of a secret, or of a hash of one. Raises Unfit for one that cannot be kept."""
    if (ours := OURS.fullmatch(secret)) is not None:
        return KeptSecret(NewSecret(new_id(), ours[1], foreign=True))
    if secret.startswith("$"):
        hashed_elsewhere(secret, "secret")
        return KeptSecret(hashed=secret)
    if len(secret) < LEAST:
        raise Unfit(f"secret: has under {LEAST} characters, so that it could be guessed by its digest")
    return KeptSecret(NewSecret(new_id(), digest(secret).hex(), foreign=True))


def sole(secret: str | None) -> str | None:
    """What no two clients may have of it; None for a hash, which may be salted."""
    if secret is None or (secret.startswith("$") and not OURS.fullmatch(secret)):
        return None
    return secret.removeprefix("$sha256$") if secret.startswith("$") else digest(secret).hex()
