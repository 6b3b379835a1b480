"""`authorization_details` (RFC 9396), as requests bring them."""

from api.http.errors import HTTPError, InvalidAuthorizationDetails, oauth_error
from api.services import Services
from domain import client
from domain.decision import Refusal
from domain.requests import authorization_detail_type
from domain.rules import authorization_details
from domain.rules.authorization_details import AuthorizationDetails


def read(text: str | None) -> AuthorizationDetails | None:
    """The objects of the parameter, None where it did not come; raises `invalid_authorization_details`."""
    found = None if text is None else authorization_details.read(text)
    if isinstance(found, Refusal):
        raise oauth_error(found)
    return found


def refuse(text: str | None) -> None:
    """Raises `invalid_authorization_details` where the parameter came to a request that gives none: what is asked for
    there and passed over would look granted."""
    if text is not None:
        raise InvalidAuthorizationDetails("Ask for authorization_details at /oauth/authorize.")


async def fault(services: Services, asking: client.State, text: str | None) -> HTTPError | None:
    """What is wrong with those of an authorization request, for this client, before anybody is asked (§5)."""
    if text is None:
        return None
    found = authorization_details.read(text)
    if isinstance(found, Refusal):
        return oauth_error(found)
    types: authorization_detail_type.State = await services.ledger.state(authorization_detail_type.STREAM)
    refused = authorization_details.requested(found, client=asking, schema_of=types.schema_of)
    return None if refused is None else oauth_error(refused)
