"""The list at a client's `sector_identifier_uri` (OpenID Connect Registration §5), fetched before it is registered."""

import msgspec

from api.http.outgoing_requests import NoAnswer, NotAllowed
from api.services import Services
from domain import client
from domain.rules import pairwise
from domain.rules.pairwise import SectorDocument

_decode = msgspec.json.Decoder(tuple[str, ...]).decode


ACCEPT = "application/json"


async def sector_document(
    services: Services, changes: client.Attributes, before: client.State = client.INITIAL, *, kept: bool = False
) -> SectorDocument | None:
    """The list, where the client after these changes has one that is to be looked at; None where it has none, or where
    its address gives no list of texts. Who registers is told then which member is at fault. With `kept` one will do
    that was had a moment ago: for clients of which anybody may have it looked at again and again.
    """
    after = msgspec.structs.replace(before, **client.named(changes))
    uri = after.sector_identifier_uri
    if uri is None or not pairwise.is_to_be_fetched(after, before) or pairwise.uri_problem(uri) is not None:
        return None
    try:
        if kept:
            body = await services.documents.get(uri, accept=ACCEPT, largest=pairwise.DOCUMENT_MAXIMUM)
            return SectorDocument(uri, frozenset(_decode(body)))
        answer = await services.outgoing.send("GET", uri, headers={"Accept": ACCEPT}, largest=pairwise.DOCUMENT_MAXIMUM)
        return SectorDocument(uri, frozenset(_decode(answer.body))) if answer.status == 200 else None
    except (NotAllowed, NoAnswer, msgspec.ValidationError, msgspec.DecodeError, UnicodeError):
        return None
