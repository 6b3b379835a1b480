"""Leaked secrets: what they are, what came of them, ending all of it, and reports by services that found them."""

from typing import Any

from api.leaks import contain, global_revocation, incidents, investigate, revoke, scanners, told

ROUTES: list[Any] = [
    *investigate.ROUTES,
    *contain.ROUTES,
    *incidents.ROUTES,
    *told.ROUTES,
    *revoke.ROUTES,
    *scanners.ROUTES,
    global_revocation.revoke_globally,
]
