"""Programs of the Go world: go-oidc over x/oauth2, on which most of them are built, and oauth2-proxy, which is."""

import secrets
from pathlib import Path

import pytest

from tests.clients.conftest import Stage
from tests.clients.program import play, serving
from tests.clients.recipes import ISSUER, filled
from tests.scenarios.world import World
from tests.started import free_port

PROGRAMS = Path(__file__).parents[1] / "go_clients" / "bin"


@pytest.fixture
def programs() -> Path:
    """Where `make test` builds what this module is about."""
    if not (PROGRAMS / "oauth2-proxy").is_file():
        pytest.skip("no Go, or `make test` has not built tests/go_clients")
    return PROGRAMS


async def test_signing_in(stage: Stage, programs: Path, tmp_path: Path) -> None:
    got = await play((programs / "sign_in",), tmp_path, stage, stage.shop)
    assert got == {"signed": stage.person.account_id, "sub": stage.person.account_id, "email": stage.person.email}


async def test_oauth2_proxy(stage: Stage, programs: Path, world: World, tmp_path: Path) -> None:  # noqa: F811
    address = f"http://127.0.0.1:{free_port()}"
    callback = f"{address}/oauth2/callback"
    client = await world.register_client("Proxy", redirect_uris=(callback,), scope=("openid", "email"))
    assert client.secret is not None
    given = filled(
        "oauth2-proxy",
        {
            ISSUER: stage.issuer,
            "CLIENT_ID": client.client_id,
            "CLIENT_SECRET": client.secret,
            "https://prints.example.com": address,
            "COOKIE_SECRET": secrets.token_urlsafe(24),
            "http://127.0.0.1:9000": "static://202",
            "127.0.0.1:4180": address.removeprefix("http://"),
        },
    )
    (tmp_path / "oauth2-proxy.cfg").write_text(given)
    # The rest is for a test without TLS, whose browser presses no button.
    options = ("--config=oauth2-proxy.cfg", "--cookie-secure=false", "--skip-provider-button")
    async with serving((programs / "oauth2-proxy", *options), f"{address}/ping", tmp_path):
        shown = await stage.visit(f"{address}/prints", callback)
    assert shown.status_code == 202, shown.text
    assert shown.headers["x-auth-request-user"] == stage.person.account_id
    assert shown.headers["x-auth-request-email"] == stage.person.email
