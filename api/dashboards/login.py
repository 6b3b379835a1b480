"""A dashboard's sign-in: the password grant (RFC 6749 §4.3), performed here so that no page holds a client's secret."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody

from api import in_path
from api.credential_memory import Caller
from api.dashboards.answers import EXAMPLE, DashboardTokens, perform
from api.dashboards.gate import admit, other_methods
from api.http.errors import InvalidGrant, SignInRefused
from api.services import services
from api.token import Tokens, password_grant
from domain.grants.facts import Request as TokenRequest


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person types, and nothing beside it."""

    username: Annotated[
        str, msgspec.Meta(min_length=1, max_length=320, description="An e-mail address or a user name.")
    ]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "Credentials()"


@post(
    "/login",
    status_code=200,
    guards=[admit],
    summary="Sign in at a dashboard",
    opt={
        "bodies": ("json", "form"),
        "example": {"username": "paul", "password": "(the password)"},
        "answer": EXAMPLE,
    },
)
async def login(
    request: Request[Any, Any, Any], slug: in_path.Slug, data: JSONBody[Credentials]
) -> Response[DashboardTokens]:
    """Tokens for a person of the dashboard's realm; the refresh token is set as a cookie.

    Unknown user, wrong password, wrong realm and disabled person are one answer.
    """
    here = services(request)

    async def grant(caller: Caller) -> Tokens:
        return await password_grant(here, request.scope, caller, data.username, data.password, TokenRequest())

    try:
        return await perform(here, request, grant)
    except InvalidGrant:
        # Whether the password was wrong at first sight or the person was disabled a moment ago is nobody's business.
        raise SignInRefused() from None


LOGIN = [*other_methods("/login", "POST"), login]
