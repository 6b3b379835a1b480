"""A secret that is presented after its end may have leaked: by setting, that opens an incident."""

from collections.abc import Mapping
from typing import Any

from domain import incident
from domain.decision import Refusal
from domain.refusal import Conflict
from eventstore.commands import Command, Origin
from eventstore.ledger import Ledger
from eventstore.present import incidents
from eventstore.view import View
from security.ids import new_id


async def suspect(ledger: Ledger, client_id: str, secret_id: str, sha256: str | None, origin: Origin) -> None:
    """Opens one, unless there is an open one about the same version already."""
    if sha256 is None or await ledger.look(incidents.open_about, sha256=(sha256,)) is not None:
        return

    def under_lock(view: View) -> Mapping[str, Any] | Refusal:
        # Whoever has it tries it more than once at a time.
        known = view.look(incidents.open_about, sha256=(sha256,))
        return {} if known is None else Refusal(Conflict.EXISTS)

    stream = incident.stream(new_id())
    reported = {"source": "policy", "sha256": sha256, "kind": "client_secret"}
    about = {"target": "secret", "client_id": client_id, "secret_id": secret_id}
    await ledger.execute(
        Command(stream, incident.report, reported, under_lock, starts=True),
        Command(stream, incident.identify, about),
        origin=origin,
    )
