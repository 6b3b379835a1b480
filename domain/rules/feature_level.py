"""What a log may hold so that every node which serves it understands it: its feature level.

A version knows a level. The log's own rises when every node that serves it knows a higher one, which is an event; until
then nothing is written that takes it. So an upgrade goes from node to node while the others go on, and one that has not
been upgraded meets nothing that it does not know.
"""

from msgspec.structs import fields

from domain.event import Event

FEATURE_LEVEL = 8
"""What this version knows. It rises by one with each release that has an event type, a member of an event, or a version
of the events' MAC which the release before does not know (`Event.since`, `Event.members_since`). A new version of the
MAC begins with a key that `mac_key.introduced` names, so it is a member like others."""

RAISED_BY_SERVERS = 1
"""The level to which servers raise a log as soon as all of them know it. To a higher one it rises with the command that
needs it: who never gives that can go back to the release before."""

DROPS = 2
"""Events are dropped from the database: what the search index has of them is packed, and only who knows that finds
it."""

DROPS_NAMES = 5
"""Where the secrets of dropped events were issued is packed too, tiles of whose events half or more were dropped stand
in segments alone, and rows of dropped events say streams and types in short. 3 and 4 were the levels of the first two
for a while."""

DROPS_ROWS = 6
"""Rows of dropped events leave the table of events and are packed elsewhere."""

PACKS_CLOSELY = 7
"""What is packed of dropped events says in few bits how far positions and digests are from each other."""

SHORTENS_FORMS = 8
"""Events that live among dropped ones have their texts in short."""


def needed(event: Event) -> int:
    """The level that writing this event takes: its type's, or that of the newest member which says something."""
    level = event.since
    if event.members_since:
        defaults = {field.name: field.default for field in fields(event)}
        said = (since for name, since in event.members_since.items() if getattr(event, name) != defaults[name])
        level = max(level, *said, 1)
    return level
