"""Read models: each file declares its table, what events write there, and its queries. A rebuild goes by this list."""

from types import ModuleType

from projections import accounts, clients, consents, grants, roles, scopes, secrets, sessions, tokens

PROJECTIONS: tuple[ModuleType, ...] = (
    clients,
    secrets,
    accounts,
    consents,
    sessions,
    scopes,
    roles,
    grants,
    tokens,
)
"""Every read model, each with `VERSION`, `HANDLES` and `project`."""
