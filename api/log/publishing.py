"""How the log's public files are handed out: to anybody, browsers' pages included, at a rate."""

from typing import Any

from litestar import Request, Response

from api.admission import admit
from api.services import Services, services

TEXT = "text/plain"
"""The framework adds the charset."""
BYTES = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
A_WHILE = "public, max-age=3600"
REVALIDATED = "no-cache"


def admitted(request: Request[Any, Any, Any]) -> Services:
    """The services, for a caller who may be anybody; raises 429."""
    here = services(request)
    admit(here, request.scope)
    return here


def file(content: bytes, media_type: str, cache: str) -> Response[bytes]:
    """A public file. Any page may read it: it names nobody and needs no credentials."""
    headers = {"cache-control": cache, "access-control-allow-origin": "*"}
    return Response(content, media_type=media_type, headers=headers)
