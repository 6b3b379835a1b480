"""`grantlog demo` as a process: ready, its file, its third party, no secret in anything that it printed or stored."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import Any

import httpx
import pytest

from domain.rules import standard_claims
from security.second_factors import step_at, totp_code
from tests import plain_http
from tests.cli.processes import Running, running
from tests.scenarios.browser import Browser
from tests.started import PATIENCE, end, free_port

SERVICE_SCOPE = (
    "clients:read clients:write people:read people:write grants:read grants:write "
    "audit:read audit:personal leaks:read leaks:write keys:write introspect"
)


OF_PROFILE = ("sub", *standard_claims.OF_SCOPE["profile"])


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {
        "GRANTLOG_DATA_DIR": str(tmp_path / "data"),
        "GRANTLOG_PORT": str(free_port()),
        "GRANTLOG_DEMO_PORT": str(free_port()),
    }


def read(environment: dict[str, str]) -> dict[str, Any]:
    file = Path(environment["GRANTLOG_DATA_DIR"]) / "demo.json"
    assert S_IMODE(file.stat().st_mode) == 0o600
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def token(server: Running, member: dict[str, str]) -> httpx.Response:
    return plain_http.post(
        f"http://127.0.0.1:{server.port}/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(member["client_id"], member["client_secret"]),
    )


def third_party_answers(environment: dict[str, str]) -> bool:
    for _ in range(PATIENCE * 2):
        transport = httpx.HTTPTransport(retries=3, verify=plain_http.NO_TLS)
        with suppress(httpx.TransportError), httpx.Client(transport=transport, trust_env=False) as client:
            return "Paperboat" in client.get(f"http://127.0.0.1:{environment['GRANTLOG_DEMO_PORT']}/").text
    return False


def test_demo_starts_twice_with_the_same_secrets_and_exits_0(environment: dict[str, str], tmp_path: Path) -> None:
    with open_to_everybody(), running("demo", environment=environment, directory=tmp_path) as server:
        made = read(environment)
        assert_private(Path(environment["GRANTLOG_DATA_DIR"]))
        base = f"http://127.0.0.1:{server.port}"
        assert made["issuer"] == base
        assert set(made) == {
            "issuer",
            "administrator",
            "person",
            "dashboards",
            "third_party",
            "service",
            "person_with_factor",
        }
        for who, name, realm in (("administrator", "ada", "administration"), ("person", "paul", "platform")):
            assert made[who] == {
                "username": name,
                "email": f"{name}@example.test",
                "password": made[who]["password"],
                "realm": realm,
            }
        assert made["dashboards"] == {
            slug: {"slug": slug, "login_url": f"{base}/dashboards/{slug}/login", "origin": base}
            for slug in ("administration", "client")
        }
        assert made["third_party"]["redirect_uri"] == f"http://127.0.0.1:{environment['GRANTLOG_DEMO_PORT']}/callback"
        assert made["third_party"]["scope"] == "profile catalog:read"
        assert made["service"]["scope"] == SERVICE_SCOPE
        assert set(made["third_party"]) == {"client_id", "client_secret", "redirect_uri", "scope"}
        assert set(made["service"]) == {"client_id", "client_secret", "scope"}
        assert third_party_answers(environment)
        answer = token(server, made["service"]).json()
        assert answer["scope"] == SERVICE_SCOPE
        assert server.stop(signal.SIGTERM) == 0
        assert_nobody_listens(environment)

    with running("demo", environment=environment, directory=tmp_path) as server:
        assert read(environment) == made
        again = token(server, made["service"]).json()
        assert server.stop(signal.SIGINT) == 0

    hidden = [
        made["administrator"]["password"],
        made["person"]["password"],
        made["person_with_factor"]["password"],
        made["person_with_factor"]["totp_secret"],
        made["third_party"]["client_secret"],
        made["service"]["client_secret"],
        answer["access_token"],
        again["access_token"],
        (Path(environment["GRANTLOG_DATA_DIR"]) / "master.key").read_text().strip(),
    ]
    data = b"".join(path.read_bytes() for path in Path(environment["GRANTLOG_DATA_DIR"]).glob("grantlog.db*"))
    for secret in hidden:
        assert secret not in server.printed
        assert secret.encode() not in data
    for email in (b"ada@example.test", b"paul@example.test"):
        assert email not in data
    assert f"{made['issuer']}/dashboards/client" in server.printed
    assert f"{made['issuer']}/console/" in server.printed
    assert "demo.json" in server.printed
    assert str(Path(environment["GRANTLOG_DATA_DIR"]) / "mail") in server.printed


async def test_the_third_party_signs_somebody_in_and_shows_who(environment: dict[str, str], tmp_path: Path) -> None:
    with running("demo", environment=environment, directory=tmp_path):
        made = read(environment)
        assert third_party_answers(environment)
        application = f"http://127.0.0.1:{environment['GRANTLOG_DEMO_PORT']}"
        async with plain_http.caller(application) as there, plain_http.caller(made["issuer"]) as here:
            asked = (await there.get("/sign-in")).headers["location"]
            browser = Browser(here)
            typed = {"username": made["person"]["username"], "password": made["person"]["password"]}
            page = await browser.press(await browser.open(asked), "/oauth/authorize/sign-in", **typed)
            page = await browser.press(page, "/oauth/authorize/consent", ("decision", "approve"))
            assert (await there.get(page.location)).headers["location"] == "/"
            shown = (await there.get("/")).text
    assert "<h1>Hello, Paul Baker</h1>" in shown
    for claim in OF_PROFILE:
        assert f'id="person-{claim}"' in shown
    assert 'id="person-email"' not in shown


async def test_a_person_is_ready_who_has_a_second_factor(environment: dict[str, str], tmp_path: Path) -> None:
    with running("demo", environment=environment, directory=tmp_path):
        made = read(environment)
        petra = made["person_with_factor"]
        assert (petra["username"], petra["realm"]) == ("petra", "platform")
        async with plain_http.caller(made["issuer"]) as here:
            browser = Browser(here)
            page = await browser.open("/account/sign-in?realm=platform")
            typed = {"username": petra["username"], "password": petra["password"]}
            page = await browser.press(page, "/account/sign-in", **typed)
            code = totp_code(petra["totp_secret"], step_at(int(time.time() * 1_000_000)))
            page = await browser.press(page, "/account/sign-in", code=code)
    assert "Signed in as <strong><bdi>petra</bdi>" in page.text


@contextmanager
def open_to_everybody() -> Iterator[None]:
    """What is started meanwhile has the widest umask that there is."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def assert_private(data: Path) -> None:
    """Nobody else may read what lies there."""
    found = {path: S_IMODE(path.stat().st_mode) for path in (data, *data.rglob("*"))}
    assert found[data] == 0o700
    assert {"grantlog.db", "master.key", "throttle-1", "metrics"} <= {path.name for path in found}
    assert not {path: oct(mode) for path, mode in found.items() if mode & 0o077}


def assert_nobody_listens(environment: dict[str, str]) -> None:
    for name in ("GRANTLOG_PORT", "GRANTLOG_DEMO_PORT"):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(environment[name]))) != 0


def test_a_taken_port_of_the_third_party_is_a_warning(environment: dict[str, str], tmp_path: Path) -> None:
    port = int(environment["GRANTLOG_DEMO_PORT"])
    with (
        socket.create_server(("127.0.0.1", port)),
        running("demo", environment=environment, directory=tmp_path) as server,
    ):
        assert f"port {port} is taken" in server.printed
        assert "Third party" not in server.printed
        assert server.stop() == 0


def test_taken_port_is_reported_before_anything_is_made(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", int(environment["GRANTLOG_PORT"]))):
        refused = Running(("demo",), environment, tmp_path)
        try:
            assert refused.process.wait(PATIENCE) == 1
        finally:
            end(refused.process)
    assert f"cannot listen on 127.0.0.1:{environment['GRANTLOG_PORT']}" in refused.printed
    assert "Start here" not in refused.printed
    assert not Path(environment["GRANTLOG_DATA_DIR"]).exists()


def test_a_lost_file_is_exit_code_3_and_says_what_to_do(environment: dict[str, str], tmp_path: Path) -> None:
    with running("demo", environment=environment, directory=tmp_path) as server:
        server.stop()
    (Path(environment["GRANTLOG_DATA_DIR"]) / "demo.json").unlink()
    again = Running(("demo",), environment, tmp_path)
    try:
        assert again.process.wait(PATIENCE) == 3
        with pytest.raises(ProcessLookupError):
            os.killpg(again.process.pid, 0)
    finally:
        end(again.process)
    assert "is missing or unreadable. Put it back, or begin anew" in again.printed
