"""Who a person is at other OpenID providers, told to them and ended by them."""

from typing import Annotated, Any

from litestar import Request, Response, delete, get
from litestar.params import PathParameter

from api.account.own import asking, commanding_own, myself
from api.admin.idempotency import Once, Reply
from api.http.parameters import After, AtMost, Page, part
from api.services import Injected
from api.upstreams.administration import LINK, LinkBody, link_bodies
from commands import upstreams
from domain import account
from domain.people.upstream import NAME_MAXIMUM
from eventstore.ledger import Ledger

PATH = "/account/upstreams"
PASSWORD = "/account/password"  # noqa: S105 - the page of the same
UpstreamName = Annotated[str, PathParameter(max_length=NAME_MAXIMUM, description="The provider's name.")]


@get(PATH, **asking(page=PASSWORD, answer={"items": [LINK], "next": None}), summary="Who I am at other providers")
async def list_own_links(
    request: Request[Any, Any, Any], ledger: Injected[Ledger], limit: AtMost = None, after: After = None
) -> Page[LinkBody]:
    """All of them; I may sign in there."""
    person: account.State = await ledger.state(account.stream(myself(request)))
    return part(await link_bodies(ledger, person), limit, after, kind="links", name=lambda each: each.upstream)


@delete(PATH + "/{upstream:str}", **commanding_own(recent=True), summary="Take a link to a provider away")
async def end_own_link(request: Request[Any, Any, Any], upstream: UpstreamName, once: Injected[Once]) -> Response[None]:
    """I sign in there no more. 409 where I had no other way to sign in."""
    command = upstreams.unlink(myself(request), upstream, by=None)
    return await once.carry_out(command, reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [list_own_links, end_own_link]
