"""`POST /oauth/global-token-revocation` (draft-parecki-oauth-global-token-revocation): everything of a person ends."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta

from api.http.errors import InvalidRequest, Missing, Unprocessable, api_error
from api.oauth.bearer import Bearer, lost, needing
from api.oauth.person_authentication import policies
from api.services import Injected, Services, services_of
from commands.incidents import Since, end_account_tokens
from domain import account
from domain.rules import people
from eventstore.present import person_by_login

PATH = "/oauth/global-token-revocation"
NEEDED = "leaks:write"
SUBJECT_MAXIMUM = 128
UNKNOWN = "There is no such person."
SEVERAL = "Several people have this address: name the one that is meant by iss_sub."


class SubjectIdentifier(msgspec.Struct, frozen=True):
    """Who is meant (RFC 9493 §3), by `iss_sub` (`iss`, `sub`), `opaque` (`id`) or `email`. A subject is an account."""

    format: Literal["iss_sub", "opaque", "email"]
    iss: Annotated[str, Meta(max_length=2_048)] | None = None
    sub: Annotated[str, Meta(max_length=SUBJECT_MAXIMUM)] | None = None
    id: Annotated[str, Meta(max_length=SUBJECT_MAXIMUM)] | None = None
    email: Annotated[str, Meta(max_length=people.EMAIL_MAXIMUM)] | None = None

    def __repr__(self) -> str:
        return f"SubjectIdentifier({self.format})"


class GlobalRevocation(msgspec.Struct, frozen=True):
    """Whose grants and sessions are to end."""

    sub_id: SubjectIdentifier


@post(
    PATH,
    status_code=204,
    **needing(NEEDED, recent=True, example={"sub_id": {"format": "opaque", "id": "4PfM8yWs6GjD1uHe9KaV3x"}}),
    tags=["Leaks"],
    summary="End everything of a person",
)
async def revoke_globally(
    request: Request[Any, Any, Any], data: JSONBody[GlobalRevocation], who: Injected[Bearer]
) -> Response[None]:
    """All grants and browser sessions of the person, with every code and token, by one fact; the applications of the
    sessions are told. They may sign in again."""
    services = services_of(request)
    account_id = await _account_id(services, data.sub_id)
    command = end_account_tokens(account_id, Since).guarded(lambda view: lost(services, view, who, NEEDED))
    executed = await services.ledger.execute(command, origin=who.origin)
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return Response(None, status_code=204)


async def _account_id(services: Services, meant: SubjectIdentifier) -> str:
    """The person's account; raises 400 for what names nobody, 404 for nobody here, 422 where several are meant."""
    match meant.format:
        case "iss_sub":
            if meant.iss is None or meant.sub is None:
                raise InvalidRequest.field("sub_id", "needs iss and sub")
            return await _known(services, meant.sub if meant.iss == services.settings.issuer else "")
        case "opaque":
            if meant.id is None:
                raise InvalidRequest.field("sub_id", "needs id")
            return await _known(services, meant.id)
        case "email":
            if not meant.email:
                raise InvalidRequest.field("sub_id", "needs email")
            return await _by_email(services, meant.email)


async def _known(services: Services, account_id: str) -> str:
    if not account_id.isascii() or not account_id.isalnum():
        raise Missing(UNKNOWN)
    state: account.State = await services.ledger.state(account.stream(account_id))
    if not account.alive(state):
        raise Missing(UNKNOWN)
    return account_id


async def _by_email(services: Services, email: str) -> str:
    ledger = services.ledger
    realms = (await policies(ledger)).realms
    found = [await ledger.look(person_by_login, ledger.privacy, "email", realm, email) for realm in realms]
    named = [each.account_id for each in found if each is not None]
    if len(named) > 1:
        raise Unprocessable(SEVERAL)
    if not named:
        raise Missing(UNKNOWN)
    return named[0]
