"""The roles: what each may, in words, who has them, and what a change would give to whom."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.navigation import NavigationEntry
from api.console.own_api import together
from api.console.pages.people import PersonList
from api.http.templates import see_other

AT_MOST = 200
CHANGE = "/console/roles/change"


class Role(msgspec.Struct, frozen=True):
    """A role of a realm."""

    realm: str
    name: str
    scopes: tuple[str, ...]
    default: bool = False


class RoleList(msgspec.Struct, frozen=True):
    """By realm and name."""

    items: tuple[Role, ...]


class ScopeWords(msgspec.Struct, frozen=True):
    """A scope, and what it lets somebody do."""

    name: str
    description: str


class ScopeList(msgspec.Struct, frozen=True):
    """By name."""

    items: tuple[ScopeWords, ...]


class ScopeChange(NamedTuple):
    """What a change gives, takes and leaves, in words."""

    gained: tuple[ScopeWords, ...]
    lost: tuple[ScopeWords, ...]
    kept: tuple[ScopeWords, ...]


class RealmMatrix(NamedTuple):
    """The roles of a realm, and each scope that one of them has. `holders` are people by role, and `counted` how many
    people were looked at."""

    realm: str
    roles: tuple[Role, ...]
    scopes: tuple[ScopeWords, ...]
    holders: Mapping[str, int]
    counted: int
    more: bool


class RolesPage(ConsolePage, frozen=True, kw_only=True):
    """The matrix of each realm."""

    template: ClassVar[str] = "console/people/roles.html"
    realms: tuple[RealmMatrix, ...]
    scopes: tuple[ScopeWords, ...]
    token: str


async def all_roles(visit: Visit, realm: str | None = None) -> tuple[Role, ...]:
    """The roles, of one realm or all."""
    found = await visit.api.get("/admin/roles", RoleList, {"limit": AT_MOST})
    return tuple(each for each in found.items if realm in (None, each.realm))


async def all_scopes(visit: Visit) -> dict[str, ScopeWords]:
    """What scopes mean, by their names; nothing for who may not see them."""
    if "clients:read" not in visit.may:
        return {}
    found = await visit.api.get("/admin/scopes", ScopeList, {"limit": AT_MOST})
    return {each.name: each for each in found.items}


def in_words(names: Collection[str], scopes: Mapping[str, ScopeWords]) -> tuple[ScopeWords, ...]:
    """Scopes with their words, where those are known."""
    return tuple(scopes.get(each, ScopeWords(each, each)) for each in sorted(names))


def change_of(before: set[str], after: set[str], scopes: Mapping[str, ScopeWords]) -> ScopeChange:
    """What becomes of what somebody may."""
    return ScopeChange(
        in_words(after - before, scopes), in_words(before - after, scopes), in_words(before & after, scopes)
    )


@get("/console/roles", **PAGE, summary="The roles")
async def console_roles(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Which role may what, and how many have it."""

    async def make(visit: Visit) -> ConsolePage:
        roles, scopes = await together(all_roles(visit), all_scopes(visit))
        realms = [await _matrix(visit, realm, roles, scopes) for realm in dict.fromkeys(each.realm for each in roles)]
        known = tuple(scopes.values())
        return RolesPage(title="Roles", realms=tuple(realms), scopes=known, token=visit.token(CHANGE))

    return await shown(request, make)


async def _matrix(visit: Visit, realm: str, roles: tuple[Role, ...], scopes: Mapping[str, ScopeWords]) -> RealmMatrix:
    own = tuple(each for each in roles if each.realm == realm)
    people = await visit.api.get("/admin/people", PersonList, {"realm": realm, "limit": AT_MOST})
    holders = Counter(role for each in people.items for role in each.roles)
    names = {scope for each in own for scope in each.scopes}
    return RealmMatrix(realm, own, in_words(names, scopes), holders, len(people.items), people.next is not None)


class RoleChangeForm(ConsoleForm, frozen=True):
    """Which scope a role gets or loses. Without `confirmed` it is only said what that changes, and for whom."""

    realm: Annotated[str, Meta(description="The realm.", extra_json_schema={"maxLength": 32})] = ""
    name: Annotated[str, Meta(description="The role.", extra_json_schema={"maxLength": 64})] = ""
    scope: Annotated[str, Meta(description="The scope.", extra_json_schema={"maxLength": 128})] = ""
    to: Annotated[Literal["give", "take"], Meta(description="Whether it is given or taken away.")] = "give"
    confirmed: Annotated[str, Meta(description="`yes` does it.", extra_json_schema={"maxLength": 3})] = ""


class RolePreviewPage(ConsolePage, frozen=True, kw_only=True):
    """What the change gives and takes, and who has the role."""

    template: ClassVar[str] = "console/people/role_change.html"
    role: Role
    scope: str
    to: str
    change: ScopeChange
    holders: PersonList
    token: str


@post(CHANGE, **FORM, summary="Changes what a role may, after saying for whom")
async def console_role_changed(request: Request[Any, Any, Any], data: JSONBody[RoleChangeForm]) -> Response[bytes]:
    """A preview first; then the change."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        path = f"/admin/roles/{data.realm}/{data.name}"
        role = await visit.api.get(path, Role)
        others = [each for each in role.scopes if each != data.scope]
        after = [*others, data.scope] if data.to == "give" else others
        if data.confirmed == "yes":
            await visit.api.call("PUT", path, body={"scopes": after, "default": role.default}, tell=True)
            return see_other("/console/roles")
        people = await visit.api.get("/admin/people", PersonList, {"realm": role.realm, "limit": AT_MOST})
        holders = tuple(each for each in people.items if role.name in each.roles)
        return RolePreviewPage(
            title=f"The role {role.name}",
            role=role,
            scope=data.scope,
            to=data.to,
            change=change_of(set(role.scopes), set(after), await all_scopes(visit)),
            holders=PersonList(holders, people.next),
            token=visit.token(CHANGE),
        )

    return await posted(request, data, make, back="/console/roles")


ROUTES: list[Any] = [console_roles, console_role_changed]
NAVIGATION = (NavigationEntry(80, "Roles", "/console/roles", ("people:read",)),)
