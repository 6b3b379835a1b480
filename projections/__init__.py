"""Read models: each file declares its table, what events write there, and its queries. A rebuild goes by this list."""

from types import ModuleType

from projections import (
    accounts,
    clients,
    consents,
    digests,
    erasures,
    event_index,
    grants,
    incidents,
    logout_notices,
    outbox,
    person_notices,
    roles,
    rotations,
    scopes,
    secrets,
    session_grants,
    sessions,
    sightings,
    signals,
    tokens,
)
from projections.figures import event_counts
from projections.people import foreign_hashes, upstream_links

PROJECTIONS: tuple[ModuleType, ...] = (
    clients,
    secrets,
    accounts,
    erasures,
    foreign_hashes,
    upstream_links,
    consents,
    sessions,
    scopes,
    roles,
    grants,
    session_grants,
    tokens,
    digests,
    incidents,
    rotations,
)
"""Every read model that is written in the log's own transaction, each with `VERSION`, `HANDLES` and `project`."""

FOLLOWING: tuple[ModuleType, ...] = (event_index, sightings, event_counts)
"""Those that follow the log a moment later, each with `VERSION` and `NAME`, its row in the table `followers`."""

ONCE: tuple[ModuleType, ...] = (outbox, logout_notices, person_notices, signals)
"""What is written in that transaction too, and by no rebuild ever again: it tells somebody something."""
