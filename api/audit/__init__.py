"""Questions about the log, one file a question. Who may ask is alike for all, and so is that asking is an event."""

from typing import Any

from api.audit import event_search, exports, stream, token_questions

ROUTES: list[Any] = [
    *event_search.ROUTES,
    *token_questions.ROUTES,
    *exports.ROUTES,
    *stream.ROUTES,
]
