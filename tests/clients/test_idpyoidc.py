"""idpyoidc, on which SATOSA and other identity federations are built; it checks every message against a schema."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.clients.conftest import CALLBACK, Stage

rp_handler = pytest.importorskip("idpyoidc.client.rp_handler", reason="idpyoidc is not installed: make dev")

PKCE = {
    "function": "idpyoidc.client.oauth2.add_on.pkce.add_support",
    "kwargs": {"code_challenge_length": 64, "code_challenge_method": "S256"},
}


def configuration(stage: Stage) -> dict[str, Any]:
    return {
        "issuer": stage.issuer,
        "client_id": stage.shop.client_id,
        "client_secret": stage.shop.secret,
        "client_type": "oidc",
        "redirect_uris": [CALLBACK],
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "email"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "add_ons": {"pkce": PKCE},
    }


async def test_signing_in(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It leaves keys of its own where it runs.
    monkeypatch.chdir(tmp_path)
    handler = rp_handler.RPHandler("http://127.0.0.1:9400", {stage.issuer: configuration(stage)})
    address = handler.begin(stage.issuer)
    response = dict(parse_qsl(urlsplit(await stage.approve(address)).query))
    got = handler.finalize(stage.issuer, response)
    assert got["userinfo"]["sub"] == got["id_token"]["sub"] == stage.person.account_id
    assert got["userinfo"]["email"] == stage.person.email
