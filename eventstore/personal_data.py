"""Personal data in events: sealed, found again by blind indexes and keyed digests, and ended with its key."""

from collections.abc import Callable, Mapping

import msgspec
import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from domain.event import Event, Moment, Recorded, Sealed
from domain.rules.client_metadata import CertificateName, ClientKeys
from eventstore.execution import Origin
from projections.event_index import ADDRESS_KEY_BYTES
from projections.tables import parse_sealed
from security.mac import BlindIndex
from security.sealing import SCHEME, SealBroken, Sealer, anonymous_subject, subject_of, subjects_of
from security.vault import Vault

log = structlog.get_logger("log")

INDEXED = ("username", "email", "sub")

_OF_A_PERSON = f"{SCHEME}.account:"
"""How what is sealed under a person's key begins."""


class PersonalData:
    """Sealing as the ledger needs it. Keys come from the vault, on the connection of the transaction that appends."""

    def __init__(self, sealer: Sealer, blind_index: BlindIndex) -> None:
        self._sealer = sealer
        self._blind_index = blind_index

    @property
    def sealer(self) -> Sealer:
        """What seals and opens."""
        return self._sealer

    @property
    def vault(self) -> Vault:
        """Where the keys are."""
        return self._sealer.vault

    def seal_event(
        self, connection: Connection, event: Event, stream: str, event_id: str, realm: str, now: Moment
    ) -> tuple[Event, Mapping[str, bytes]]:
        """The event with its personal fields sealed under their subject's key, and the blind indexes of its names."""
        sealed: dict[str, str] = {}
        indexes: dict[str, bytes] = {}
        subject = event.subject(stream)
        for name in event.personal:
            clear = getattr(event, name)
            if clear is None:
                continue
            seal = self._sealer.seal_origin if name in event.of_origin else self._sealer.seal
            sealed[name] = seal(connection, subject, now, event_id, name, clear)
            if name in INDEXED:
                indexes[name] = self.index(name, realm, clear)
        return (msgspec.structs.replace(event, **sealed) if sealed else event), indexes

    def seal_origin(
        self, connection: Connection, origin: Origin, event_id: str, now: Moment, person: str | None = None
    ) -> tuple[str | None, str | None]:
        """Address and user agent, sealed under the month's key and that of who asked, or of the `person` whose device
        it is.
        """
        actor = origin.actor
        if origin.ip is None and origin.user_agent is None:
            return None, None
        if person:
            subject = f"account:{person}"
        elif actor.kind == "person" and actor.id:
            subject = f"account:{actor.id}"
        elif actor.kind == "client" and actor.id:
            subject = f"client:{actor.id}"
        else:
            subject = anonymous_subject(now)
        ip = agent = None
        if origin.ip is not None:
            ip = self._sealer.seal_origin(connection, subject, now, event_id, "ip", origin.ip)
        if origin.user_agent is not None:
            agent = self._sealer.seal_origin(connection, subject, now, event_id, "user_agent", origin.user_agent)
        return ip, agent

    def seal(self, connection: Connection, subject: str, now: Moment, place: str, field: str, text: str) -> Sealed:
        """Any text under the key of a subject, so that it is erased with them; `place` names where it is kept."""
        return Sealed(place, field, self._sealer.seal(connection, subject, now, place, field, text))

    def index(self, field: str, realm: str, value: str) -> bytes:
        """The blind index of a login name or address."""
        return self._blind_index.index(field, realm, value)

    def open(self, connection: Connection, value: Sealed | str | None) -> str | None:
        """A sealed value in clear, from a state or from a row; None for none, and for one whose key is gone."""
        if isinstance(value, str):
            value = parse_sealed(value)
        if value is None:
            return None
        return self._sealer.open(connection, value.text, value.event_id, value.field)

    def show(self, connection: Connection, value: Sealed | str | None) -> str | None:
        """The same for an answer that tells of other things too: None where it cannot be opened, which this server's
        log says. The rounds that compare the vault with the events raise the alarm."""
        try:
            return self.open(connection, value)
        except SealBroken as error:
            sealed = parse_sealed(value) if isinstance(value, str) else value
            keys = () if sealed is None else subjects_of(sealed.text)
            log.error("vault.cannot_be_opened", keys=keys, reason=str(error))
            return None

    def open_keys(self, connection: Connection, keys: ClientKeys, *, to_show: bool = False) -> ClientKeys:
        """A client's keys with the name in its certificate in clear; without one whose key is gone, or which cannot be
        shown."""
        named = keys.certificate
        if named is None or isinstance(named.value, str):
            return keys
        clear = self.show(connection, named.value) if to_show else self.open(connection, named.value)
        return replace(keys, certificate=None if clear is None else CertificateName(named.member, clear))

    def is_erased(self, connection: Connection, text: str) -> bool:
        """Whether a sealed text can be opened by nobody any more. Raises SealBroken."""
        return self._sealer.is_destroyed(connection, text)

    def indexes(self, connection: Connection, event: Event, event_id: str, realm: str) -> Mapping[str, bytes]:
        """The blind indexes of an event that is sealed already, for replaying; none for an erased subject."""
        indexes: dict[str, bytes] = {}
        for name in INDEXED:
            sealed = getattr(event, name, None) if name in event.personal else None
            clear = self._sealer.open(connection, sealed, event_id, name) if sealed is not None else None
            if clear is not None:
                indexes[name] = self.index(name, realm, clear)
        return indexes


# What stands sealed with an event about its caller, as the keyed digests by which read models find it again.

ADDRESS = "ip"
TOLD = "told_ip"
AGENT = "user_agent"
AGENT_KEY_BYTES = 8


def may_leave_with_a_person(recorded: Recorded) -> bool:
    """Whether the search index may lose addresses of the event before their month ends: somebody is erased."""
    if recorded.actor.kind == "person" or getattr(recorded.event, TOLD, None) is not None:
        return True
    return (recorded.ip or recorded.user_agent or "").startswith(_OF_A_PERSON)


KEPT = 4_096
"""Addresses, and user agents, whose digests are kept. Few callers send most requests."""


def address_key(privacy: PersonalData, address: str) -> bytes:
    """The key of a network address in the search index: its blind index, the same in every realm."""
    return privacy.index(ADDRESS, "", address)[:ADDRESS_KEY_BYTES]


def agent_key(privacy: PersonalData, agent: str) -> bytes:
    """The key of a user agent among the places from which secrets were used."""
    return privacy.index(AGENT, "", agent)[:AGENT_KEY_BYTES]


class Unsealing:
    """Opens each value once, however many read models ask for it."""

    def __init__(self, privacy: PersonalData) -> None:
        self._privacy = privacy
        self._open = privacy.sealer.open
        self._opened: dict[str, bytes | None] = {}
        self._keys: dict[Callable[[PersonalData, str], bytes], dict[str, bytes]] = {address_key: {}, agent_key: {}}

    def begin(self) -> None:
        """Forgets what was opened: from here on anyone who was erased meanwhile is."""
        self._opened.clear()

    def address(self, connection: Connection, recorded: Recorded) -> bytes | None:
        """The key of the caller's address; None where there is none or it was erased."""
        return self._key(connection, recorded, ADDRESS, recorded.ip, address_key)

    def told(self, connection: Connection, recorded: Recorded) -> bytes | None:
        """The key of the address that a resource server gave of the one who brought a token; None for other events."""
        sealed = getattr(recorded.event, TOLD, None)
        return self._key(connection, recorded, TOLD, sealed, address_key)

    def agent(self, connection: Connection, recorded: Recorded) -> bytes | None:
        """The key of the caller's user agent; None where there is none or it was erased."""
        return self._key(connection, recorded, AGENT, recorded.user_agent, agent_key)

    def person(self, recorded: Recorded) -> str | None:
        """Who is forgotten together with the caller's address, beside a person who acted; None where nobody is."""
        sealed = recorded.ip or recorded.user_agent
        if sealed is None or not sealed.startswith(_OF_A_PERSON) or recorded.actor.kind == "person":
            return None
        return subject_of(sealed).partition(":")[2] or None

    def _key(
        self,
        connection: Connection,
        recorded: Recorded,
        field: str,
        sealed: str | None,
        key_of: Callable[[PersonalData, str], bytes],
    ) -> bytes | None:
        if sealed is None:
            return None
        if sealed in self._opened:
            return self._opened[sealed]
        try:
            clear = self._open(connection, sealed, recorded.id, field)
        except SealBroken:
            # A log that somebody tampered with must still be searchable; the proofs say what happened to it.
            clear = None
        key, known = None, self._keys[key_of]
        if clear is not None:
            key = known.get(clear)
            if key is None:
                if len(known) >= KEPT:
                    known.clear()
                key = known[clear] = key_of(self._privacy, clear)
        self._opened[sealed] = key
        return key
