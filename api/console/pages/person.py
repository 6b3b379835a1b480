"""A person: what they did beside what was done to them, where they are signed in, what they allowed and may do."""

import hmac
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.masking import pseudonym
from api.console.own_api import Refused, together
from api.console.pages.client import From, Moment, To
from api.console.pages.grants import AT_MOST, GrantList, GrantRow
from api.console.pages.people import PersonSummary
from api.console.pages.roles import Role, ScopeChange, all_roles, all_scopes, change_of
from api.console.story import LookedAt, StoryDay, looked_at, story
from api.http.parameters import AccountId
from api.http.templates import see_other

Shown = Annotated[
    Literal["0", "1"], QueryParameter(name="show", description="`1`: personal values in clear, which is an event.")
]
Id = Annotated[str, Meta(description="The person's id.", extra_json_schema={"maxLength": 128})]
RoleName = Annotated[str, Meta(description="A role of their realm.", extra_json_schema={"maxLength": 64})]

END_SESSION = "/console/people/end-session"
SWITCH = "/console/people/switch"
ROLES = "/console/people/roles"
PASSWORD = "/console/people/password"  # noqa: S105 - an address
ERASE = "/console/people/erase"
FORMS = (END_SESSION, SWITCH, ROLES, PASSWORD, ERASE)


class PersonFacts(PersonSummary, frozen=True):
    """What `GET /admin/people/{id}` answers, as far as the page shows it."""

    email_verified: bool = False
    phone_number: str | None = None
    birthdate: str | None = None
    locale: str | None = None
    zoneinfo: str | None = None

    @property
    def personal(self) -> tuple[tuple[str, str], ...]:
        """What is masked until somebody asks to see it, by what it is called."""
        told = {"E-mail": self.email, "Telephone": self.phone_number, "Birthdate": self.birthdate}
        return tuple((name, value) for name, value in told.items() if value is not None)


class SignIn(msgspec.Struct, frozen=True):
    """Where they are signed in."""

    id: str
    kind: str
    started_at: str
    last_used_at: str
    client_name: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class SignInList(msgspec.Struct, frozen=True):
    """The last used first."""

    items: tuple[SignIn, ...]


class Consent(NamedTuple):
    """What a client may have of them: the scope of its live grants."""

    client_id: str
    client_name: str | None
    scopes: tuple[str, ...]
    grants: int


class Asked(NamedTuple):
    """Which moments of the person somebody wants to see."""

    at: str | None = None
    since: str | None = None
    until: str | None = None


class PersonPage(ConsolePage, frozen=True, kw_only=True):
    """The page. `person` is None for one who was erased; what may not be seen is None. `show` says that personal values
    are shown."""

    template: ClassVar[str] = "console/people/person.html"
    account_id: str
    unnamed: str
    person: PersonFacts | None
    show: bool
    did: tuple[StoryDay, ...] | None
    done_to: tuple[StoryDay, ...] | None
    sign_ins: tuple[SignIn, ...] | None
    grants: tuple[GrantRow, ...] | None
    more_grants: bool
    consents: tuple[Consent, ...]
    roles: tuple[Role, ...]
    looked_at: LookedAt
    asked: Asked
    tokens: dict[str, str]


def page_of(account_id: str) -> str:
    """The address of a person's page."""
    return f"/console/people/{account_id}"


@get("/console/people/{account_id:str}", **PAGE, summary="A person")
async def console_person(
    request: Request[Any, Any, Any],
    account_id: AccountId,
    show: Shown = "0",
    at: Moment = None,
    since: From = None,
    until: To = None,
) -> Response[bytes]:
    """With personal values where those are asked for; of who was erased what happened, without names. What they were at
    a moment, and what changed from one to another, are told without names in any case."""

    async def make(visit: Visit) -> ConsolePage:
        return await _person(visit, account_id, show=show == "1", asked=Asked(at, since, until))

    return await shown(request, make)


async def _person(visit: Visit, account_id: str, *, show: bool, asked: Asked) -> PersonPage:
    may, person = visit.may, await _known(visit, account_id)
    did = done_to = None
    if "audit:read" in may:
        did, done_to = await together(
            story(visit, {"by_account_id": account_id}),
            # One reading in clear is enough, and it is told as such.
            story(visit, {"about_account_id": account_id}, unsealed=show, not_by=account_id),
        )
    if person is None and not done_to and not did:
        # Nobody of this id was ever here.
        await visit.api.get(f"/admin/people/{account_id}", PersonFacts)
    alive = person is not None and "grants:read" in may
    path = f"/admin/people/{account_id}/grants"
    grants = await visit.api.get(path, GrantList, {"limit": AT_MOST}) if alive else GrantList(())
    sessions = (await visit.api.get(f"/admin/people/{account_id}/sessions", SignInList)).items if alive else None
    return PersonPage(
        title="Somebody who was erased" if person is None else person.called,
        account_id=account_id,
        unnamed=pseudonym(account_id),
        person=person,
        show=show,
        did=did,
        done_to=done_to,
        sign_ins=sessions,
        grants=grants.items if alive else None,
        more_grants=grants.next is not None,
        consents=consents(grants.items),
        roles=await all_roles(visit, person.realm) if person is not None else (),
        looked_at=LookedAt(None, None) if did is None else await looked_at(visit, f"account:{account_id}", *asked),
        asked=asked,
        tokens={each: visit.token(each) for each in FORMS},
    )


async def _known(visit: Visit, account_id: str) -> PersonFacts | None:
    """The person as they are now; None for one who was erased, or whom there never was."""
    try:
        return await visit.api.get(f"/admin/people/{account_id}", PersonFacts)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


def consents(grants: tuple[GrantRow, ...]) -> tuple[Consent, ...]:
    """What each client has by what still lives."""
    by_client: dict[str, list[GrantRow]] = {}
    for each in grants:
        if each.state == "active":
            by_client.setdefault(each.client_id, []).append(each)
    return tuple(
        Consent(
            client_id,
            found[0].client_name,
            tuple(sorted({name for each in found for name in each.scope.split()})),
            len(found),
        )
        for client_id, found in by_client.items()
    )


# What is done to them.


class EndSessionForm(ConsoleForm, frozen=True):
    """Which sign-in of whom ends; all of them without one."""

    account_id: Id = ""
    session_id: Annotated[str, Meta(description="The sign-in.", extra_json_schema={"maxLength": 128})] = ""


@post(END_SESSION, **FORM, summary="Ends sign-ins of a person")
async def console_session_ended(request: Request[Any, Any, Any], data: JSONBody[EndSessionForm]) -> Response[bytes]:
    """One, or all, with what they were given."""

    async def make(visit: Visit) -> Response[bytes]:
        path = f"/admin/people/{data.account_id}/sessions"
        if data.session_id:
            await visit.api.call("DELETE", f"{path}/{data.session_id}")
            return see_other(page_of(data.account_id))
        ended: set[str] = set()
        # A list has so many at most, and those that come after them are theirs too.
        while left := [each.id for each in (await visit.api.get(path, SignInList)).items if each.id not in ended]:
            for each in left:
                await visit.api.call("DELETE", f"{path}/{each}")
            ended.update(left)
        return see_other(page_of(data.account_id))

    return await posted(request, data, make, back=page_of(data.account_id))


class PersonSwitchForm(ConsoleForm, frozen=True):
    """What becomes of whom."""

    account_id: Id = ""
    to: Annotated[Literal["disable", "enable", "factors/reset"], Meta(description="What is done.")] = "enable"


@post(SWITCH, **FORM, summary="Disables, enables, or resets the second factor of a person")
async def console_person_switched(request: Request[Any, Any, Any], data: JSONBody[PersonSwitchForm]) -> Response[bytes]:
    """Disabling ends every token and sign-in so far."""

    async def make(visit: Visit) -> Response[bytes]:
        await visit.api.call("POST", f"/admin/people/{data.account_id}/{data.to}")
        return see_other(page_of(data.account_id))

    return await posted(request, data, make, back=page_of(data.account_id))


class PersonRolesForm(ConsoleForm, frozen=True):
    """Which role somebody is given, or loses. Without `confirmed` it is only said what that changes."""

    account_id: Id = ""
    role: RoleName = ""
    to: Annotated[Literal["give", "take"], Meta(description="Whether it is given or taken away.")] = "give"
    confirmed: Annotated[str, Meta(description="`yes` does it.", extra_json_schema={"maxLength": 3})] = ""


class RolesPreviewPage(ConsolePage, frozen=True, kw_only=True):
    """What a change of roles gives and takes, before it is done."""

    template: ClassVar[str] = "console/people/person_roles.html"
    account_id: str
    called: str
    role: str
    to: str
    change: ScopeChange
    token: str


@post(ROLES, **FORM, summary="Gives a person a role or takes one away, after saying what that changes")
async def console_person_roles(request: Request[Any, Any, Any], data: JSONBody[PersonRolesForm]) -> Response[bytes]:
    """What they may before and after, and then the change."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        path = f"/admin/people/{data.account_id}"
        person = await visit.api.get(path, PersonFacts)
        others = [each for each in person.roles if each != data.role]
        after = [*others, data.role] if data.to == "give" else others
        if data.confirmed == "yes":
            await visit.api.call("PATCH", path, body={"roles": after}, tell=True)
            return see_other(page_of(data.account_id))
        roles = {each.name: each for each in await all_roles(visit, person.realm)}
        scopes = await all_scopes(visit)
        return RolesPreviewPage(
            title=f"The role {data.role}",
            account_id=data.account_id,
            called=person.called,
            role=data.role,
            to=data.to,
            change=change_of(_scopes(roles, person.roles), _scopes(roles, after), scopes),
            token=visit.token(ROLES),
        )

    return await posted(request, data, make, back=page_of(data.account_id))


def _scopes(roles: dict[str, Role], names: list[str] | tuple[str, ...]) -> set[str]:
    return {scope for name in names if name in roles for scope in roles[name].scopes}


class SetPasswordForm(ConsoleForm, frozen=True):
    """A password for somebody else."""

    account_id: Id = ""
    password: Annotated[str, Meta(description="Not kept in clear.", extra_json_schema={"maxLength": 1024})] = ""

    def __repr__(self) -> str:
        return "SetPasswordForm"


@post(PASSWORD, **FORM, summary="Sets a person's password")
async def console_password_set(request: Request[Any, Any, Any], data: JSONBody[SetPasswordForm]) -> Response[bytes]:
    """Ends their sign-ins and grants."""

    async def make(visit: Visit) -> Response[bytes]:
        await visit.api.call("POST", f"/admin/people/{data.account_id}/password", body={"password": data.password})
        return see_other(page_of(data.account_id))

    return await posted(request, data, make, back=page_of(data.account_id))


class EraseForm(ConsoleForm, frozen=True):
    """Who is erased. Nobody is before their name was `typed`."""

    account_id: Id = ""
    typed: Annotated[str, Meta(description="Their name, as it is shown.", extra_json_schema={"maxLength": 320})] = ""


class ErasePage(ConsolePage, frozen=True, kw_only=True):
    """What erasing takes and what stays; `wrong` says that another name was typed."""

    template: ClassVar[str] = "console/people/person_erase.html"
    account_id: str
    called: str
    wrong: bool
    token: str


@post(ERASE, **FORM, summary="Erases a person, once their name was typed")
async def console_person_erased(request: Request[Any, Any, Any], data: JSONBody[EraseForm]) -> Response[bytes]:
    """Their names can never be read again; what happened stays in the log."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        path = f"/admin/people/{data.account_id}"
        person = await visit.api.get(path, PersonFacts)
        if hmac.compare_digest(data.typed.strip().encode(), person.called.encode()):
            await visit.api.call("DELETE", path)
            return see_other(page_of(data.account_id) if "audit:read" in visit.may else "/console/people")
        return ErasePage(
            title="Erase a person",
            account_id=data.account_id,
            called=person.called,
            wrong=bool(data.typed),
            token=visit.token(ERASE),
        )

    return await posted(request, data, make, back=page_of(data.account_id))


ROUTES: list[Any] = [
    console_person,
    console_session_ended,
    console_person_switched,
    console_person_roles,
    console_password_set,
    console_person_erased,
]
THINGS = {"person": "/console/people/{}"}
