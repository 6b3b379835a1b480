"""A transfer: people and clients that came from another system, or whose data left. Stream `transfer:<id>`.

Each of them has events of their own; those carry the transfer's id as the id of the request that they came of.
"""

from typing import Literal

import msgspec

from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded

STATELESS = True

TransferSource = Literal["people", "passport", "keycloak"]
"""From what: a list of people, or what such a server has."""


def stream(transfer_id: str) -> str:
    """The stream of this transfer."""
    return f"transfer:{transfer_id}"


class Imported(Event, frozen=True, kw_only=True):
    """So many people, clients and roles came to be known. Others were there already (`unchanged`), or were refused."""

    type = "transfer.imported"

    source: TransferSource
    people: int = 0
    clients: int = 0
    unchanged: int = 0
    refused: int = 0
    roles: int = 0


class Exported(Event, frozen=True, kw_only=True):
    """Somebody took so many clients, or people of the `realm`, along in clear. `with_hashes` says that what is kept of
    their secrets or passwords was among it."""

    type = "transfer.exported"

    of: Literal["people", "clients"]
    count: int
    with_hashes: bool = False
    realm: str | None = None


EVENTS: tuple[type[Event], ...] = (Imported, Exported)


class State(msgspec.Struct, frozen=True):
    """No verb looks back."""


INITIAL = State()


def record(state: State, *, now: Moment, transferred: Imported | Exported) -> Outcome:
    """Tells of a transfer. It has happened, so nothing can refuse it."""
    return accept(transferred)


def evolve(state: State, recorded: Recorded) -> State:
    """Always the same."""
    if not isinstance(recorded.event, EVENTS):
        raise AssertionError(f"{recorded.type} is no event of a transfer")
    return state
