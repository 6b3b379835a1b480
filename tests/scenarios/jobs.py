"""What a client that acts for itself asks for."""

from typing import Any

from tests.scenarios.world import Client, World


async def token(world: World, client: Client, **given: Any) -> Any:
    """The answer to its request for a token; `caller` says from where it comes."""
    caller = given.pop("caller", world.client)
    return await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth, **given)
