"""The files that pages use: one style sheet, an icon, the dashboards' script."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import PathParameter, QueryParameter

from api.answers import header_values
from api.pages import static_file
from api.problems import Missing

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"


LONGEST = 128

Name = Annotated[str, PathParameter(max_length=LONGEST, description="The file's name.")]
Version = Annotated[str, QueryParameter(name="v", max_length=LONGEST, description="The hash of its content.")]


@get("/static/{name:str}", tags=["Pages"], summary="A file that pages use")
async def static(request: Request[Any, Any, Any], name: Name, v: Version = "") -> Response[bytes]:
    """304 for who has it already (RFC 9110 §13.1.2). With its hash in `v` it may be kept for good (RFC 8246)."""
    found = static_file(name)
    if found is None:
        raise Missing("There is no such file.")
    cache = IMMUTABLE if v == found.etag.strip('"') else REVALIDATED
    headers = {"etag": found.etag, "cache-control": cache}
    given = ",".join(header_values(request.scope, b"if-none-match"))
    # Weak comparison, as If-None-Match wants it (RFC 9110 §13.1.2).
    known = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    if found.etag in known or given.strip() == "*":
        return Response(b"", status_code=304, headers=headers)
    media_type, _, _ = found.media_type.partition(";")
    return Response(found.body, headers=headers, media_type=media_type)
