"""Every route of the server. A new endpoint is one file and one line here."""

from typing import Any

from api import account, admin, audit, console, leaks
from api.admin import registration
from api.audit import offline_verifier, publishing
from api.branding import logo, stylesheet
from api.dashboards import related_origins
from api.dashboards.router import dashboards
from api.http.static_files import static
from api.monitoring import live, metrics, ready
from api.oauth import metadata
from api.oauth.authorization_challenge import authorization_challenge
from api.oauth.device_authorization import device_authorization
from api.oauth.introspection import introspect
from api.oauth.revocation import revoke
from api.oauth.token import token
from api.oauth.userinfo import userinfo
from api.pages import (
    device,
    email_address,
    factors,
    notices,
    own_account,
    own_data,
    passkey_enrolment,
    recover,
    register,
)
from api.pages.account import (
    account_grants,
    account_grants_withdraw,
    account_sign_in,
    account_sign_in_posted,
    account_sign_out,
    account_sign_out_posted,
    home,
)
from api.pages.authorize import authorize, authorize_consent, authorize_posted, authorize_sign_in, authorize_sign_out
from api.pages.logout import logout, logout_confirmed, logout_posted
from api.pages.pushed_authorization_request import par
from api.pages.upstream import coming_back
from api.signals import event_streams
from api.upstreams import administration

PAGES: list[Any] = [
    home,
    static,
    stylesheet,
    logo,
    authorize,
    authorize_posted,
    authorize_sign_in,
    authorize_consent,
    authorize_sign_out,
    account_sign_in,
    account_sign_in_posted,
    account_sign_out,
    account_sign_out_posted,
    account_grants,
    account_grants_withdraw,
    *own_account.ROUTES,
    *own_data.ROUTES,
    *factors.ROUTES,
    *recover.ROUTES,
    *register.ROUTES,
    *notices.ROUTES,
    *email_address.ROUTES,
    *passkey_enrolment.ROUTES,
    *device.ROUTES,
    *coming_back.ROUTES,
    logout,
    logout_posted,
    logout_confirmed,
]

CONSOLE: list[Any] = [*console.ROUTES]
"""What there is not where `GRANTLOG_CONSOLE` is off."""

ROUTES: list[Any] = [
    token.route,
    introspect.route,
    revoke.route,
    userinfo.route,
    device_authorization.route,
    authorization_challenge.route,
    par.route,
    *metadata.ROUTES,
    *related_origins.ROUTES,
    *registration.ROUTES,
    live,
    ready,
    metrics,
    dashboards,
    *admin.ROUTES,
    *administration.ROUTES,
    *audit.ROUTES,
    *publishing.ROUTES,
    *offline_verifier.ROUTES,
    *leaks.ROUTES,
    *account.ROUTES,
    *event_streams.ROUTES,
    *PAGES,
    *CONSOLE,
]
