"""Whom a request to `/audit` comes from, and what they may see."""

from typing import Any

from litestar import Request

from api.audit.queries.auditor import Auditor
from api.oauth.bearer import caller
from api.services import services_of

READ = "audit:read"
PERSONAL = "audit:personal"


def auditor(request: Request[Any, Any, Any]) -> Auditor:
    """Whom the route's guard let in."""
    who = caller(request)
    return Auditor(services_of(request), who.origin, PERSONAL in who.scope)
