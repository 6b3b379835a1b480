"""Every route of the server. A new endpoint is one file and one line here."""

from typing import Any

from api import admin, audit, intake, leaks, log, metadata
from api.account import account, account_sign_in, account_sign_in_posted, account_sign_out, account_sign_out_posted
from api.account_grants import account_grants, account_grants_withdraw
from api.authorize import authorize, authorize_sign_in
from api.consent import authorize_consent, authorize_sign_out
from api.dashboards.router import dashboards
from api.health import live, ready
from api.home import home
from api.introspect import introspect
from api.metrics import metrics
from api.revoke import revoke
from api.static_files import static
from api.token import token

PAGES: list[Any] = [
    home,
    static,
    authorize,
    authorize_sign_in,
    authorize_consent,
    authorize_sign_out,
    account,
    account_sign_in,
    account_sign_in_posted,
    account_sign_out,
    account_sign_out_posted,
    account_grants,
    account_grants_withdraw,
]

ROUTES: list[Any] = [
    token.route,
    introspect.route,
    revoke.route,
    *metadata.ROUTES,
    live,
    ready,
    metrics,
    dashboards,
    *admin.ROUTES,
    *audit.ROUTES,
    *log.ROUTES,
    *intake.ROUTES,
    *leaks.ROUTES,
    *PAGES,
]
