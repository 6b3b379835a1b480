"""Secrets of clients that another system made and kept a hash of: the first time one is shown it becomes a version."""

from typing import Any

from msgspec.structs import replace

from api.http.credential_cache import Caller, caller
from api.http.load_shedding import away
from api.http.request_context import request_context
from api.services import Services, origin
from api.throttling.limits import group
from commands.clients import adopt_secret
from domain import client
from domain.client_secret import NewSecret, SecretVersion
from domain.event import Actor
from domain.registering.foreign_secret import LEAST
from eventstore.execution import Origin
from security.fair_queue import Asker
from security.tokens import digest, new_id


async def adopted(services: Services, scope: Any, state: client.State, secret: str) -> Caller | None:
    """The client, if this is the secret of which another system's hash is known; None if not, or if it is so short that
    its digest could be guessed. Raises the hasher's Overloaded."""
    encoded = await services.ledger.unseal(state.foreign_secret)
    if encoded is None or state.foreign_secret is None or len(secret) < LEAST:
        return None
    asker = Asker(group(request_context(scope).address), state.client_id)
    with away(scope):
        proven = (await services.hasher.verify(encoded, secret, asker)).ok
    if not proven:
        return None
    sha256 = digest(secret).hex()
    by: Origin = replace(origin(scope), actor=Actor("client", state.client_id))
    command = adopt_secret(
        state.client_id, NewSecret(new_id(), sha256, foreign=True), verified=state.foreign_secret.event_id
    )
    await services.ledger.execute(command, origin=by)
    # Somebody who showed it at the same time may have been faster.
    fresh: client.State = await services.ledger.state(client.stream(state.client_id))
    found = client.authenticate(fresh, sha256, services.ledger.clock.now())
    return caller(fresh, found.secret_id) if isinstance(found, SecretVersion) else None
