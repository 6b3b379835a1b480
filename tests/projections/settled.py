"""The parties of the grants' stories as rows, as their own projections leave them."""

from sqlalchemy import Connection, insert

from projections import accounts, clients, consents, secrets
from tests.domain.story import DASHBOARD, SERVICE, THIRD_PARTY


def settle(connection: Connection) -> None:
    """Writes a row for each client, secret version and person, and for the consent."""
    for position, each in enumerate((THIRD_PARTY, DASHBOARD, SERVICE), 1):
        connection.execute(
            insert(clients.TABLE).values(
                client_id=each.client_id,
                position=position,
                type=each.type,
                slug=each.slug,
                realm=each.realm,
                client_name="",
                name_key=b"",
                redirect_uris="[]",
                grant_types="[]",
                scope="[]",
                token_endpoint_auth_method="client_secret_basic",
                require_pkce=True,
                allowed_origins="[]",
                resources="[]",
                serves="[]",
                state="enabled",
                cutoff=0,
                created_at=0,
                updated_at=0,
            )
        )
    for version in THIRD_PARTY.secrets:
        connection.execute(
            insert(secrets.TABLE).values(
                secret_id=version.secret_id,
                client_id="third",
                version=version.version,
                sha256=bytes.fromhex(version.sha256),
                created_at=0,
                tokens_cutoff=0,
            )
        )
    connection.execute(
        insert(accounts.TABLE).values(
            account_id="paul",
            position=9,
            realm="platform",
            username="sealed",
            roles="[]",
            state="enabled",
            cutoff=0,
            password_cutoff=0,
            created_at=0,
            updated_at=0,
        )
    )
    connection.execute(
        insert(consents.TABLE).values(
            account_id="paul", client_id="third", scope="[]", cutoff=0, given_at=0, updated_at=0
        )
    )
