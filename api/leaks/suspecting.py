"""A secret that is presented after its end may have leaked: by setting, that opens an incident."""

from domain import incident
from eventstore.commands import Command, Origin
from eventstore.ledger import Ledger
from projections import incidents
from security.ids import new_id


async def suspect(ledger: Ledger, client_id: str, secret_id: str, sha256: str | None, origin: Origin) -> None:
    """Opens one, unless there is an open one about the same version already."""
    if sha256 is None or await ledger.read(incidents.open_about, sha256=sha256) is not None:
        return
    stream = incident.stream(new_id())
    reported = {"source": "policy", "sha256": sha256, "kind": "client_secret"}
    about = {"target": "secret", "client_id": client_id, "secret_id": secret_id}
    await ledger.execute(
        Command(stream, incident.report, reported, starts=True),
        Command(stream, incident.identify, about),
        origin=origin,
    )
