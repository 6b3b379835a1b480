"""What came of a client secret, kind by kind: ever issued, alive, and about how much is alive where there is a lot."""

from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from domain.event import Moment
from eventstore import affected
from eventstore.database import Connection
from eventstore.leaked import about
from projections.blast_radius import Alive, RadiusQuestion


class Came(msgspec.Struct, frozen=True):
    """What came of it: ever issued, and how many are alive; null where that was not counted. Of very many `about` says
    at once about how many live, by a sample."""

    total: int
    live: int | None
    about: int | UnsetType = UNSET


class CameOfIt(msgspec.Struct, frozen=True):
    """The blast radius by kind."""

    grants: Came
    codes: Came
    access_tokens: Came
    refresh_tokens: Came


class Radius(NamedTuple):
    """What came of a client secret: all that was ever issued, what of it is alive, None where nobody counted, and about
    how much that is, None where that was not asked for. `ending` is what would end with it, others' in exchange too."""

    issued: affected.IssuedCounts
    alive: Alive | None
    about: Alive | None = None
    ending: Alive | None = None


def radius_at_once(connection: Connection, of: RadiusQuestion, now: Moment) -> Radius:
    """Without counting what lives: about how much that is."""
    ever = affected.issued(connection, (of.secret_ids or ("",))[0])
    return Radius(ever, None, about.alive(connection, of, ever, now))


def radius_by_kind(ever: affected.IssuedCounts | Alive, living: Alive | None, near: Alive | None = None) -> CameOfIt:
    """What was ever issued and, where that was counted, what of it is alive, or near what, kind by kind."""
    return CameOfIt(
        *(
            Came(total, None if living is None else living[kind], UNSET if near is None else near[kind])
            for kind, total in enumerate(ever[:4])
        )
    )
