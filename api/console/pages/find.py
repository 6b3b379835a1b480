"""The box at the top of every page: what any pasted text names, and its page."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta

from api.console.frame import FIND, ConsolePage, Visit
from api.console.gate import FORM, ConsoleForm, posted
from api.console.masking import pseudonym
from api.console.navigation import url_of
from api.console.own_api import Problem, Refused
from api.http.templates import see_other

LONGEST = 500_000


class FindForm(ConsoleForm, frozen=True):
    """Any text."""

    text: Annotated[str, Meta(description="Anything.", extra_json_schema={"maxLength": LONGEST})] = ""


class FoundThing(msgspec.Struct, frozen=True):
    """Something that the text names."""

    kind: str
    id: str
    label: str | None = None

    @property
    def called(self) -> str:
        """What it is called; a person by a pseudonym, since somebody looks over many a shoulder."""
        return pseudonym(self.id) if self.kind == "person" else self.label or self.id

    @property
    def told_id(self) -> str:
        """Its id, as far as that is told."""
        return "" if self.kind == "person" else self.id

    @property
    def url(self) -> str:
        """Its page."""
        return url_of(self.kind, self.id)


class FoundThings(msgspec.Struct, frozen=True):
    """All that it names."""

    items: tuple[FoundThing, ...]


class FoundPage(ConsolePage, frozen=True, kw_only=True):
    """What the text names, where that is nothing or several things."""

    template: ClassVar[str] = "console/log/found.html"
    found: tuple[FoundThing, ...]


@post(FIND, **{**FORM, "opt": {**FORM["opt"], "lists": True}}, summary="What a pasted text names")
async def console_find(request: Request[Any, Any, Any], data: JSONBody[FindForm]) -> Response[bytes]:
    """To the page of what the text names; a list of several; and nothing of the text is kept or shown."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        text = data.text.strip()
        if not text:
            return FoundPage(title="Nothing found", found=())
        if len(text) > LONGEST:
            # Nothing was looked for, and who pasted it must not take that for an answer.
            raise Refused(
                413, Problem(detail=f"The text has more than {LONGEST:,} characters; nothing was looked for."), {}
            )
        found = await visit.api.send("POST", "/audit/find", FoundThings, {"text": text})
        if len(found.items) == 1:
            return see_other(found.items[0].url)
        title = f"{len(found.items)} things found" if found.items else "Nothing found"
        return FoundPage(title=title, found=found.items)

    return await posted(request, data, make, back="/console/")


ROUTES: list[Any] = [console_find]
