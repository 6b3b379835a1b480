"""The way to a second factor for who needs one first, and from there back to where they were."""

import re
from typing import Annotated
from urllib.parse import quote

from litestar import Response
from litestar.params import QueryParameter

from api.http.templates import see_other
from api.pages.browser_session import BrowserSession

FACTORS = "/account/factors"
LONGEST = 4_096

_BACK = re.compile(r"/(oauth/authorize|device/confirm)\?[\x21-\x7e]+")
"""Where one may be led from there: to requests on this server that wanted the factor, and nowhere else."""

Onward = Annotated[
    str,
    QueryParameter(
        name="onward",
        description="The request on this server that goes on with the factor.",
        max_length=LONGEST,
    ),
]


def address(realm: str, onward: str, path: str = FACTORS) -> str:
    """Where people get a factor, or a `path` below it, from which they come back to a request of this server."""
    told = f"&onward={quote(onward, safe='')}" if back(onward) is not None else ""
    return f"{path}?realm={realm}{told if len(told) <= LONGEST else ''}"


def back(onward: str) -> str | None:
    """The address to go on at; None for what is none of those."""
    return onward if len(onward) <= LONGEST and _BACK.fullmatch(onward) else None


def lead(used: BrowserSession, onward: str) -> Response[bytes]:
    """To the enrolment, with the way back."""
    return see_other(address(used.realm, onward), used.cookies)
