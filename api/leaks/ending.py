"""Ends one secret for somebody who holds it and is asked nothing else; what lived is told of as an incident."""

from typing import Any

from sqlalchemy import Connection

from api.leaks.containing import Containment, Wanted
from api.leaks.targets import Target, of_secret
from domain.incident import Source
from eventstore import issued
from eventstore.commands import Origin
from eventstore.ledger import Ledger


async def end(ledger: Ledger, digest: bytes, origin: Origin, source: Source = "public_revocation") -> str | None:
    """Ends what has this digest, in one transaction with its incident, whose id is returned.

    None, and nothing is recorded, for what was never issued or is dead already: nobody fills the log with repeats. An
    access token ends alone (RFC 7009 §2.1); anything else as `POST /leaks/contain` ends it.
    """
    target = await ledger.read(_target, digest)
    if target is None:
        return None
    containment = Containment(ledger, target, Wanted(), source=source, only_alive=True)
    await containment.prepare()
    executed: Any = await ledger.execute(*containment.commands(), origin=origin)
    return None if executed.refusal is not None else containment.incident_id


def _target(connection: Connection, digest: bytes) -> Target | None:
    found = issued.find(connection, digest)
    if found is None:
        return None
    target = of_secret(connection, found)
    return target._replace(alone_until=found.expires_at) if found.kind == "access" else target
