"""oauth4webapi, certified as well, on which many libraries of the JavaScript world are built."""

from pathlib import Path

from tests.clients.conftest import Stage
from tests.clients.program import play


async def test_signing_in(stage: Stage, openid_client: Path) -> None:
    got = await play(("node", "oauth4webapi.mjs"), openid_client, stage, stage.shop)
    assert got["claims"]["sub"] == got["person"]["sub"] == stage.person.account_id
    assert got["person"]["email"] == stage.person.email
