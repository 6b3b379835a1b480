"""Leaked secrets: what they are, what came of them, and ending all of it; one file a question or command."""

from typing import Any

from api.leaks import contain, credentials, freeze, incidents, investigate, investigation_pages

ROUTES: list[Any] = [
    *investigate.ROUTES,
    *investigation_pages.ROUTES,
    *contain.ROUTES,
    *incidents.ROUTES,
    *freeze.ROUTES,
    *credentials.ROUTES,
]
