"""The secret that a question is about: as it was found, as its digest, or by an id. The raw text goes no further."""

import re
from typing import Annotated, NamedTuple

from msgspec import Meta

from api.audit.answering.auditor import Auditor
from api.problems import Invalid
from security import extraction
from security.tokens import digest

LONGEST = 1_024
LONGEST_TEXT = extraction.LONGEST

RawSecret = Annotated[
    str, Meta(min_length=1, max_length=LONGEST, description="A token, code or client secret. Only its digest is kept.")
]
Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_TEXT,
        description="Any text: every secret in it is found, whatever surrounds or encodes it. Only digests are kept.",
    ),
]
Sha256 = Annotated[
    str,
    Meta(
        min_length=64,
        max_length=64,
        pattern="^[0-9a-f]{64}$",
        description="The lower-case hex SHA-256 of the whole secret.",
    ),
]

_HEX = re.compile(r"[0-9a-f]{64}")


class Presented(NamedTuple):
    """`asked` is what the record says of it: nothing of a text that is no secret of ours, for it may be a password."""

    sha256: str
    asked: dict[str, str | None]


def presented(asking: Auditor, raw: str | None, sha256: str | None, *, or_else: str = "") -> Presented:
    """The digest of what was presented; exactly one of the two is needed. `or_else` says what else there is to give."""
    if (raw is None) == (sha256 is None):
        raise Invalid.field("token", f"give either the secret itself or its sha256{or_else}")
    if raw is not None:
        found = digest(raw).hex()
        ours = asking.here.format.parse(raw) is not None
        return Presented(found, {"sha256": found if ours else None, "token": None if ours else "unknown"})
    if sha256 is None or _HEX.fullmatch(sha256) is None:
        raise Invalid.field("sha256", "must be 64 lower-case hexadecimal digits")
    return Presented(sha256, {"sha256": sha256})
