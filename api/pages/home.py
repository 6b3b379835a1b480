"""The way in: the dashboards, the demo's third party, the documentation."""

from typing import Any

from litestar import Request, Response, get

from api.pages.templates import DashboardLink, Home, page_answer
from api.services import services_of
from projections import clients


@get("/", tags=["Pages"], summary="The way in", media_type="text/html")
async def home(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Links to everything that a person can do here; in production none unless `GRANTLOG_HOME` says so."""
    services = services_of(request)
    settings = services.settings
    if not settings.home:
        return page_answer(Home(issuer=settings.issuer, dashboards=(), lists=False))
    found = await services.ledger.read(clients.dashboards)
    page = Home(
        issuer=settings.issuer,
        dashboards=tuple(
            DashboardLink(each.client_name, each.realm, f"/dashboards/{each.slug}")
            for each in found.items
            if each.state == "enabled"
        ),
        third_party=f"http://127.0.0.1:{settings.demo_port}/" if settings.environment == "demo" else None,
    )
    return page_answer(page)
