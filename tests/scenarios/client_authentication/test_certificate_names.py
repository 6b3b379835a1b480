"""The name in a client's certificate may be somebody's: sealed in the log, shown to who may see personal values."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.scenarios.administration import administering, ok
from tests.scenarios.client_authentication.test_tls_client_auth import (
    AUTHORITY,
    ask,
    mtls_settings,
    pem,
    refused,
    register,
)
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

EMAIL = "tls_client_auth_san_email"
JANE = "jane.doe@example.test"


@pytest.fixture
def settings_given(tmp_path: Path) -> dict[str, Any]:
    return mtls_settings(tmp_path) | {"throttle": False}


async def test_name_in_a_certificate_is_sealed(world: World) -> None:
    theirs, _ = AUTHORITY.issue("job", names=[x509.RFC822Name(JANE)])
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{EMAIL: JANE})
    ok(await ask(world, client_id, pem(theirs)))
    (told,) = await world.events("client.keys_registered")
    assert told.event.certificate_member == EMAIL
    assert JANE not in str(await world.events())
    personal, other = await administering(world), await administering(world, "audit:read")
    shown, hidden = [ok(await each.get(f"/audit/events/{told.position}")) for each in (personal, other)]
    assert shown["data"]["certificate_name"] == JANE
    assert hidden["data"]["certificate_name"] is None
    assert "data.certificate_name" in hidden["sealed"]
    state = ok(await other.get(f"/audit/state/client:{client_id}"))
    assert JANE not in str(state)
    assert "state.keys.certificate.value" in state["sealed"]
    assert JANE in str(ok(await personal.get(f"/audit/state/client:{client_id}")))
    # What is said again is no change, and what is said of something else tells the name no other way.
    path, before = f"/admin/clients/{client_id}", await world.head()
    assert ok(await personal.patch(path, json={EMAIL: JANE}))[EMAIL] == JANE
    assert not await world.events("client.*", after=before)
    ok(await personal.patch(path, json={EMAIL: None, "tls_client_auth_san_dns": "job.example"}))
    refused(await ask(world, client_id, pem(theirs)))
    ok(await personal.patch(path, json={EMAIL: JANE, "tls_client_auth_san_dns": None}))
    ok(await ask(world, client_id, pem(theirs)))
    assert JANE not in str(await world.events())
