"""Ends secrets for somebody who holds them and is asked nothing else; what lived is told of as an incident."""

from collections.abc import Sequence
from typing import Any

from api.leaks.containing import Containment, Wanted
from api.leaks.targets import Alone, Target, of_secret
from domain.incident import Source
from eventstore import issued
from eventstore.asking import Connection
from eventstore.commands import Origin
from eventstore.issued import Issued
from eventstore.ledger import Ledger


def reported(connection: Connection, digests: Sequence[bytes]) -> list[Target]:
    """What these secrets are, each by itself; nothing for those that were never issued."""
    found = issued.find_all(connection, digests)
    return [_alone(connection, found[digest]) for digest in digests if digest in found]


def _alone(connection: Connection, found: Issued) -> Target:
    """An access token ends alone (RFC 7009 §2.1)."""
    target = of_secret(connection, found)
    if found.kind != "access" or found.grant_id is None or found.expires_at is None:
        return target
    return target._replace(grants=(), alone=(Alone(found.grant_id, found.sha256, found.expires_at),))


async def end(ledger: Ledger, target: Target, origin: Origin, source: Source = "public_revocation") -> str | None:
    """Ends what is alive of it, in one transaction with its incident, whose id is returned.

    None, and nothing is recorded, where all is dead already: nobody fills the log with repeats.
    """
    containment = Containment(ledger, target, Wanted(), source=source, only_alive=True)
    await containment.prepare()
    executed: Any = await ledger.execute(*containment.commands(), origin=origin)
    return None if executed.refusal is not None else containment.incident_id
