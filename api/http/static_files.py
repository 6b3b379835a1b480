"""The files that pages use: one style sheet, an icon, the scripts."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import PathParameter, QueryParameter

from api.http.cors import EVERYBODY
from api.http.errors import Missing
from api.http.request_context import header_values

ROOM = Path(__file__).parents[1] / "static"


class StaticFile(NamedTuple):
    """A file as it is served. `etag` is the strong entity tag with its quotes (RFC 9110 §8.8.3)."""

    body: bytes
    media_type: str
    etag: str


STATIC_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By the end of a file's name; what has another is not served."""


def load_static(path: Path) -> StaticFile:
    body = path.read_bytes()
    return StaticFile(body, STATIC_MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:20]}"')


STATIC = {
    path.relative_to(ROOM).as_posix(): load_static(path)
    for path in sorted(ROOM.rglob("*"))
    if path.suffix in STATIC_MEDIA_TYPES
}
"""Every file of the room, by its path there."""


def static_url(name: str) -> str:
    """The address of a static file. Its query is the content's hash, so a changed file is never taken from a cache."""
    return f"/static/{name}?v={STATIC[name].etag.strip(chr(34))}"


FOR_DASHBOARDS = "grantlog.js"
"""What pages of other origins load, which are same-site with this server as dashboards are."""

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"


LONGEST = 128

Name = Annotated[str, PathParameter(max_length=LONGEST, description="The file's path.")]
Version = Annotated[str, QueryParameter(name="v", max_length=LONGEST, description="The hash of its content.")]


@get("/static/{name:path}", tags=["Pages"], summary="A file that pages use")
async def static(request: Request[Any, Any, Any], name: Name, v: Version = "") -> Response[bytes]:
    """304 for who has it already (RFC 9110 §13.1.2). With its hash in `v` it may be kept for good (RFC 8246)."""
    name = name.removeprefix("/")
    found = STATIC.get(name)
    if found is None:
        raise Missing("There is no such file.")
    cache = IMMUTABLE if v == found.etag.strip('"') else REVALIDATED
    headers = {"etag": found.etag, "cache-control": cache}
    if name == FOR_DASHBOARDS:
        headers |= {"cross-origin-resource-policy": "same-site", **EVERYBODY}
    given = ",".join(header_values(request.scope, b"if-none-match"))
    # Weak comparison, as If-None-Match wants it (RFC 9110 §13.1.2).
    known = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    if found.etag in known or given.strip() == "*":
        return Response(b"", status_code=304, headers=headers)
    media_type, _, _ = found.media_type.partition(";")
    return Response(found.body, headers=headers, media_type=media_type)
