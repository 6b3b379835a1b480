"""The grant types, one file each. What the server supports, admits, registers and documents is read from `GRANTS`.

`validity` is the rule by which what they issue is alive. Each grant type has a verb
`issue`, which decides a token request, and states itself as `GRANT`, a `GrantType`.
"""

from domain.grants import (
    authorization_code,
    client_credentials,
    device_code,
    jwt_bearer,
    password,
    refresh_token,
    token_exchange,
)
from domain.grants.grant_type import GrantType

GRANTS: dict[str, GrantType] = {
    each.GRANT.grant_type: each.GRANT
    for each in (
        authorization_code,
        refresh_token,
        client_credentials,
        device_code,
        token_exchange,
        jwt_bearer,
        password,
    )
}
