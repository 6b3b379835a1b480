"""What came of a leaked secret, as lists: codes and tokens, people concerned, from where it was used, what it did."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from litestar import Request, Response, get
from litestar.params import PathParameter, QueryParameter

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, shown
from api.console.leak_reports import LeakAddress, called
from api.console.masking import Show, pseudonym, sealed
from api.console.shown_events import Event

LISTS = {"tokens": "Codes and tokens", "people": "People", "addresses": "Addresses", "events": "What it did"}


class LeakToken(msgspec.Struct, frozen=True):
    """A code or token that came of it."""

    kind: str
    sha256: str
    issued_at: str
    grant_id: str | None = None
    account_id: str | None = None
    expires_at: str | None = None

    @property
    def words(self) -> str:
        """What it is called."""
        return called(self.kind)

    @property
    def person(self) -> str:
        """On whose behalf."""
        return "" if self.account_id is None else pseudonym(self.account_id)


class LeakPerson(msgspec.Struct, frozen=True):
    """Somebody on whose behalf it was used."""

    account_id: str

    @property
    def person(self) -> str:
        """What they are called here."""
        return pseudonym(self.account_id)


class TokenList(msgspec.Struct, frozen=True):
    """A page of codes and tokens."""

    items: tuple[LeakToken, ...]
    next: str | None = None


class LeakPersonList(msgspec.Struct, frozen=True):
    """A page of people."""

    items: tuple[LeakPerson, ...]
    next: str | None = None


class AddressList(msgspec.Struct, frozen=True):
    """A page of addresses."""

    items: tuple[LeakAddress, ...]
    next: str | None = None


class LeakEventList(msgspec.Struct, frozen=True):
    """A page of events."""

    items: tuple[Event, ...]
    next: str | None = None


LeakList = TokenList | LeakPersonList | AddressList | LeakEventList
KINDS: dict[str, type[LeakList]] = {
    "tokens": TokenList,
    "people": LeakPersonList,
    "addresses": AddressList,
    "events": LeakEventList,
}


class LeakListPage(ConsolePage, frozen=True, kw_only=True):
    """One list of what came of a secret. `what` is one of `LISTS`."""

    template: ClassVar[str] = "console/leaks/leak_list.html"
    what: str
    sha256: str
    found: LeakList
    lists: dict[str, str]


ListName = Annotated[
    Literal["tokens", "people", "addresses", "events"], PathParameter(description="Which list of what came of it.")
]
ListedDigest = Annotated[str, PathParameter(max_length=64, description="The SHA-256 of the secret.")]
Further = Annotated[str | None, QueryParameter(name="after", max_length=2_048, description="Where the list goes on.")]


@get("/console/leaks/{sha256:str}/{what:str}", **PAGE, summary="What came of a leaked secret")
async def console_leak_list(
    request: Request[Any, Any, Any], sha256: ListedDigest, what: ListName, after: Further = None, show: Show = ""
) -> Response[bytes]:
    """Its codes and tokens, the people concerned, from where it was used, or all that was done with it."""

    async def make(visit: Visit) -> ConsolePage:
        query = {"limit": 100, "after": after, **sealed(show)}
        found = await visit.api.get(f"/leaks/investigate/{sha256}/{what}", KINDS[what], query)
        personal = show == "1" if what in ("addresses", "events") else None
        return LeakListPage(
            title=LISTS[what],
            filters=(("Came of", f"SHA-256 {sha256}"),),
            what=what,
            sha256=sha256,
            found=found,
            lists=LISTS,
            personal=personal,
        )

    return await shown(request, make)


ROUTES: list[Any] = [console_leak_list]
