"""The way in: the dashboards, the demo's third party, the documentation."""

from litestar import Response, get

from api.config.settings import Settings
from api.dependencies import Injected
from api.pages.templates import DashboardLink, Home, page_answer
from eventstore.ledger import Ledger
from projections import clients


@get("/", tags=["Pages"], summary="The way in", media_type="text/html")
async def home(ledger: Injected[Ledger], settings: Injected[Settings]) -> Response[bytes]:
    """Links to everything that a person can do here; in production none unless `GRANTLOG_HOME` says so."""
    if not settings.home:
        return page_answer(Home(issuer=settings.issuer, dashboards=(), lists=False))
    found = await ledger.read(clients.dashboards)
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
