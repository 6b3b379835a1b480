"""The grant types, one file each. What the server supports, admits and documents is read from `GRANTS`.

Each module states `GRANT_TYPE`, the `RESPONSE_TYPES` that lead to it, the `CREDENTIAL` (the parameter with a secret
that belongs to an existing grant, None where a request starts one), and `issue`, which decides a token request.
"""

from types import ModuleType

from domain.grants import authorization_code, client_credentials, password, refresh_token

GRANTS: dict[str, ModuleType] = {
    module.GRANT_TYPE: module for module in (authorization_code, refresh_token, client_credentials, password)
}
