"""Invitations: a person who was made known is mailed a link by which they choose a password."""

from typing import Any

from litestar import Request, Response, post

from api.admin.bodies import person_bodies
from api.admin.bodies.person_bodies import PERSON_EXAMPLE, PersonBody
from api.admin.idempotency import Once, Reply, commanding
from api.admin.people import is_administrator
from api.config.settings import Settings
from api.http import parameters
from api.http.errors import Missing
from api.oauth.bearer import Bearer, require_recent
from api.services import Injected, services_of
from commands.mailing import recovery
from commands.people import UNKNOWN
from commands.permissions import CallerScope
from domain import account
from eventstore.ledger import Ledger
from security.keyring import Keyring
from security.tokens import Format, Kind

NO_MAIL = "This server sends no mail, so nobody can be invited."


@post(
    "/admin/people/{account_id:str}/invite",
    **commanding("people:write", answer=PERSON_EXAMPLE),
    tags=["People"],
    status_code=200,
    summary="Invite a person",
)
async def invite_person(
    request: Request[Any, Any, Any],
    account_id: parameters.AccountId,
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    keyring: Injected[Keyring],
    token_format: Injected[Format],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[PersonBody]:
    """Mails them a link that is good for seven days, by which they choose a password; a newer one ends it. 409 without
    an e-mail address, and after three within an hour; 404 too while the server sends no mail. Anyone who could not give
    the administrative scopes that their roles allow cannot invite them; an administrator is invited after a recent
    sign-in."""
    if settings.mail == "off":
        raise Missing(NO_MAIL)
    person: account.State = await ledger.state(account.stream(account_id))
    if not account.alive(person):
        raise Missing(UNKNOWN)
    if await is_administrator(ledger, account_id):
        await require_recent(services_of(request), who)
    subject = recovery.subject_digest(keyring, person.realm, account_id)
    secret = token_format.mint(Kind.PASSWORD_RESET)
    command = recovery.invite(account_id, subject, secret, vault=ledger.vault, by=may)

    def reply(view: Any, _: object) -> Reply[PersonBody]:
        body = person_bodies.read_person(view.connection, ledger.privacy, account_id)
        return Reply(body, subject=account.stream(account_id))

    return await once.carry_out(command, reply=reply)


ROUTES: list[Any] = [invite_person]
