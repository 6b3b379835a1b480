"""A program on a device without a browser: it shows a code, waits for its person to approve, and says what it got.

`python -m demo.device` reads `demo.json`. It works with any server whose metadata has the device grant (RFC 8628).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
PATIENCE = 5
"""Seconds between two questions where the server names none (§3.5), and by so many more when it says `slow_down`."""


class Failed(Exception):
    """Why there is nothing to show."""


class DeviceClient(msgspec.Struct, frozen=True):
    """The client that this program is."""

    client_id: str
    client_secret: str


class DeviceConfig(msgspec.Struct, frozen=True):
    """What the program needs of `demo.json`."""

    issuer: str
    third_party: DeviceClient


def connect(
    config: DeviceConfig,
    http: httpx.Client,
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
    scope: str | None = None,
) -> dict[str, Any]:
    """The token answer, once somebody has approved. Raises Failed."""
    metadata = _json(http.get(f"{config.issuer}/.well-known/oauth-authorization-server"))
    by = httpx.BasicAuth(config.third_party.client_id, config.third_party.client_secret)
    asked = {} if scope is None else {"scope": scope}
    begun = _json(http.post(metadata["device_authorization_endpoint"], data=asked, auth=by))
    say(f"Open {begun['verification_uri']} and type {begun['user_code']}")
    say(f"or open {begun['verification_uri_complete']}")
    interval, left = begun.get("interval", PATIENCE), begun["expires_in"]
    while left > 0:
        wait(interval)
        left -= interval
        data = {"grant_type": GRANT_TYPE, "device_code": begun["device_code"]}
        answer = http.post(metadata["token_endpoint"], data=data, auth=by)
        found: dict[str, Any] = answer.json()
        match found.get("error"):
            case None:
                return found
            case "authorization_pending":
                continue
            case "slow_down":
                interval += PATIENCE
            case error:
                raise Failed(found.get("error_description", error))
    raise Failed("Nobody approved in time.")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict) or not answer.is_success:
        words = found.get("error_description") if isinstance(found, dict) else None
        raise Failed(words or f"The server answered {answer.status_code}.")
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.device", description="A demo device without a browser.")
    parser.add_argument("--config", metavar="FILE", type=Path, default=Path("var/demo.json"), help="the demo's file")
    parser.add_argument("--scope", metavar="NAMES", help="scope names; all that the client has when left out")
    given = parser.parse_args(arguments)
    try:
        config = msgspec.json.decode(given.config.read_bytes(), type=DeviceConfig)
        with httpx.Client(timeout=10) as http:
            answer = connect(config, http, lambda words: print(words, flush=True), scope=given.scope)
    except (OSError, msgspec.DecodeError, httpx.HTTPError, Failed) as error:
        raise SystemExit(f"Not connected: {error}") from None
    print(f"Connected: {answer['scope']}, for {answer['expires_in']} seconds.")


if __name__ == "__main__":
    main()
