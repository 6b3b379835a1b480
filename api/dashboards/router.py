"""Every endpoint of the dashboards, under one gate, and the small page that uses them."""

from typing import Any

from litestar import Request, Response, Router, get, post

from api.dashboards import tokens
from api.dashboards.gate import CorsHeaders, admit, entered, other_methods
from api.dashboards.tokens import LOGIN, LOGOUT, REFRESH
from api.http import parameters
from api.pages import templates
from api.pages.templates import page_answer
from api.services import services_of

# A dashboard's own small page: sign in, refresh, sign out, with nothing but the endpoints beside it.

ANSWERS = {"answers": "page"}


@get("/", guards=[admit], media_type="text/html", opt=ANSWERS, summary="A dashboard's sign-in page")
async def page(request: Request[Any, Any, Any], slug: parameters.Slug) -> Response[bytes]:
    """The page; it goes on with a sign-in that the browser still has the cookie of."""
    return _answer(request, slug)


@post("/", status_code=200, guards=[admit], media_type="text/html", opt=ANSWERS, include_in_schema=False)
async def without_script(request: Request[Any, Any, Any], slug: parameters.Slug) -> Response[bytes]:
    """Where the form goes in a browser without JavaScript. Its body is not even read."""
    return _answer(request, slug, templates.DASHBOARD_NEEDS_SCRIPT)


def _answer(request: Request[Any, Any, Any], slug: str, error: str = "") -> Response[bytes]:
    dashboard = entered(request).dashboard
    resume = not error and tokens.is_there(request.scope, slug, services_of(request).settings.issuer)
    return page_answer(
        templates.Dashboard(slug=slug, name=dashboard.client_name, realm=dashboard.realm, resume=resume, error=error)
    )


PAGE = [*other_methods("/", "GET", "POST"), page, without_script]


# Every endpoint of the dashboards, under one gate.

dashboards = Router(
    "/dashboards/{slug:str}",
    route_handlers=[*PAGE, *LOGIN, *REFRESH, *LOGOUT],
    middleware=[CorsHeaders()],
    tags=["Dashboards"],
)
