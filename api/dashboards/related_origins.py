"""Which other origins may use this server's passkeys (Web Authentication Level 3 §5.11): those of its dashboards."""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import get

from api.config.settings import Settings
from api.oauth.passkeys import rp_id
from api.services import Injected
from eventstore.ledger import Ledger
from projections.clients import dashboards
from security.passkeys import covers

PATH = "/.well-known/webauthn"
AT_MOST = 200


class RelatedOrigins(msgspec.Struct, frozen=True):
    """Origins beyond the relying party's own domain."""

    origins: list[str]


@get(PATH, tags=["Protocol"], summary="Other origins that may use passkeys of this server (WebAuthn §5.11.1)")
async def related_origins(ledger: Injected[Ledger], settings: Injected[Settings]) -> RelatedOrigins:
    """Those of enabled dashboards that the relying party does not cover by itself; none where there are no passkeys."""
    here = rp_id(settings)
    if here is None:
        return RelatedOrigins([])
    found = await ledger.read(dashboards, limit=AT_MOST)
    origins = {origin for each in found.items if each.state == "enabled" for origin in each.allowed_origins}
    return RelatedOrigins(sorted(each for each in origins if not covers(here, urlsplit(each).hostname or "")))


ROUTES: list[Any] = [related_origins]
