"""The people: in the order of their registration, and found by their exact names, which stand in no address."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.masking import pseudonym
from api.console.navigation import NavigationEntry
from api.http.templates import see_other

ON_A_PAGE = 50
FIND = "/console/people/find"

OfRealm = Annotated[str | None, QueryParameter(name="realm", max_length=32, description="Of this realm only.")]
Cursor = Annotated[str | None, QueryParameter(name="after", max_length=512, description="Where the page begins.")]


class PersonSummary(msgspec.Struct, frozen=True):
    """A person as the list tells of them."""

    id: str
    realm: str
    state: str
    roles: tuple[str, ...]
    created_at: str
    username: str | None = None
    email: str | None = None
    name: str | None = None
    unreadable: bool = False

    @property
    def called(self) -> str:
        """By which of their names they are shown: never the address, which is masked."""
        return self.name or self.username or pseudonym(self.id)


class PersonList(msgspec.Struct, frozen=True):
    """A page of them."""

    items: tuple[PersonSummary, ...]
    next: str | None = None


class PeoplePage(ConsolePage, frozen=True, kw_only=True):
    """People, and where the list goes on. `searched` says that they were looked for by name."""

    template: ClassVar[str] = "console/people/people.html"
    realm: str | None
    people: tuple[PersonSummary, ...]
    next: str | None
    searched: bool
    find_token: str


@get("/console/people", **PAGE, summary="The people")
async def console_people(
    request: Request[Any, Any, Any], realm: OfRealm = None, after: Cursor = None
) -> Response[bytes]:
    """In the order of their registration."""

    async def make(visit: Visit) -> ConsolePage:
        query = {"realm": realm or None, "limit": ON_A_PAGE, "after": after}
        found = await visit.api.get("/admin/people", PersonList, query)
        return _page(visit, found, realm, searched=False)

    return await shown(request, make)


class FindPersonForm(ConsoleForm, frozen=True):
    """A username or an e-mail address, exactly."""

    text: Annotated[str, Meta(description="Exactly.", extra_json_schema={"maxLength": 256})] = ""


@post(FIND, **FORM, summary="Finds a person by their exact name")
async def console_person_found(request: Request[Any, Any, Any], data: JSONBody[FindPersonForm]) -> Response[bytes]:
    """To the page of the one who has it; several realms may have one each."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        text = data.text.strip()[:256]
        found = PersonList(())
        if text:
            named = {"email" if "@" in text else "username": text}
            # The foot of a page shows what was asked, and what was typed is to stand nowhere.
            found = await visit.api.untold().get("/admin/people", PersonList, named)
        if len(found.items) == 1:
            return see_other(f"/console/people/{found.items[0].id}")
        return _page(visit, found, None, searched=True)

    return await posted(request, data, make, back="/console/people")


def _page(visit: Visit, found: PersonList, realm: str | None, *, searched: bool) -> PeoplePage:
    return PeoplePage(
        title="People",
        filters=(("Realm", realm or "any"),) if not searched else (("Name", "one that was typed, exactly"),),
        realm=realm,
        people=found.items,
        next=found.next,
        searched=searched,
        find_token=visit.token(FIND),
    )


ROUTES: list[Any] = [console_people, console_person_found]
NAVIGATION = (NavigationEntry(70, "People", "/console/people", ("people:read",)),)
