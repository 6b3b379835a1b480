"""What of many grants is alive: their lives, with every cut-off that they are subject to."""

from collections.abc import Sequence

from sqlalchemy import Connection

from eventstore.grant_histories import histories
from eventstore.lifespans import CutOffs, Life, Parties, lives

AT_ONCE = 1_000
"""Grants whose events are in memory at a time."""


def lives_of(connection: Connection, grants: Sequence[str], position: int) -> list[Life]:
    """Every code and token of some grants, as they stand at a position; of any number, portion by portion."""
    found: list[Life] = []
    for start in range(0, len(grants), AT_ONCE):
        found += _portion(connection, grants[start : start + AT_ONCE], position)
    return found


def _portion(connection: Connection, grants: Sequence[str], position: int) -> list[Life]:
    told = {grant_id: (events, lives(events)) for grant_id, events in histories(connection, grants, position).items()}
    parties: dict[str, Parties] = {
        grant_id: (found[0].client_id, found[0].account_id) for grant_id, (_, found) in told.items() if found
    }
    cutting = CutOffs(connection, parties.values())
    return [
        life for grant_id, whose in parties.items() for life in lives(told[grant_id][0], cutting.of(*whose, position))
    ]
