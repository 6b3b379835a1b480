"""Programs that administer: each with a token of a service client that holds just the scopes named."""

from typing import Any

import httpx

from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.scenarios.world import World

EVERYTHING = tuple(sorted(ADMINISTRATIVE_SCOPES))


async def administering(world: World, *scopes: str) -> httpx.AsyncClient:
    """A program whose requests carry a token with these scopes, or with every administrative one."""
    token = await world.token(*(scopes or EVERYTHING))
    return world.caller(headers={"authorization": f"Bearer {token}"})


def problem(answer: httpx.Response, status: int, *, field: str | None = None, reason: str | None = None) -> Any:
    """The problem details of a refusal, which must be well-formed and name the field."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    if field is not None:
        assert [error["field"] for error in body["errors"]] == [field], body
    if reason is not None:
        assert body["reason"] == reason
    return body


def ok(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None
