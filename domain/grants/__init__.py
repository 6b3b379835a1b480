"""The grant types, one file each. What the server supports, admits, registers and documents is read from `GRANTS`.

Each module has a verb `issue`, which decides a token request, and states itself as `GRANT`, a `facts.GrantType`.
"""

from domain.grants import authorization_code, client_credentials, password, refresh_token
from domain.grants.facts import GrantType

GRANTS: dict[str, GrantType] = {
    each.grant_type: each
    for each in (
        authorization_code.GRANT,
        refresh_token.GRANT,
        client_credentials.GRANT,
        password.GRANT,
    )
}
