"""Scheduled rotation: warns of secrets that are about to be too old, and rotates those that only the server holds."""

from typing import Any

from api.dashboards.secret import vault_name
from api.services import Services
from api.starting import SYSTEM
from domain import client, client_secret, rotation
from domain.decision import Outcome, accept
from domain.event import Moment
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.commands import Command, Origin
from eventstore.view import View
from projections import rotations
from security.ids import new_id
from security.tokens import Kind


async def rotate_due(here: Services) -> None:
    """Does what is due now. Any number of processes may: what one has done the others find done under the lock."""
    for due in await here.ledger.read(rotations.due, here.ledger.clock.now()):
        if due.over:
            await _rotate(here, due.client_id)
        else:
            command = Command(client.stream(due.client_id), rotation.announce)
            await here.ledger.execute(command, origin=Origin(SYSTEM))


async def _rotate(here: Services, client_id: str) -> None:
    secret = here.format.mint(Kind.CLIENT_SECRET)
    facts = {"secret_id": new_id(), "secret_sha256": secret.hex, "caller_scope": ADMINISTRATIVE_SCOPES}

    def keep(view: View, recorded: Any) -> None:
        if recorded:
            value = secret.reveal().encode("ascii")
            here.ledger.vault.put_secret(view.connection, vault_name(client_id), value, view.now)

    await here.ledger.execute(
        Command(client.stream(client_id), _rotate_if_due, facts), origin=Origin(SYSTEM), then=keep
    )


def _rotate_if_due(state: client.State, *, now: Moment, **facts: Any) -> Outcome:
    return client_secret.rotate(state, now=now, **facts) if rotation.is_due(state, now) else accept()
