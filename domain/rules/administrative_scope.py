"""Administrative scopes open the server's own API: nobody gives one that they lack, and no third party holds any."""

from collections.abc import Iterable, Mapping, Sequence

from domain.decision import Forbidden, Outcome, refuse

FAMILIES = frozenset({"clients", "people", "grants", "audit", "leaks", "keys"})

ADMINISTRATIVE_SCOPES = frozenset(
    {
        "clients:read",
        "clients:write",
        "people:read",
        "people:write",
        "grants:read",
        "grants:write",
        "audit:read",
        "audit:personal",
        "leaks:read",
        "leaks:write",
        "keys:read",
        "keys:write",
        "introspect",
    }
)
"""Every administrative scope there is. The system's own user acts with all of them."""

IMPLIED: Mapping[str, str] = {"keys:read": "keys:write"}
"""Scopes, and the one whose holders may do the same: who changes the server's keys sees which there are."""

CONSOLE = "console"
"""The id of the one client by which people administer with a code: the server's own console, which only the one who
runs the server makes or changes."""

PEOPLE_WRITE = "people:write"
"""The scope whose holders can make administrators; the last one who does cannot be removed."""


def is_administrative(scope: str) -> bool:
    """Whole families are reserved: what a later version adds must not be anybody's already."""
    family, colon, _ = scope.partition(":")
    return scope == "introspect" or (bool(colon) and family in FAMILIES)


def administrative(scopes: Iterable[str]) -> frozenset[str]:
    """Those of the scopes that are administrative."""
    return frozenset(scope for scope in scopes if is_administrative(scope))


def handing_out(scopes: Iterable[str], *, caller_scope: frozenset[str], field: str) -> Outcome | None:
    """Refuses when the caller lacks an administrative scope among those that are given."""
    lacking = administrative(scopes) - caller_scope
    if not lacking:
        return None
    return refuse(
        Forbidden.ADMINISTRATIVE_SCOPE,
        detail="you cannot give an administrative scope that you lack yourself: " + " ".join(sorted(lacking)[:10]),
        field=field,
    )


def holding(
    scopes: Iterable[str], *, type: str, realm: str, grant_types: Sequence[str], field: str, console: bool = False
) -> Outcome | None:
    """Refuses administrative scopes for any client but services, and dashboards and the console of the realm
    `administration`."""
    if not administrative(scopes):
        return None
    service = type == "confidential" and tuple(grant_types) == ("client_credentials",)
    dashboard = type == "dashboard" and realm == "administration"
    of_console = console and type == "confidential" and realm == "administration"
    if service or dashboard or of_console:
        return None
    return refuse(
        Forbidden.THIRD_PARTY,
        detail="administrative scopes go to clients with the grant client_credentials alone"
        " and to dashboards of the realm administration",
        field=field,
    )
