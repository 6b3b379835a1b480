"""A person's own password, changed by them."""

from typing import Any

from litestar import Request, Response, post
from litestar.params import JSONBody

from api.account.own import commanding_own, myself
from api.admin import passwords
from api.admin.bodies.person_bodies import NewPassword
from api.admin.idempotency import Once, Reply
from api.http.load_shedding import away
from api.oauth.bearer import caller
from api.services import Injected, services_of
from commands.people import set_password
from domain import account


@post(
    "/account/password",
    **commanding_own(example={"current_password": "a long sentence", "password": "another long sentence"}),
    status_code=204,
    summary="Change my password",
)
async def change_own_password(
    request: Request[Any, Any, Any], data: JSONBody[NewPassword], once: Injected[Once]
) -> Response[None]:
    """Ends every sign-in and grant of mine but the one that asks. A wrong `current_password` counts as a failed
    sign-in."""
    services, who, account_id = services_of(request), caller(request), myself(request)
    passwords.check_length(services, data.password)
    if (first := await once.first_answer()) is not None:
        return first
    person: account.State = await services.ledger.state(account.stream(account_id))
    # Asked before the costly hash, and again under the lock.
    with away(request.scope):
        verified = await passwords.verify_own(services, person, data.current_password, who.origin)
        encoded = await passwords.hashed_for(services, person, data.password)
    command = set_password(account_id, encoded, by=None, verified=verified, except_grant=who.grant_id)
    return await once.carry_out(command, reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [change_own_password]
