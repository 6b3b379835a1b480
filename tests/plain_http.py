"""Requests to servers on this machine, which speak no TLS: the authorities' certificates take 20 ms to read."""

import ssl
from typing import Any

import httpx

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody."""
PATIENCE = 60
"""Seconds. A machine that is busy with other tests needs a multiple of what an answer takes."""

_GIVEN: dict[str, Any] = {"trust_env": False, "timeout": PATIENCE, "verify": NO_TLS}


def get(url: str, **given: Any) -> httpx.Response:
    """The answer over a connection of its own."""
    return httpx.get(url, **_GIVEN | given)


def post(url: str, **given: Any) -> httpx.Response:
    """The answer over a connection of its own."""
    return httpx.post(url, **_GIVEN | given)


def client(base_url: str = "", **given: Any) -> httpx.Client:
    return httpx.Client(base_url=base_url, **_GIVEN | given)


def caller(base_url: str = "", **given: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, **_GIVEN | given)
