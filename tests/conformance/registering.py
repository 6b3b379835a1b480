"""Registers what a plan needs at a demo, by its HTTP API as an operator would."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.plans import Plan

CODE = ["authorization_code", "refresh_token"]
CLAIMS = "openid profile email address phone offline_access"
# Only one module sends a challenge, as the platform's older applications send none.
CLAIMED: dict[str, Any] = {"grant_types": CODE, "scope": CLAIMS, "require_pkce": False}
FAPI: dict[str, Any] = {
    "profile": "fapi2",
    "id_token_signed_response_alg": "PS256",
    "grant_types": CODE,
    "scope": f"{CLAIMS} catalog:read",
}
OTHER = {"realm": "platform", "username": "quentin", "email": "quentin@example.test", "name": "Quentin Other"}
"""Somebody who never allows anything."""
SERVICE: dict[str, Any] = {"profile": "fapi2", "grant_types": ["client_credentials"], "scope": "clients:read"}
CERTIFIED: dict[str, Any] = {
    "token_endpoint_auth_method": "tls_client_auth",
    "tls_client_certificate_bound_access_tokens": True,
}
KEYED: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt", "dpop_bound_access_tokens": True}
SIGNED = FAPI | KEYED | {"require_signed_request_object": True}

CLIENTS: dict[str, dict[str, Any]] = {
    "secret": CLAIMED,
    "logout": CLAIMED,
    "back-channel": CLAIMED | {"backchannel_logout_session_required": True},
    "key": FAPI | KEYED,
    "signed": SIGNED,
    "signed-answers": SIGNED | {"authorization_signed_response_alg": "PS256"},
    "service": SERVICE | KEYED,
    "certificate-service": SERVICE | CERTIFIED,
    "certificate": FAPI | CERTIFIED,
}
"""Metadata of both clients of a plan, but for what is each one's own."""


class Registry:
    """The clients at one server, registered once for all plans that want the same."""

    def __init__(self, server: httpx.Client, demo: Path, suite: str, keys: Path) -> None:
        self._server = server
        self._demo = json.loads(demo.read_text())
        self._suite = suite
        self._keys = json.loads(keys.read_text())
        self._made: dict[str, list[dict[str, Any]]] = {}
        self._password = secrets.token_urlsafe(24)
        self._initial = self._call("/admin/initial-access-tokens", {"uses": None})
        self._call("/admin/people", OTHER | {"password": self._password})

    def environment(self, plan: Plan, address: str) -> dict[str, str]:
        """What the configuration of a plan names, whose clients exist then. `address` is where tokens are presented."""
        if plan.clients not in self._made:
            self._made[plan.clients] = [self._register(plan.clients, number) for number in ("1", "2")]
        person = self._demo["person"]
        values = {
            "GL_USERNAME": person["username"],
            "GL_PASSWORD": person["password"],
            "GL_INITIAL_ACCESS_TOKEN": self._initial["initial_access_token"],
            "GL_OTHER_USERNAME": OTHER["username"],
            "GL_OTHER_PASSWORD": self._password,
            "GL_WELL_KNOWN": plan.discovery,
            "GL_FAPI_SCOPE": plan.scope,
            "RESOURCE": f"{address}{plan.resource}",
        }
        for number, client in zip(("1", "2"), self._made[plan.clients], strict=True):
            values[f"GL_ID_{number}"] = values[f"GL_FAPI_ID_{number}"] = client["client_id"]
            values[f"GL_SECRET_{number}"] = client.get("client_secret") or ""
        return values

    def _register(self, kind: str, number: str) -> dict[str, Any]:
        given = {"client_name": f"OIDF {kind} {number}", **CLIENTS[kind], **self._own(kind, number)}
        return self._call("/admin/clients", given)

    def _own(self, kind: str, number: str) -> Mapping[str, Any]:
        here = f"{self._suite}/test/a/grantlog"
        web: dict[str, Any] = {"redirect_uris": [f"{here}/callback", f"{here}/callback?dummy1=lorem&dummy2=ipsum"]}
        keys = {"jwks": self._keys[f"client{number}_public"]}
        certified = {"tls_client_auth_subject_dn": f"CN=oidf-client-{number}"}
        match kind:
            case "secret":
                return web
            case "logout":
                return web | {"post_logout_redirect_uris": [f"{here}/post_logout_redirect"]}
            case "back-channel":
                after = {"post_logout_redirect_uris": [f"{here}/post_logout_redirect"]}
                return web | after | {"backchannel_logout_uri": f"{here}/backchannel_logout"}
            case "service":
                return keys
            case "certificate-service":
                return certified
            case "certificate":
                return web | certified
        return web | keys

    def metadata(self) -> dict[str, Any]:
        """What the server says of itself."""
        found: dict[str, Any] = self._server.get("/.well-known/openid-configuration").raise_for_status().json()
        return found

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        service = self._demo["service"]
        granted = self._server.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(service["client_id"], service["client_secret"]),
        ).raise_for_status()
        headers = {"authorization": f"Bearer {granted.json()['access_token']}"}
        answer = self._server.post(path, json=body, headers=headers)
        if answer.status_code != 201:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
        made: dict[str, Any] = answer.json()
        return made
