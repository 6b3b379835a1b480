"""Whom a request to `/audit` comes from, and what they may see."""

from typing import Any

from litestar import Request

from api.access import caller
from api.audit.answering.auditor import Auditor
from api.services import services

READ = "audit:read"
PERSONAL = "audit:personal"


def auditor(request: Request[Any, Any, Any]) -> Auditor:
    """Whom the route's guard let in."""
    who = caller(request)
    return Auditor(services(request), who.origin, PERSONAL in who.scope)
