"""People: making them known, finding, changing, disabling and erasing them, and their passwords."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta
from msgspec.structs import replace

from api.admin import passwords
from api.admin.bodies import person_bodies, person_claims
from api.admin.bodies.members import listed
from api.admin.bodies.person_bodies import (
    PERSON_EXAMPLE,
    NewPassword,
    NewPerson,
    PersonBody,
    PersonChanges,
    decode_position,
    person_body,
    person_finding,
)
from api.admin.bodies.person_claims import ClaimsGiven
from api.admin.idempotency import Once, Reply, commanding
from api.audit.list_exports import WholeList, WithPersonal, whole_list
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.load_shedding import away
from api.http.parameters import DEFAULT, LARGEST, After, Limit, Page
from api.http.whole_lists import FILE, AsFormat, LongAnswer
from api.oauth.bearer import Bearer, needing, require_recent
from api.oauth.person_authentication import policies
from api.services import Injected, services_of
from commands import factors, upstreams
from commands import people as commands
from commands.permissions import CallerScope
from domain import account
from domain.event import Recorded
from domain.rules.administrative_scope import administrative
from eventstore import present
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import Folds, View
from projections import accounts
from security.tokens import new_id

PATH = "/admin/people"
ONE = "/admin/people/{account_id:str}"
TAGS = ["People"]

OfRealm = Annotated[str | None, QueryParameter(name="realm", max_length=32, description="Of this realm only.")]


@post(
    PATH,
    **commanding(
        "people:write",
        example={"realm": "platform", "username": "paul", "email": "paul@example.test", "password": "a long sentence"},
        answer=PERSON_EXAMPLE,
    ),
    tags=TAGS,
    summary="Make a person known",
)
async def register_person(
    request: Request[Any, Any, Any],
    data: JSONBody[NewPerson],
    ledger: Injected[Ledger],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[PersonBody]:
    """Without `roles` they get their realm's default ones. Nobody can give a role that allows an administrative scope
    which they lack; one that allows any is given after a recent sign-in."""
    if await ledger.look(_makes_administrator, data.realm, data.roles):
        await require_recent(services_of(request), who)
    encoded, claims = None, person_claims.made(data)
    if data.password is not None:
        services = services_of(request)
        passwords.check_length(services, data.password)
        names = (data.username, data.email, data.name, *passwords.called(claims))
        with away(request.scope):
            encoded = await passwords.hashed(services, data.password, names)
    account_id = new_id()
    person = commands.PersonRegistration(
        realm=data.realm,
        username=data.username,
        email=data.email,
        name=data.name,
        password_hash=encoded,
        roles=None if data.roles is None else tuple(data.roles),
        claims=claims,
    )

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[PersonBody]:
        body = person_bodies.read_person(view.connection, ledger.privacy, account_id)
        return Reply(body, 201, f"{PATH}/{account_id}", subject=account.stream(account_id))

    return await once.carry_out(commands.register(account_id, person, privacy=ledger.privacy, by=may), reply=reply)


@get(
    PATH,
    **needing("people:read", answer={"items": [PERSON_EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List or find people",
)
async def list_people(
    ledger: Injected[Ledger],
    username: Annotated[str | None, QueryParameter(max_length=256, description="Exactly this username.")] = None,
    email: Annotated[str | None, QueryParameter(max_length=256, description="Exactly this e-mail address.")] = None,
    realm: OfRealm = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[PersonBody]:
    """In the order of their registration, without erased people. Names are compared as they are at sign-in."""
    position = decode_position(after)
    known = await _known_realms(ledger, realm)
    if username is None and email is None:
        return await _portion(ledger, realm, limit, position)
    names = {"username": username, "email": email}
    realms = known if realm is None else (realm,)
    return await ledger.look(person_finding, ledger.privacy, realms, **names, after=position, limit=limit)


async def _known_realms(ledger: Ledger, realm: str | None) -> Sequence[str]:
    """Every realm that there is. Raises Invalid where the one that is asked for is none."""
    known = (await policies(ledger)).realms
    if realm is not None and realm not in known:
        raise InvalidRequest.field("realm", "must be one of " + ", ".join(known))
    return known


async def _portion(ledger: Ledger, realm: str | None, limit: int, position: int | None) -> Page[PersonBody]:
    def query(connection: Connection) -> Page[PersonBody]:
        found = accounts.page(connection, realm=realm, after=position, limit=limit)
        return listed("people", found, lambda row: person_body(ledger.privacy, connection, row))

    return await ledger.read(query)


_NAMES = ("username", "email", "name", *ClaimsGiven.__struct_fields__)
_PERSONAL: dict[str, Any] = dict.fromkeys(each for each in _NAMES if not each.endswith("_verified"))
"""What is told of somebody, as null."""


@get(PATH + "/export", **needing("people:read", **FILE), tags=TAGS, summary="Export the list of people")
async def export_people(
    request: Request[Any, Any, Any],
    ledger: Injected[Ledger],
    realm: OfRealm = None,
    form: AsFormat = "jsonl",
    personal: WithPersonal = "1",
) -> LongAnswer:
    """All of the list, of any length; one person a line."""
    await _known_realms(ledger, realm)

    async def portion(after: str | None) -> Page[PersonBody]:
        found = await _portion(ledger, realm, LARGEST, decode_position(after))
        return found if personal == "1" else Page([replace(each, **_PERSONAL) for each in found.items], found.next)

    wanted = WholeList("people", form, {"realm": realm}, unsealed=personal == "1")
    return await whole_list(request, wanted, PersonBody, portion)


@get(ONE, **needing("people:read", answer=PERSON_EXAMPLE), tags=TAGS, summary="Read a person")
async def read_person(account_id: parameters.AccountId, ledger: Injected[Ledger]) -> PersonBody:
    """An erased person is unknown here; the log keeps the facts."""
    return await ledger.read(person_bodies.read_person, ledger.privacy, account_id)


@patch(
    ONE,
    **commanding(
        "people:write", example={"name": "Paul", "locale": "en-GB", "roles": ["member"]}, answer=PERSON_EXAMPLE
    ),
    tags=TAGS,
    summary="Change a person",
)
async def change_person(
    request: Request[Any, Any, Any],
    account_id: parameters.AccountId,
    data: JSONBody[PersonChanges],
    ledger: Injected[Ledger],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[PersonBody]:
    """A merge patch (RFC 7396), all of it or nothing. Nobody changes a person who may do more than they may give. The
    last enabled administrator stays one. A role with administrative scopes is given, and the address of who has one is
    changed, to which new passwords are mailed, after a recent sign-in."""
    gives = data.roles is not UNSET and await _gives_administration(ledger, account_id, data.roles)
    if gives or (data.email is not UNSET and await is_administrator(ledger, account_id)):
        await require_recent(services_of(request), who)
    own = who.account_id == account_id
    names = commands.PersonNames(
        username=data.username, email=data.email, name=data.name, claims=person_claims.given(data)
    )
    changing = commands.change_names(account_id, names, privacy=ledger.privacy, by=None if own else may)
    roles = () if data.roles is UNSET else (commands.change_roles(account_id, tuple(data.roles), by=may),)
    return await once.carry_out(changing, *roles, reply=_now(ledger, account_id))


async def _gives_administration(ledger: Ledger, account_id: str, roles: Sequence[str]) -> bool:
    person: account.State = await ledger.state(account.stream(account_id))
    return await ledger.look(_makes_administrator, person.realm, [each for each in roles if each not in person.roles])


async def is_administrator(ledger: Ledger, account_id: str) -> bool:
    """Whether a person's roles allow an administrative scope."""
    person: account.State = await ledger.state(account.stream(account_id))
    return await ledger.look(_makes_administrator, person.realm, person.roles)


def _makes_administrator(folds: Folds, realm: str, roles: Sequence[str] | None) -> bool:
    """Whether these roles, or the realm's default ones, allow an administrative scope."""
    names = present.default_roles(folds, realm) if roles is None else roles
    return any(administrative(each) for each in present.role_scopes(folds, realm, names).values())


@delete(ONE, **commanding("people:write", recent=True), tags=TAGS, summary="Erase a person")
async def erase_person(
    account_id: parameters.AccountId, ledger: Injected[Ledger], once: Injected[Once]
) -> Response[None]:
    """Their names can never be read again, by anybody; what happened stays in the log. Every token of theirs ends."""
    return await once.carry_out(commands.erase(account_id, vault=ledger.vault), reply=lambda view, _: Reply(None, 204))


@post(
    ONE + "/password",
    **commanding("people:write", example={"password": "another long sentence"}),
    tags=TAGS,
    status_code=204,
    summary="Set a person's password",
)
async def set_password(
    request: Request[Any, Any, Any],
    account_id: parameters.AccountId,
    data: JSONBody[NewPassword],
    ledger: Injected[Ledger],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[None]:
    """Ends every grant of theirs, save the one with which people change their own, for which `current_password` is
    asked: wrong ones count as failed sign-ins. Anyone who sets another's password can act as them, and so needs the
    administrative scopes that they may have, and a recent sign-in."""
    services = services_of(request)
    if who.account_id != account_id:
        await require_recent(services, who)
    passwords.check_length(services, data.password)
    if (first := await once.first_answer()) is not None:
        return first
    # Asked before the costly hash, and again under the lock.
    person: account.State = await ledger.state(account.stream(account_id))
    if not account.alive(person):
        raise Missing(commands.UNKNOWN)
    own = who.account_id == account_id
    with away(request.scope):
        verified = None
        if own:
            verified = await passwords.verify_own(services, person, data.current_password, who.origin)
        encoded = await passwords.hashed_for(services, person, data.password)
    command = commands.set_password(
        account_id, encoded, by=None if own else may, verified=verified, except_grant=who.grant_id if own else None
    )
    return await once.carry_out(command, reply=lambda view, _: Reply(None, 204))


class ResetRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What else is taken away."""

    unlink: Annotated[bool, Meta(description="Every link to another provider too: they sign in there no more.")] = False


@post(
    ONE + "/factors/reset",
    **commanding("people:write", recent=True, example={"unlink": False}, answer=PERSON_EXAMPLE),
    tags=TAGS,
    status_code=200,
    summary="Reset a person's second factor",
)
async def reset_factors(
    account_id: parameters.AccountId,
    ledger: Injected[Ledger],
    may: Injected[CallerScope],
    once: Injected[Once],
    data: JSONBody[ResetRequest] = ResetRequest(),  # noqa: B008 - frozen.
) -> Response[PersonBody]:
    """Takes their second factor and recovery codes away: they sign in with the password alone until they enrol anew.
    Anyone who could not give the administrative scopes that their roles allow cannot do that. A repeat changes
    nothing."""
    reset = factors.reset(account_id, privacy=ledger.privacy, by=may)
    more = (upstreams.unlink_all(account_id),) if data.unlink else ()
    return await once.carry_out(reset, *more, reply=_now(ledger, account_id))


@post(
    ONE + "/disable",
    **commanding("people:write", recent=True, answer=PERSON_EXAMPLE | {"state": "disabled"}),
    tags=TAGS,
    status_code=200,
    summary="Disable a person",
)
async def disable_person(
    account_id: parameters.AccountId, ledger: Injected[Ledger], once: Injected[Once]
) -> Response[PersonBody]:
    """Ends every token so far, for good, and lets them sign in no more. A repeat changes nothing."""
    return await once.carry_out(commands.disable(account_id), reply=_now(ledger, account_id))


@post(
    ONE + "/enable",
    **commanding("people:write", answer=PERSON_EXAMPLE),
    tags=TAGS,
    status_code=200,
    summary="Enable a person",
)
async def enable_person(
    account_id: parameters.AccountId, ledger: Injected[Ledger], may: Injected[CallerScope], once: Injected[Once]
) -> Response[PersonBody]:
    """Lets them sign in again; what was ended stays so. A repeat changes nothing. Anyone who could not give the
    administrative scopes that their roles allow cannot enable them."""
    return await once.carry_out(commands.enable(account_id, by=may), reply=_now(ledger, account_id))


def _now(ledger: Ledger, account_id: str) -> Callable[[View, object], Reply[PersonBody]]:
    def reply(view: View, _: object) -> Reply[PersonBody]:
        body = person_bodies.read_person(view.connection, ledger.privacy, account_id)
        return Reply(body, subject=account.stream(account_id))

    return reply


ROUTES: list[Any] = [
    register_person,
    list_people,
    export_people,
    read_person,
    change_person,
    erase_person,
    set_password,
    reset_factors,
    disable_person,
    enable_person,
]
