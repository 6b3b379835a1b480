"""A server that is given another issuer than its log knows does not start until that is accepted."""

from typing import Any

import pytest

from api.app import create
from api.services import IssuerChanged
from cli.command_services import load_settings, open_keys
from cli.serve import prepare
from tests.cli.conftest import ISSUER, CommandLine

MOVED = "https://moved.example"


@pytest.fixture(autouse=True)
def _environment(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value or "")


async def started(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    """One worker's start and stop, under this issuer."""
    monkeypatch.setenv("GRANTLOG_ISSUER", issuer)
    settings = load_settings()
    inner: Any = create(settings, lambda: open_keys(settings)).app
    async with inner.lifespan():
        pass


@pytest.mark.anyio
async def test_a_worker_starts_under_the_issuer_that_its_log_knows(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(monkeypatch, ISSUER)
    before = cli.events()
    with pytest.RaisesGroup(IssuerChanged, allow_unwrapped=True, flatten_subgroups=True):
        await started(monkeypatch, MOVED)
    assert cli.events() == before


def test_workers_accept_the_configured_issuer_and_no_other(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from cli.terminal import Failure

    asyncio.run(started(monkeypatch, ISSUER))

    def prepared(issuer: str) -> None:
        monkeypatch.setenv("GRANTLOG_ISSUER", issuer)
        settings = load_settings()
        prepare(settings, open_keys(settings))

    prepared(ISSUER)
    with pytest.raises(Failure, match=f"run: grantlog issuer accept {MOVED}"):
        prepared(MOVED)
    assert "starts as https://moved.example" in cli.run("issuer", "accept", MOVED).stdout
    (accepted,) = cli.newest()
    assert (accepted["type"], accepted["data"]) == ("server.issuer_accepted", {"issuer": MOVED, "former": ISSUER})
    prepared(MOVED)
    asyncio.run(started(monkeypatch, MOVED))
    with pytest.raises(Failure, match=f"this log is that of {MOVED}"):
        prepared(ISSUER)
    head = len(cli.events())
    assert "Nothing to do" in cli.run("issuer", "accept", MOVED).stdout
    assert len(cli.events()) == head


@pytest.mark.parametrize(
    "url", ["http://login.example", "https://login.example/path", "login.example", "https://a@b.c"]
)
def test_what_can_be_no_issuer_is_refused(cli: CommandLine, url: str) -> None:
    before = cli.events()
    assert "URL: " in cli.run("issuer", "accept", url, exits=2).stderr
    assert cli.events() == before


def test_addresses_are_those_under_which_the_log_is_served(cli: CommandLine) -> None:
    """Not those of this shell's settings, which may be the defaults."""
    cli.run("issuer", "accept", "https://id.example.net")
    assert cli.environment["GRANTLOG_ISSUER"] != "https://id.example.net"
    urls = [each["login_url"] for each in cli.json("dashboard", "list")]
    assert urls == [f"https://id.example.net/dashboards/{slug}/login" for slug in ("administration", "client")]
