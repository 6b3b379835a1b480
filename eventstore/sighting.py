"""Which event tells of a use of a client secret version, and from where."""

from sqlalchemy import Connection

from domain import client_secret, grant, usage
from domain.event import Recorded
from domain.sealed import Sealed
from eventstore.following import address_key
from eventstore.privacy import Privacy
from projections.sightings import NOBODY, Sighting
from security.sealing import SealBroken

_AGENT = "user_agent"
_AGENT_KEY_BYTES = 8


def seen(connection: Connection, privacy: Privacy, recorded: Recorded) -> Sighting | None:
    """The use that an event tells of; None where it tells of none."""
    event = recorded.event
    count, after_end = 1, 0
    match event:
        case grant.TokensIssued() | grant.TokensRefreshed() if event.secret_id is not None:
            secret_id = event.secret_id
        case usage.FirstSeen():
            secret_id = recorded.stream.partition(":")[2]
        case usage.Seen():
            secret_id, count = recorded.stream.partition(":")[2], event.count
        case client_secret.SecretExpiredUsed():
            secret_id, count, after_end = event.secret_id, 0, event.count
        case _:
            return None
    ip, agent = _clear(connection, privacy, recorded, "ip"), _clear(connection, privacy, recorded, _AGENT)
    actor = recorded.actor
    return Sighting(
        secret_id,
        actor.id if actor.kind == "person" and actor.id else NOBODY,
        b"" if ip is None else address_key(privacy, ip),
        b"" if agent is None else privacy.index(_AGENT, "", agent)[:_AGENT_KEY_BYTES],
        recorded.time,
        recorded.time,
        count,
        after_end,
        None if recorded.ip is None else f"{recorded.id}|ip|{recorded.ip}",
        None if recorded.user_agent is None else f"{recorded.id}|{_AGENT}|{recorded.user_agent}",
    )


def _clear(connection: Connection, privacy: Privacy, recorded: Recorded, field: str) -> str | None:
    sealed = getattr(recorded, field)
    if sealed is None:
        return None
    try:
        return privacy.open(connection, Sealed(recorded.id, field, sealed))
    except SealBroken:
        # A log that somebody tampered with must still be searchable; the proofs say what happened to it.
        return None
