"""The plans that this server is to pass, each with what has to be registered before it and what it needs served."""

from typing import NamedTuple

OIDC, OAUTH = "openid-configuration", "oauth-authorization-server"
STATIC = "[server_metadata=discovery][client_registration=static_client]"
DYNAMIC = "[server_metadata=discovery][client_registration=dynamic_client]"
LOGOUT = "[response_type=code][client_registration=static_client]"
KEY, CERTIFICATE = (
    "[client_auth_type=private_key_jwt][sender_constrain=dpop]",
    "[client_auth_type=mtls][sender_constrain=mtls]",
)
SIMPLE = "[authorization_request_type=simple]"
PLAIN = f"[fapi_profile=plain_fapi]{SIMPLE}"
SIGNED = f"{PLAIN}[fapi_request_method=signed_non_repudiation]"


class Plan(NamedTuple):
    """`name` is ours, `suite` the suite's, with its variants, and `needs` a member of the metadata without which
    nothing of it can pass. `clients` says as what the two clients are registered (`registering.CLIENTS`), `scope` what
    they ask for, `discovery` where the suite finds out about the server, and `resource` what it presents tokens to."""

    name: str
    title: str
    suite: str
    clients: str = "secret"
    needs: str = "jwks_uri"
    scope: str = ""
    discovery: str = OIDC
    resource: str = "/oauth/userinfo"

    @property
    def configuration(self) -> str:
        """The file with the rest of what the suite is told."""
        return "grantlog-fapi.json" if self.suite.startswith("fapi2") else "grantlog.json"


def _fapi(name: str, title: str, variants: str, clients: str, openid: bool, kind: str = "security-profile") -> Plan:
    return Plan(
        name,
        title,
        f"fapi2-{kind}-final-test-plan[openid={'openid_connect' if openid else 'plain_oauth'}]{variants}",
        clients,
        "pushed_authorization_request_endpoint",
        "openid offline_access" if openid else "catalog:read",
        OIDC if openid else OAUTH,
    )


PLANS = (
    Plan("config", "Config", "oidcc-config-certification-test-plan"),
    Plan("basic", "Basic, static client", f"oidcc-basic-certification-test-plan{STATIC}"),
    Plan("form-post", "Form post basic, static client", f"oidcc-formpost-basic-certification-test-plan{STATIC}"),
    Plan(
        "basic-dynamic",
        "Basic, dynamic client",
        f"oidcc-basic-certification-test-plan{DYNAMIC}",
        needs="registration_endpoint",
    ),
    Plan(
        "form-post-dynamic",
        "Form post basic, dynamic client",
        f"oidcc-formpost-basic-certification-test-plan{DYNAMIC}",
        needs="registration_endpoint",
    ),
    Plan(
        "logout",
        "RP-initiated logout",
        f"oidcc-rp-initiated-logout-certification-test-plan{LOGOUT}",
        "logout",
        "end_session_endpoint",
    ),
    Plan(
        "back-channel-logout",
        "Back-channel logout",
        f"oidcc-backchannel-rp-initiated-logout-certification-test-plan{LOGOUT}",
        "back-channel",
        "backchannel_logout_supported",
    ),
    Plan(
        "fapi-service",
        "FAPI 2.0, client credentials, key and DPoP",
        f"fapi2-security-profile-final-test-plan[openid=plain_oauth]{KEY}"
        f"[fapi_profile=fapi_client_credentials_grant]{SIMPLE}",
        "service",
        "dpop_signing_alg_values_supported",
        "clients:read",
        OAUTH,
        "/admin/scopes",
    ),
    Plan(
        "fapi-service-mtls",
        "FAPI 2.0, client credentials, mTLS",
        f"fapi2-security-profile-final-test-plan[openid=plain_oauth]{CERTIFICATE}"
        f"[fapi_profile=fapi_client_credentials_grant]{SIMPLE}",
        "certificate-service",
        "tls_client_certificate_bound_access_tokens",
        "clients:read",
        OAUTH,
        "/admin/scopes",
    ),
    _fapi("fapi-oauth", "FAPI 2.0, plain OAuth, key and DPoP", f"{KEY}{PLAIN}", "key", False),
    _fapi("fapi-openid", "FAPI 2.0, OpenID Connect, key and DPoP", f"{KEY}{PLAIN}", "key", True),
    _fapi("fapi-oauth-mtls", "FAPI 2.0, plain OAuth, mTLS", f"{CERTIFICATE}{PLAIN}", "certificate", False),
    _fapi("fapi-openid-mtls", "FAPI 2.0, OpenID Connect, mTLS", f"{CERTIFICATE}{PLAIN}", "certificate", True),
    _fapi(
        "fapi-jar",
        "FAPI 2.0 message signing, JAR",
        f"{KEY}{SIGNED}[fapi_response_mode=plain_response]",
        "signed",
        True,
        "message-signing",
    ),
    _fapi(
        "fapi-jarm",
        "FAPI 2.0 message signing, JAR and JARM",
        f"{KEY}{SIGNED}[fapi_response_mode=jarm]",
        "signed-answers",
        True,
        "message-signing",
    ),
)
"""In the order in which they are run."""
