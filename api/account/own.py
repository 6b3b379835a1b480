"""Who calls: a person, by a token with the scope `account`, which only dashboards of their realm have."""

from typing import Any

from litestar import Request

from api.admin.idempotency import CommandOperation
from api.http.errors import HTTPError
from api.http.request_context import header_values, is_for_people
from api.oauth.bearer import Bearer, caller, guard, needing
from domain.rules.built_in_scope import ACCOUNT

TAGS = ["Account"]


class AsPage(HTTPError):
    """303: a browser came without a token, and what people see has another address (RFC 9110 §15.4.4)."""

    status = 303

    def __init__(self, location: str) -> None:
        super().__init__(headers={"location": location})


async def own_guard(connection: Any, handler: Any) -> None:
    """Lets holders of the scope in, sends browsers to the `page` of its opt, and raises 401 or 403 for others."""
    page = handler.opt.get("page")
    if page is not None and not header_values(connection.scope, b"authorization") and is_for_people(connection.scope):
        raise AsPage(page)
    await guard(connection, handler)


def asking(**opt: Any) -> dict[str, Any]:
    """Keyword arguments of a route that answers people about themselves."""
    return needing(ACCOUNT, answers="problem", **opt) | {"guards": [own_guard], "tags": TAGS}


def commanding_own(**opt: Any) -> dict[str, Any]:
    """Keyword arguments of a route by which people change what is theirs."""
    return asking(**opt) | {"operation_class": CommandOperation}


def own_id(who: Bearer) -> str:
    """The caller's account. Only grants of people hold the scope."""
    if who.account_id is None:
        raise AssertionError("a token with the scope account has no person")
    return who.account_id


def myself(request: Request[Any, Any, Any]) -> str:
    """The account of whom the guard let in."""
    return own_id(caller(request))
