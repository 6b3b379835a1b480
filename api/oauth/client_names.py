"""By which ids clients call themselves, and by which they are kept: a client with a metadata document calls itself by
the address of that (draft-ietf-oauth-client-id-metadata-document §3), which nothing in the log or in a path holds.
"""

from base64 import urlsafe_b64encode
from functools import lru_cache

from api.config.settings import Settings
from domain.rules.client_id_document import SCHEME
from security.tokens import digest

PREFIX = "cimd-"
"""How the ids begin that are made of addresses."""

NOBODY = " "
"""An id that no client has."""


def kept_under(settings: Settings, client_id: str) -> str:
    """The id under which a client is kept that calls itself `client_id`; `NOBODY` where none may call itself that."""
    if client_id.startswith(SCHEME):
        return id_of(client_id) if settings.client_id_metadata_documents else NOBODY
    return NOBODY if client_id.startswith(PREFIX) else client_id


@lru_cache(maxsize=1024)
def id_of(uri: str) -> str:
    """The id of whose metadata document is at this address, always the same: 192 bits of its digest."""
    return PREFIX + urlsafe_b64encode(digest(uri)[:24]).decode()
