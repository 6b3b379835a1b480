"""People: making them known, finding, changing, disabling and erasing them, and their passwords."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET
from sqlalchemy import Connection

from api import in_path
from api.access import caller, held, needing
from api.admin.members import listed
from api.admin.own_password import verify_own
from api.admin.people_bodies import (
    EXAMPLE,
    UNKNOWN,
    NewPassword,
    NewPerson,
    PersonBody,
    PersonChanges,
    decode_position,
    finding,
    gone,
    new_names,
    person_body,
    read,
    role_facts,
    taken,
)
from api.idempotency import Reply, carry_out, commanding, first_answer
from api.new_password import check_password, check_strength
from api.pagination import DEFAULT, After, Limit, Page
from api.places import away
from api.problems import Invalid, Missing
from api.services import services
from domain import account, account_sign_in
from domain.decision import Refusal
from domain.event import Recorded
from domain.rules import registration
from eventstore.commands import Command
from eventstore.present import people
from eventstore.present import roles as role_states
from eventstore.view import View
from projections import accounts
from security.ids import new_id

PATH = "/admin/people"
ONE = "/admin/people/{account_id:str}"
TAGS = ["People"]


@post(
    PATH,
    **commanding(
        "people:write",
        example={"realm": "platform", "username": "paul", "email": "paul@example.test", "password": "a long sentence"},
        answer=EXAMPLE,
    ),
    tags=TAGS,
    summary="Make a person known",
)
async def register_person(request: Request[Any, Any, Any], data: JSONBody[NewPerson]) -> Response[PersonBody]:
    """Without `roles` they get their realm's default ones. Nobody can give a role that allows an administrative scope
    which they lack.
    """
    here = services(request)
    encoded = None
    if data.password is not None:
        check_password(data.password, here.settings.password_minimum)
        with away(request.scope):
            await check_strength(here, data.password, (data.username, data.email, data.name))
            encoded = await here.hasher.hash(data.password)
    account_id = new_id()

    def under_lock(view: View) -> Mapping[str, Any]:
        given = tuple(data.roles) if data.roles is not None else view.look(role_states.defaults, data.realm)
        return (
            {"roles": given}
            | taken(here, view, data.realm, username=data.username, email=data.email)
            | role_facts(request, view, data.realm, given)
        )

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[PersonBody]:
        body = read(view.connection, here, account_id)
        return Reply(body, 201, f"{PATH}/{account_id}", subject=account.stream(account_id))

    facts = {
        "realm": data.realm,
        "username": data.username,
        "email": data.email,
        "name": data.name,
        "password_hash": encoded,
    }
    command = Command(account.stream(account_id), account.register, facts, under_lock)
    return await carry_out(request, command, reply=reply)


@get(
    PATH,
    **needing("people:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List or find people",
)
async def list_people(
    request: Request[Any, Any, Any],
    username: Annotated[str | None, QueryParameter(max_length=256, description="Exactly this username.")] = None,
    email: Annotated[str | None, QueryParameter(max_length=256, description="Exactly this e-mail address.")] = None,
    realm: Annotated[
        str | None,
        QueryParameter(
            max_length=32, description="Of this realm only.", schema_extra={"enum": list(registration.REALMS)}
        ),
    ] = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[PersonBody]:
    """In the order of their registration, without erased people. Names are compared as they are at sign-in."""
    here = services(request)
    position = decode_position(after)
    if realm is not None and realm not in registration.REALMS:
        raise Invalid.field("realm", "must be one of " + ", ".join(registration.REALMS))
    if username is None and email is None:

        def query(connection: Connection) -> Page[PersonBody]:
            found = accounts.page(connection, realm=realm, after=position, limit=limit)
            return listed("people", found, lambda row: person_body(here, connection, row))

        return await here.ledger.read(query)
    realms = registration.REALMS if realm is None else (realm,)
    return await here.ledger.look(finding, here, realms, username=username, email=email, after=position, limit=limit)


@get(ONE, **needing("people:read", answer=EXAMPLE), tags=TAGS, summary="Read a person")
async def read_person(request: Request[Any, Any, Any], account_id: in_path.AccountId) -> PersonBody:
    """An erased person is unknown here; the log keeps the facts."""
    here = services(request)
    return await here.ledger.read(read, here, account_id)


@patch(
    ONE,
    **commanding("people:write", example={"name": "Paul", "roles": ["member"]}, answer=EXAMPLE),
    tags=TAGS,
    summary="Change a person",
)
async def change_person(
    request: Request[Any, Any, Any], account_id: in_path.AccountId, data: JSONBody[PersonChanges]
) -> Response[PersonBody]:
    """A merge patch (RFC 7396), all of it or nothing. Nobody changes a person who may do more than they may give. The
    last enabled administrator stays one.
    """
    here = services(request)
    stream = account.stream(account_id)

    def profile(view: View) -> Mapping[str, Any] | Refusal:
        if refused := gone(view, account_id):
            return refused
        given = {"username": data.username, "email": data.email, "name": data.name}
        changed, removed = new_names(here, view, account_id, given)
        state: account.State = view.state(stream)
        realm = state.realm
        return (
            changed
            | {"removed": removed}
            | role_facts(request, view, realm, state.roles)
            | ({"caller_scope": None} if caller(request).account_id == account_id else {})
            | taken(
                here,
                view,
                realm,
                username=changed.get("username"),
                email=changed.get("email"),
                but=account_id,
            )
        )

    commands = [Command(stream, account.change_profile, under_lock=profile)]
    if data.roles is not UNSET:
        given = tuple(data.roles)

        def roles(view: View) -> Mapping[str, Any]:
            last = view.look(people.is_last_administrator, account_id)
            state: account.State = view.state(stream)
            concerned = tuple(dict.fromkeys((*state.roles, *given)))
            return {"leaves_no_administrator": last} | role_facts(request, view, state.realm, concerned)

        commands.append(Command(stream, account.change_roles, {"roles": given}, roles))
    return await carry_out(request, *commands, reply=lambda view, _: _now(request, view, account_id))


@delete(ONE, **commanding("people:write"), tags=TAGS, summary="Erase a person")
async def erase_person(request: Request[Any, Any, Any], account_id: in_path.AccountId) -> Response[None]:
    """Their names can never be read again, by anybody; what happened stays in the log. Every token of theirs ends."""
    command = Command(account.stream(account_id), account.erase, under_lock=_last(account_id))
    return await carry_out(request, command, reply=lambda view, _: Reply(None, 204))


@post(
    ONE + "/password",
    **commanding("people:write", example={"password": "another long sentence"}),
    tags=TAGS,
    status_code=204,
    summary="Set a person's password",
)
async def set_password(
    request: Request[Any, Any, Any], account_id: in_path.AccountId, data: JSONBody[NewPassword]
) -> Response[None]:
    """Ends every grant of theirs, save the one with which people change their own, for which `current_password` is
    asked: wrong ones count as failed sign-ins. Whoever sets another's password can act as them, and so needs the
    administrative scopes that they may have.
    """
    here, who = services(request), caller(request)
    check_password(data.password, here.settings.password_minimum)
    if (first := await first_answer(request)) is not None:
        return first
    # Asked before the costly hash, and again under the lock.
    person: account.State = await here.ledger.state(account.stream(account_id))
    if not account.alive(person):
        raise Missing(UNKNOWN)
    own = who.account_id == account_id
    names = [await here.ledger.unseal(sealed) for sealed in (person.username, person.email, person.name)]
    with away(request.scope):
        verified = await verify_own(here, person.realm, names, data.current_password, who.origin) if own else None
        await check_strength(here, data.password, names)
        facts = {
            "password_hash": await here.hasher.hash(data.password),
            "except_grant": who.grant_id if own else None,
            "verified": verified,
        }

    def under_lock(view: View) -> Mapping[str, Any] | Refusal:
        if refused := gone(view, account_id):
            return refused
        state: account.State = view.state(account.stream(account_id))
        known = view.look(role_states.role_scopes, state.realm, state.roles)
        return {
            "role_scopes": known,
            "caller_scope": None if own else held(here, view, who) or frozenset(),
        }

    command = Command(account.stream(account_id), account_sign_in.change_password, facts, under_lock)
    return await carry_out(request, command, reply=lambda view, _: Reply(None, 204))


@post(
    ONE + "/disable",
    **commanding("people:write", answer=EXAMPLE | {"state": "disabled"}),
    tags=TAGS,
    status_code=200,
    summary="Disable a person",
)
async def disable_person(request: Request[Any, Any, Any], account_id: in_path.AccountId) -> Response[PersonBody]:
    """Ends every token so far, for good, and lets them sign in no more. A repeat changes nothing."""
    command = Command(account.stream(account_id), account.disable, under_lock=_last(account_id))
    return await carry_out(request, command, reply=lambda view, _: _now(request, view, account_id))


@post(
    ONE + "/enable",
    **commanding("people:write", answer=EXAMPLE),
    tags=TAGS,
    status_code=200,
    summary="Enable a person",
)
async def enable_person(request: Request[Any, Any, Any], account_id: in_path.AccountId) -> Response[PersonBody]:
    """Lets them sign in again; what was ended stays so. A repeat changes nothing. Whoever could not give the
    administrative scopes that their roles allow cannot enable them.
    """

    def under_lock(view: View) -> Mapping[str, Any] | Refusal:
        if refused := gone(view, account_id):
            return refused
        state: account.State = view.state(account.stream(account_id))
        return role_facts(request, view, state.realm, state.roles)

    command = Command(account.stream(account_id), account.enable, under_lock=under_lock)
    return await carry_out(request, command, reply=lambda view, _: _now(request, view, account_id))


def _last(account_id: str) -> Any:
    def under_lock(view: View) -> Mapping[str, Any] | Refusal:
        last = view.look(people.is_last_administrator, account_id)
        return gone(view, account_id) or {"leaves_no_administrator": last}

    return under_lock


def _now(request: Request[Any, Any, Any], view: View, account_id: str) -> Reply[PersonBody]:
    body = read(view.connection, services(request), account_id)
    return Reply(body, subject=account.stream(account_id))


ROUTES: list[Any] = [
    register_person,
    list_people,
    read_person,
    change_person,
    erase_person,
    set_password,
    disable_person,
    enable_person,
]
