"""Questions about the log. Who may ask is alike for all, and so is that asking is an event."""

from typing import Any

from api.audit import figures, long_answers, questions

ROUTES: list[Any] = [*questions.ROUTES, *figures.ROUTES, *long_answers.ROUTES]
