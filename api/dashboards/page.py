"""A dashboard's own small page: sign in, refresh, sign out, with nothing but the endpoints beside it."""

from typing import Any

from litestar import Request, Response, get, post

from api import in_path, pages
from api.dashboards import cookie
from api.dashboards.gate import admit, entered, other_methods
from api.page_answers import page_answer
from api.services import services

ANSWERS = {"answers": "page"}


@get("/", guards=[admit], media_type="text/html", opt=ANSWERS, summary="A dashboard's sign-in page")
async def page(request: Request[Any, Any, Any], slug: in_path.Slug) -> Response[bytes]:
    """The page; it goes on with a sign-in that the browser still has the cookie of."""
    return _answer(request, slug)


@post("/", status_code=200, guards=[admit], media_type="text/html", opt=ANSWERS, include_in_schema=False)
async def without_script(request: Request[Any, Any, Any], slug: in_path.Slug) -> Response[bytes]:
    """Where the form goes in a browser without JavaScript. Its body is not even read."""
    return _answer(request, slug, pages.DASHBOARD_NEEDS_SCRIPT)


def _answer(request: Request[Any, Any, Any], slug: str, error: str = "") -> Response[bytes]:
    dashboard = entered(request).dashboard
    resume = not error and cookie.is_there(request.scope, slug, services(request).settings.issuer)
    return page_answer(
        pages.Dashboard(slug=slug, name=dashboard.client_name, realm=dashboard.realm, resume=resume, error=error)
    )


PAGE = [*other_methods("/", "GET", "POST"), page, without_script]
