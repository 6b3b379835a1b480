"""What clients were refused lately, for anyone who looks after them: by request id, with the reason, and nothing that
was sent. A process gathers it, and writes it a moment later.
"""

from collections import deque

from api.http.cors import CLIENT
from api.http.errors import ConsentRequired, HTTPError, InteractionRequired, LoginRequired
from api.http.request_context import Scope, request_context
from domain import client
from eventstore.database import client_refusals
from eventstore.database.client_refusals import KEPT, RefusalRow
from eventstore.ledger import Ledger

CLIENTS_AT_ONCE = 500
"""Clients of which refusals are gathered before they are written; of more none are kept."""


class ClientRefusals:
    """One per process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._noted: dict[str, deque[RefusalRow]] = {}

    def note(self, scope: Scope, error: HTTPError, asking: client.State | None = None) -> None:
        """Notes a refusal of the client that the request was from, if it is known: of `asking`, or of whom the scope
        names. That the person has to do something is none."""
        asking = scope.get(CLIENT) if asking is None else asking
        if isinstance(error, LoginRequired | ConsentRequired | InteractionRequired):
            return
        if not isinstance(asking, client.State) or not asking.exists:
            return
        noted = self._noted.get(asking.client_id)
        if noted is None:
            if len(self._noted) >= CLIENTS_AT_ONCE:
                return
            noted = self._noted[asking.client_id] = deque(maxlen=KEPT)
        words = "; ".join(f"{each.field}: {each.detail}" for each in error.errors) or error.detail
        cause = error.cause or error.reason
        request_id = request_context(scope).request_id
        noted.append(RefusalRow(self._ledger.clock.now(), request_id, scope["path"], error.code, cause, words))

    async def record(self) -> None:
        """Writes what was noted."""
        if self._noted:
            noted, self._noted = self._noted, {}
            await self._ledger.maintain(client_refusals.write, noted)

    async def of(self, client_id: str) -> list[RefusalRow]:
        """The last refusals of a client, newest first; those of other processes up to a moment ago."""
        await self.record()
        return await self._ledger.read(client_refusals.newest, client_id)
