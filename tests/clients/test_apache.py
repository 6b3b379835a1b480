"""mod_auth_openidc in a real Apache: pages that it keeps for people who signed in here."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.conftest import Stage
from tests.clients.program import serving
from tests.clients.recipes import ISSUER, filled
from tests.scenarios.world import World
from tests.started import free_port

MODULES = Path("/usr/lib/apache2/modules")
LOADED = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "dir", "auth_openidc")

CONFIGURATION = """
ServerName 127.0.0.1
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/errors
DocumentRoot {folder}/pages
Listen {port}
{modules}
{recipe}
<Location />
  Header always set X-Sub expr=%{{env:OIDC_CLAIM_sub}}
  Header always set X-Email expr=%{{env:OIDC_CLAIM_email}}
</Location>
"""


@pytest.fixture
def apache() -> str:
    """The program."""
    found = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin")
    if found is None or not (MODULES / "mod_auth_openidc.so").is_file():
        pytest.skip("no Apache with mod_auth_openidc")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that whoever Apache runs as can read."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        (Path(made) / "pages").mkdir()
        (Path(made) / "pages" / "index.html").write_text("for those who are known")
        yield Path(made)


async def test_pages_of_apache(stage: Stage, world: World, apache: str, folder: Path) -> None:  # noqa: F811
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    callback = f"{address}/callback"
    client = await world.register_client("Pages", redirect_uris=(callback,), scope=("openid", "email"))
    assert client.secret is not None
    given = CONFIGURATION.format(
        folder=folder,
        port=f"127.0.0.1:{port}",
        modules="\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED),
        recipe=filled(
            "mod_auth_openidc",
            {
                ISSUER: stage.issuer,
                "CLIENT_ID": client.client_id,
                "CLIENT_SECRET": client.secret,
                "https://prints.example.com": address,
                "PASSPHRASE": "of-this-test",
            },
        ),
    )
    (folder / "apache.conf").write_text(given)
    async with serving((apache, "-f", folder / "apache.conf", "-DFOREGROUND"), address, folder):
        shown = await stage.visit(f"{address}/", callback)
    assert shown.text == "for those who are known"
    assert shown.headers["x-sub"] == stage.person.account_id
    assert shown.headers["x-email"] == stage.person.email
