"""Which event tells of a use of a client secret version, and from where: what `projections.sightings` follows."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from domain import account, client_secret, grant, usage
from domain.event import Recorded
from eventstore.personal_data import ADDRESS, AGENT, Unsealing
from projections import sightings
from projections.sightings import NOBODY, Sighting
from security.clock import month_of

Place = tuple[str, str, bytes, bytes, str]


class Places:
    """Uses of secret versions in the order of the log, summed up by month and the place that they came from."""

    def __init__(self) -> None:
        self._uses: dict[Place, Sighting] = {}

    def look(self, connection: Connection, unsealing: Unsealing, recorded: Recorded) -> None:
        """Adds the use that an event tells of, if it tells of one."""
        told = _told(recorded)
        if told is None:
            return
        secret_id, count, after_end = told
        actor = recorded.actor
        place = (
            secret_id,
            (actor.id if actor.kind == "person" else unsealing.person(recorded)) or NOBODY,
            unsealing.address(connection, recorded) or b"",
            unsealing.agent(connection, recorded) or b"",
            month_of(recorded.time),
        )
        ip = None if recorded.ip is None else f"{recorded.id}|{ADDRESS}|{recorded.ip}"
        agent = None if recorded.user_agent is None else f"{recorded.id}|{AGENT}|{recorded.user_agent}"
        self._add(Sighting(*place, recorded.time, recorded.time, count, after_end, ip, agent))

    def add(self, other: "Places") -> None:
        """Adds uses that came later."""
        for found in other:
            self._add(found)

    def _add(self, later: Sighting) -> None:
        place = later[:5]
        known = self._uses.get(place)
        self._uses[place] = later if known is None else known.again(later)

    def __iter__(self) -> Iterator[Sighting]:
        return iter(self._uses.values())


def _told(recorded: Recorded) -> tuple[str, int, int] | None:
    """The version that was used, how often, and how often after its end."""
    event = recorded.event
    match event:
        case grant.TokensIssued() | grant.TokensRefreshed():
            return None if event.secret_id is None else (event.secret_id, 1, 0)
        case usage.FirstSeen():
            return recorded.stream.partition(":")[2], 1, 0
        case usage.Seen():
            return recorded.stream.partition(":")[2], event.count, 0
        case client_secret.SecretExpiredUsed():
            return event.secret_id, 0, event.count
    return None


class Prepared(NamedTuple):
    """What a portion of the log becomes."""

    places: Places
    erased: list[str]


class Sightings:
    """The follower's model."""

    name = sightings.NAME

    def prepare(self, connection: Connection, recorded: Sequence[Recorded], unsealing: Unsealing) -> Prepared:
        """The uses that a portion of the log tells of."""
        places = Places()
        for each in recorded:
            places.look(connection, unsealing, each)
        erased = [each.stream.partition(":")[2] for each in recorded if isinstance(each.event, account.Erased)]
        return Prepared(places, erased)

    def keep(self, connection: Connection, prepared: Sequence[Prepared]) -> None:
        """Writes them, neighbours together. Erasures come last: they take away places of this very stretch too."""
        places = Places()
        for each in prepared:
            places.add(each.places)
        sightings.add(connection, places)
        for each in prepared:
            for account_id in each.erased:
                sightings.forget(connection, account_id)
