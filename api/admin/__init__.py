"""The administration's part of the JSON API, one file for each kind of resource."""

from typing import Any

from api.admin import (
    authorization_detail_types,
    brandings,
    client_secrets,
    clients,
    dashboards,
    destinations,
    grants,
    initial_access_tokens,
    invitations,
    people,
    permissions,
    realms,
    signing_keys,
    status,
    trusted_issuers,
)

ROUTES: list[Any] = [
    *clients.ROUTES,
    *client_secrets.ROUTES,
    *initial_access_tokens.ROUTES,
    *dashboards.ROUTES,
    *people.ROUTES,
    *invitations.ROUTES,
    *permissions.ROUTES,
    *realms.ROUTES,
    *brandings.ROUTES,
    *grants.ROUTES,
    *signing_keys.ROUTES,
    *trusted_issuers.ROUTES,
    *status.ROUTES,
    *authorization_detail_types.ROUTES,
    *destinations.ROUTES,
]
"""Every route; each names the scope that it needs in `opt["scope"]`."""
