"""How the log's public files are handed out: to anybody, browsers' pages included, at a rate."""

from contextlib import suppress
from typing import Any

from litestar import Response

from api.admission import admit
from api.audit.asking import READ
from api.bearer import bearer_token, judge
from api.problems import Problem
from api.services import services

TEXT = "text/plain"
"""The framework adds the charset."""
BYTES = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
A_WHILE = "public, max-age=3600"
REVALIDATED = "no-cache"


async def admitted(connection: Any, _: object) -> None:
    """A guard that lets anybody in, at a rate; raises 429. Whoever may read the log itself is not slowed."""
    here = services(connection)
    if bearer_token(connection.scope) is not None:
        with suppress(Problem):
            await judge(here, connection.scope, (READ,))
            return
    admit(here, connection.scope)


def file(content: bytes, media_type: str, cache: str) -> Response[bytes]:
    """A public file. Any page may read it: it names nobody and needs no credentials."""
    headers = {"cache-control": cache, "access-control-allow-origin": "*"}
    return Response(content, media_type=media_type, headers=headers)
