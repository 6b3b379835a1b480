"""What stands sealed with an event about its caller, as the keyed digests by which read models find it again."""

from collections.abc import Callable

from sqlalchemy import Connection

from domain.event import Recorded
from domain.sealed import Sealed
from eventstore.privacy import Privacy
from projections.event_names import ADDRESS_KEY_BYTES
from security.sealing import SealBroken, subject_of

ADDRESS = "ip"
TOLD = "told_ip"
AGENT = "user_agent"
AGENT_KEY_BYTES = 8

KEPT = 4_096
"""Addresses, and user agents, whose digests are kept. Few callers send most requests."""


def address_key(privacy: Privacy, address: str) -> bytes:
    """The key of a network address in the search index: its blind index, the same in every realm."""
    return privacy.index(ADDRESS, "", address)[:ADDRESS_KEY_BYTES]


def agent_key(privacy: Privacy, agent: str) -> bytes:
    """The key of a user agent among the places from which secrets were used."""
    return privacy.index(AGENT, "", agent)[:AGENT_KEY_BYTES]


class Unsealing:
    """Opens each value once, however many read models ask for it."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy
        self._opened: dict[str, bytes | None] = {}
        self._addresses: dict[str, bytes] = {}
        self._agents: dict[str, bytes] = {}

    def begin(self) -> None:
        """Forgets what was opened: from here on whoever was erased meanwhile is."""
        self._opened.clear()

    def address(self, connection: Connection, recorded: Recorded) -> bytes | None:
        """The key of the caller's address; None where there is none or it was erased."""
        return self._key(connection, recorded, ADDRESS, recorded.ip, self._addresses, address_key)

    def told(self, connection: Connection, recorded: Recorded) -> bytes | None:
        """The key of the address that a resource server told of whoever brought a token; None for other events."""
        sealed = getattr(recorded.event, TOLD, None)
        return self._key(connection, recorded, TOLD, sealed, self._addresses, address_key)

    def agent(self, connection: Connection, recorded: Recorded) -> bytes | None:
        """The key of the caller's user agent; None where there is none or it was erased."""
        return self._key(connection, recorded, AGENT, recorded.user_agent, self._agents, agent_key)

    def person(self, recorded: Recorded) -> str | None:
        """Who is forgotten together with the caller's address, beside a person who acted; None where nobody is."""
        sealed = recorded.ip or recorded.user_agent
        if sealed is None or recorded.actor.kind == "person":
            return None
        category, _, name = subject_of(sealed).partition(":")
        return name if category == "account" else None

    def _key(
        self,
        connection: Connection,
        recorded: Recorded,
        field: str,
        sealed: str | None,
        known: dict[str, bytes],
        key_of: Callable[[Privacy, str], bytes],
    ) -> bytes | None:
        if sealed is None:
            return None
        if sealed in self._opened:
            return self._opened[sealed]
        try:
            clear = self._privacy.open(connection, Sealed(recorded.id, field, sealed))
        except SealBroken:
            # A log that somebody tampered with must still be searchable; the proofs say what happened to it.
            clear = None
        key = None
        if clear is not None:
            key = known.get(clear)
            if key is None:
                if len(known) >= KEPT:
                    known.clear()
                key = known[clear] = key_of(self._privacy, clear)
        self._opened[sealed] = key
        return key
