"""What a leaked key or certificate is, by its thumbprint: whose it is, what it was used for, what is bound to it."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from api.leaks.investigation import (
    USES,
    InvestigatedSecret,
    InvestigationReader,
    Report,
    Use,
    grouped,
    sealed_field,
)
from api.leaks.key_target import KIND, KeyTarget
from api.leaks.radius import radius_by_kind
from api.leaks.targets import numbers
from domain import client
from eventstore import affected, search
from eventstore.affected import IssuedCounts, counted
from eventstore.database import Connection
from eventstore.leaked import keys
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.recorder import portions
from eventstore.search import SearchName
from eventstore.time_travel import AT_ONCE, descendants, states_at
from projections import clients
from projections.blast_radius import Alive
from projections.event_index import NameKind
from security import pasted_keys
from security.clock import format_rfc3339


class NamedKey(NamedTuple):
    """A key and the positions of the events that name it, with the clients that proved themselves by it."""

    thumbprint: str
    positions: list[int]
    holders: list[str]

    @property
    def name(self) -> SearchName:
        """By what the search index has it."""
        return NameKind.KEY, self.thumbprint.encode()


async def answered(ledger: Ledger, asked: InvestigatedSecret, *, counts: int) -> Report | None:
    """The answer about one key; None where no event names it."""
    named = await find(ledger, asked.sha256, asked.head)
    if named is None:
        return None
    if asked.past:
        return await _then(ledger, asked, named, counts=counts)
    target = KeyTarget((named.thumbprint,), named.holders, None)
    alive, ever = Alive(), IssuedCounts()
    await target.gather(ledger, CatchUpSubscription(ledger, EventIndexing()))
    ended = await target.tried(ledger)
    if counts:
        ever = await ledger.read_long(keys.issued, named.positions)
        alive = await ledger.read_long(_alive, named, asked)
    report = await ledger.read(_reported, ledger.privacy, asked, named, live=ended.numbers.tokens_ended > 0)
    if not counts:
        return replace(report, derived=None, containment=None)
    return replace(report, derived=radius_by_kind(ever, alive), containment=ended.numbers)


async def _then(ledger: Ledger, asked: InvestigatedSecret, named: NamedKey, *, counts: int) -> Report:
    """The same at a moment that has passed."""
    alive = await ledger.read_long(_alive, named, asked)
    report = await ledger.read(_reported, ledger.privacy, asked, named, live=alive.tokens > 0)
    if not counts:
        return replace(report, derived=None, containment=None)
    ever = await ledger.read_long(keys.issued, named.positions)
    good = await ledger.read(_good, named, asked)
    return replace(report, derived=radius_by_kind(ever, alive), containment=numbers(alive, good))


def _good(connection: Connection, named: NamedKey, asked: InvestigatedSecret) -> int:
    """How many clients could have proved themselves by it until it was ended."""
    states = (states_at(connection, asked.head)(client.stream(each)) for each in named.holders)
    return sum(not state.deleted and named.thumbprint not in state.revoked_keys for state in states)


async def find(ledger: Ledger, sha256: str, head: int) -> NamedKey | None:
    """The key with the thumbprint that this digest is, as far as the search index has come."""
    thumbprint = pasted_keys.of_hex(sha256)
    positions = await ledger.read(keys.positions_of, thumbprint, 1, head)
    if not positions:
        return None
    return NamedKey(thumbprint, positions, await ledger.read_long(keys.holders, positions, thumbprint))


def _alive(connection: Connection, named: NamedKey, asked: InvestigatedSecret) -> Alive:
    """What of the grants is alive in which it was used: a containment ends them as wholes."""
    state, found = states_at(connection, asked.head), Alive()
    for portion in portions(keys.grants(connection, named.positions), AT_ONCE):
        found = found.plus(counted(descendants(connection, state, portion, asked.head, asked.now)))
    return found


def _reported(
    connection: Connection, privacy: PersonalData, asked: InvestigatedSecret, named: NamedKey, *, live: bool
) -> Report:
    reader = InvestigationReader(connection, privacy, asked.personal)
    ids, people = _clients(connection, named), affected.people_at(connection, named.positions, None, 2)
    grants = keys.grants(connection, named.positions[:2]) if len(named.positions) <= 2 else []
    owner = clients.by_id(connection, ids[0]) if len(ids) == 1 else None
    answers_for = owner.owner if owner is not None and asked.personal else None
    uses = _uses(reader, named.positions[-USES:])
    return Report(
        sha256=asked.sha256,
        kind=KIND,
        state=_state(connection, asked, named, live=live),
        client_id=ids[0] if len(ids) == 1 else None,
        client_name=None if owner is None else owner.client_name,
        client_owner=reader.open(answers_for),
        account_id=people[0] if len(people) == 1 else None,
        grant_id=grants[0] if len(grants) == 1 else None,
        issued_at=_at(connection, named.positions[0]),
        first_used_at=_at(connection, named.positions[0]) if uses else None,
        last_used_at=format_rfc3339(max(use.last_at for use in uses)) if uses else None,
        addresses=grouped(uses, personal=asked.personal),
    )


def _clients(connection: Connection, named: NamedKey) -> list[str]:
    """Whose it is: who proves themselves by it, else for whom something is bound to it."""
    return named.holders or keys.clients(connection, named.positions)


def _state(connection: Connection, asked: InvestigatedSecret, named: NamedKey, *, live: bool) -> str:
    """The best that it is good for at any of its clients; by itself as good as what is bound to it."""
    if not named.holders:
        return "active" if live else "expired"
    state = states_at(connection, asked.head)
    found = {_standing(state(client.stream(each)), named.thumbprint) for each in named.holders}
    return next(each for each in ("active", "client_disabled", "revoked", "client_deleted") if each in found)


def _standing(state: client.State, thumbprint: str) -> str:
    if state.deleted:
        return "client_deleted"
    if thumbprint in state.revoked_keys or not state.enabled:
        return "revoked" if thumbprint in state.revoked_keys else "client_disabled"
    return "active" if client.live_key(state, thumbprint) is None else "revoked"


def _uses(reader: InvestigationReader, positions: Sequence[int]) -> list[Use]:
    """Where anyone who showed it came from, the newest times."""
    uses = []
    for recorded in search.recorded_forms(reader.connection, positions):
        if recorded.type in keys.OF_KEYS:
            ip, agent = (reader.open(sealed_field(recorded, field)) for field in ("ip", "user_agent"))
            uses.append(Use(ip, agent, None, recorded.time, recorded.time, 1, 0))
    return uses


def _at(connection: Connection, position: int) -> str:
    (recorded,) = search.recorded_forms(connection, [position])
    return format_rfc3339(recorded.time)
