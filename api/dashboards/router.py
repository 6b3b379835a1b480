"""Every endpoint of the dashboards, under one gate."""

from litestar import Router

from api.dashboards.gate import CorsHeaders
from api.dashboards.login import LOGIN
from api.dashboards.logout import LOGOUT
from api.dashboards.page import PAGE
from api.dashboards.refresh import REFRESH

dashboards = Router(
    "/dashboards/{slug:str}",
    route_handlers=[*PAGE, *LOGIN, *REFRESH, *LOGOUT],
    middleware=[CorsHeaders()],
    tags=["Dashboards"],
)
