"""An event beside the list that it was chosen from: a part of a page, and a question of its own."""

from typing import Any, ClassVar

from litestar import Request, Response, get

from api.console.frame import HEADERS, Visit
from api.console.gate import PAGE, shown
from api.console.masking import Show, sealed, without_ids
from api.console.own_api import ApiCall
from api.console.pages.event import EVENT, Around, Member, Position, actor_of, around_of, changes_in, masked, members_of
from api.console.shown_events import Event
from api.http.templates import HtmlPage, render

NEIGHBOURS = ("Previous", "Next")


class EventBeside(HtmlPage, frozen=True, kw_only=True):
    """What the event says, and ways from it. `asked` goes to the foot of the page beside whose list it stands."""

    template: ClassVar[str] = "console/log/event_beside.html"
    event: Event
    shows: bool
    stream: str
    actor: tuple[Member, ...]
    members: tuple[Member, ...]
    changes: tuple[Member, ...]
    around: tuple[Around, ...]
    asked: tuple[ApiCall, ...]


@get(EVENT + "/beside", **PAGE, summary="An event beside the list")
async def console_event_beside(request: Request[Any, Any, Any], position: Position, show: Show = "") -> Response[bytes]:
    """What `GET /console/events/{position}` says, without the proof and without what stands around every page."""

    async def make(visit: Visit) -> Response[bytes]:
        event = await visit.api.get(f"/audit/events/{position}", Event, {"names": "1", **sealed(show)})
        people = () if show == "1" else event.people
        page = EventBeside(
            event=event,
            shows=show == "1",
            stream=without_ids(event.stream, people),
            actor=masked(actor_of(event), people),
            members=masked(members_of(event), people),
            changes=masked(changes_in(event.data), people),
            around=tuple(each for each in around_of(event) if each.words not in NEIGHBOURS),
            asked=visit.api.calls,
        )
        return Response(render(page), headers=dict(HEADERS), media_type="text/html")

    return await shown(request, make)


ROUTES: list[Any] = [console_event_beside]
