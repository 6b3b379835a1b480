"""How the log's public files are handed out: to anybody, browsers' pages included, at a rate."""

from typing import Any

from litestar import Request, Response

from api.admission import admit
from api.answers import Scope
from api.audit.asking import READ
from api.bearer import bearer_token, judge
from api.problems import Problem
from api.services import Services, services

TEXT = "text/plain"
"""The framework adds the charset."""
BYTES = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
A_WHILE = "public, max-age=3600"
REVALIDATED = "no-cache"


async def admitted(request: Request[Any, Any, Any]) -> Services:
    """The services, for a caller who may be anybody; raises 429. Whoever may read the log itself is not slowed."""
    here = services(request)
    if bearer_token(request.scope) is None or not await _reads_the_log(here, request.scope):
        admit(here, request.scope)
    return here


async def _reads_the_log(here: Services, scope: Scope) -> bool:
    try:
        await judge(here, scope, (READ,))
    except Problem:
        return False
    return True


def file(content: bytes, media_type: str, cache: str) -> Response[bytes]:
    """A public file. Any page may read it: it names nobody and needs no credentials."""
    headers = {"cache-control": cache, "access-control-allow-origin": "*"}
    return Response(content, media_type=media_type, headers=headers)
