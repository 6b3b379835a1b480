"""The demo's program on a device: it waits as it is told to, and says why it got nothing."""

from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from demo.device import GRANT_TYPE, DeviceClient, DeviceConfig, Failed, connect, main

ISSUER = "https://id.example.test"
CONFIG = DeviceConfig(ISSUER, DeviceClient("client-1", "s3cret-of-the-client"))
TOKEN = {"access_token": "glog_at_x", "token_type": "Bearer", "expires_in": 600, "scope": "profile"}
BEGUN = {
    "device_code": "glog_dc_x",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/device",
    "verification_uri_complete": f"{ISSUER}/device?user_code=WDJB-MJHT",
    "expires_in": 60,
    "interval": 5,
}


class Server:
    """Answers the questions of a device one by one; `asked` is what it was asked."""

    def __init__(self, *answers: str | dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.begun = httpx.Response(200, json=BEGUN)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            endpoints = {"device_authorization_endpoint": f"{ISSUER}/begin", "token_endpoint": f"{ISSUER}/token"}
            return httpx.Response(200, json={"issuer": ISSUER} | endpoints)
        assert request.headers["authorization"].startswith("Basic ")
        if request.url.path == "/begin":
            return self.begun
        self.asked.append({name: values[0] for name, values in parse_qs(request.content.decode()).items()})
        answer = self.answers.pop(0)
        return (
            httpx.Response(400, json={"error": answer}) if isinstance(answer, str) else httpx.Response(200, json=answer)
        )


def run(server: Server) -> tuple[dict[str, Any], list[str], list[float]]:
    said: list[str] = []
    waited: list[float] = []
    with httpx.Client(transport=httpx.MockTransport(server)) as http:
        return connect(CONFIG, http, said.append, waited.append), said, waited


def test_it_waits_until_somebody_approves() -> None:
    server = Server("authorization_pending", "slow_down", "authorization_pending", TOKEN)
    answer, said, waited = run(server)
    assert answer == TOKEN
    assert "WDJB-MJHT" in said[0]
    assert waited == [5, 5, 10, 10]
    assert server.asked[0] == {"grant_type": GRANT_TYPE, "device_code": "glog_dc_x"}


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant"])
def test_it_says_why_it_got_nothing(error: str) -> None:
    with pytest.raises(Failed, match=error):
        run(Server(error))


def test_nobody_approves_in_time() -> None:
    with pytest.raises(Failed, match="in time"):
        run(Server(*["authorization_pending"] * 12))


def test_a_server_that_refuses_to_begin() -> None:
    server = Server()
    server.begun = httpx.Response(400, json={"error": "unauthorized_client", "error_description": "Not you."})
    with pytest.raises(Failed, match="Not you"):
        run(server)
    server.begun = httpx.Response(502, text="<html>")
    with pytest.raises(Failed, match="502"):
        run(server)


def test_a_demo_that_is_not_there_is_told(tmp_path: Any) -> None:
    with pytest.raises(SystemExit, match="Not connected"):
        main(["--config", str(tmp_path / "none.json")])
