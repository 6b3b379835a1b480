"""Questions about the log, one file a question. Who may ask is alike for all, and so is that asking is an event."""

from typing import Any

from api.audit import events, export, proofs, state, stream, token_history, token_state

ROUTES: list[Any] = [
    *events.ROUTES,
    *token_history.ROUTES,
    *token_state.ROUTES,
    *state.ROUTES,
    *export.ROUTES,
    *stream.ROUTES,
    *proofs.ROUTES,
]
