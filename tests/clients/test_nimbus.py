"""Nimbus' SDK, the client of most of the Java world: Spring Security's is made of it."""

import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import Stage
from tests.clients.program import play

FOLDER = Path(__file__).parents[1] / "java_client"


@pytest.fixture
def java() -> Path:
    """The folder of the program, with the libraries that `make test` fetches."""
    if shutil.which("java") is None or not (FOLDER / "lib").is_dir():
        pytest.skip("no Java, or `make test` has not prepared tests/java_client")
    return FOLDER


async def test_signing_in(stage: Stage, java: Path) -> None:
    got = await play(("java", "-cp", "lib/*", "SignIn.java"), java, stage, stage.shop)
    assert got == {"signed": stage.person.account_id, "sub": stage.person.account_id, "email": stage.person.email}
