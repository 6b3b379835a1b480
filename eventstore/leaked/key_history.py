"""What was ever said of a key or certificate, by its thumbprint: how it came to be known here, what it was used for,
and what ended it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from domain import client
from domain.event import Moment, Recorded
from domain.keys import client_keys, named_keys, signing_key
from eventstore import search
from eventstore.leaked import key_state, keys
from eventstore.leaked.key_state import KeyJudgement
from eventstore.time_travel import history

_OF_CLIENTS = (client.ClientRegistered, client.ClientDisabled, client.ClientEnabled, client.ClientDeleted)


class KeyHistory(NamedTuple):
    """The events about a key, in order, and of those the newest that say that somebody showed it. `clients` are those
    whose it is, else those for whom something is bound to it."""

    judged: KeyJudgement
    clients: tuple[str, ...]
    events: tuple[Recorded, ...]
    uses: tuple[Recorded, ...]

    @property
    def began(self) -> Recorded:
        """The first event that names it."""
        return next(each for each in self.events if not isinstance(each.event, _OF_CLIENTS))


def told(connection: Connection, thumbprint: str, head: int, now: Moment, uses_at_most: int) -> KeyHistory | None:
    """The history as it stands at the head of the log; None for a key that no event names. Of its uses the newest."""
    judged = key_state.judge(connection, thumbprint, head, now)
    if judged is None:
        return None
    if judged.kind == "signing_key":
        return KeyHistory(judged, (), tuple(_own(connection, thumbprint)), ())
    if judged.kind == "trusted_issuer_key":
        return KeyHistory(judged, (), tuple(_trusted(connection, thumbprint)), ())
    named = [each for each in keys.positions_of(connection, thumbprint) if each <= head]
    holders = keys.holders(connection, named, thumbprint)
    shown = search.recorded_forms(connection, [named[0], *named[1:][-uses_at_most:]])
    of_holders = [each for holder in holders for each in _of_holder(connection, holder, thumbprint)]
    events = {each.position: each for each in (*of_holders, *shown)}
    uses = tuple(each for each in shown if each.type in keys.OF_KEYS)
    owners = holders or keys.clients(connection, named)
    return KeyHistory(judged, tuple(owners), tuple(events[each] for each in sorted(events)), uses)


def _own(connection: Connection, key_id: str) -> Iterator[Recorded]:
    """With the activation of the key that took its place."""
    for each in history(connection, signing_key.STREAM):
        if key_id in (each.event.key_id, getattr(each.event, "former", None)):
            yield each


def _trusted(connection: Connection, thumbprint: str) -> Sequence[Recorded]:
    stretches = key_state.trusted(connection, thumbprint)
    found = {each.position: each for stretch in stretches for each in (stretch.began, stretch.ended) if each}
    return [found[each] for each in sorted(found)]


def _of_holder(connection: Connection, client_id: str, thumbprint: str) -> Iterator[Recorded]:
    """What the client's stream tells of the key, and of the client's own standing."""
    registered = False
    for each in history(connection, client.stream(client_id)):
        names = thumbprint in named_keys.of(each)
        # Keys are registered as a whole: a set without this one ends it.
        ends = registered and isinstance(each.event, client_keys.KeysRegistered)
        if names or ends or isinstance(each.event, _OF_CLIENTS):
            yield each
        registered = names if isinstance(each.event, client_keys.KeysRegistered) else registered
