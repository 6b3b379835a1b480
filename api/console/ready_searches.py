"""Searches that are there before anybody has saved one: what auditors and security teams look for first."""

from collections.abc import Mapping
from typing import NamedTuple

from api.console.searching import Given, address_of


class ReadySearch(NamedTuple):
    """A search by its name."""

    name: str
    url: str


_ACTS = (
    *("client.registered", "client.updated", "client.deleted", "client.disabled", "client.enabled"),
    *("client.secret_issued", "client.secret_rotated", "client.secret_revoked", "client.tokens_ended"),
    *("account.disabled", "account.enabled", "account.erased", "account.roles_changed", "account.factors_reset"),
    *("role.*", "scope.*", "realm_policy.*", "server.issuance_suspended", "server.issuance_resumed"),
    *("trusted_issuer.*", "upstream.*", "destination.*", "signing_key.*", "log_key.*", "incident.*"),
)

_SEARCHES: Mapping[str, Given] = {
    "All that failed": {"outcome": ["failure"], "range": ["7d"]},
    "Failed sign-ins": {
        "type": [
            "account.sign_in_failed",
            "account.factor_failed",
            "realm.unknown_user_refused",
            "realm.sign_ins_refused",
        ],
    },
    "Refused codes": {
        "type": ["grant.code_refused", "grant.code_replayed", "grant.refresh_refused", "grant.refresh_replayed"],
        "range": ["7d"],
    },
    "Uses of dead secrets": {"type": ["client.secret_expired_used"], "range": ["30d"]},
    "Administrative acts": {"type": [*_ACTS], "range": ["7d"]},
    "Roles given": {"type": ["account.roles_changed", "role.*"], "range": ["30d"]},
    "Reads and exports": {
        "type": [
            *("audit.read", "audit.export_opened", "audit.list_export_opened", "account.data_exported"),
            "transfer.exported",
        ],
        "range": ["7d"],
    },
}

READY = tuple(ReadySearch(name, address_of(given)) for name, given in _SEARCHES.items())
