"""What everything is compared with: a bare Litestar app that answers one constant JSON object."""

from litestar import Litestar, post

ANSWER: dict[str, str | int | bool] = {
    "active": False,
    "scope": "catalog:read orders:write",
    "token_type": "Bearer",
    "expires_in": 600,
}


@post("/", status_code=200)
async def constant() -> dict[str, str | int | bool]:
    """The same bytes for everybody."""
    return ANSWER


app = Litestar([constant], openapi_config=None, logging_config=None)
