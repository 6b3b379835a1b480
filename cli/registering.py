"""`grantlog initial-access-token …`: who may register clients by themselves (RFC 7591 §1.2)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from api.admin.bodies.members import time_or_null
from api.admin.initial_access_tokens import listed_tokens
from api.http.parameters import Page
from cli.command_services import CommandServices, run
from cli.terminal import as_json, output, print_list, secret_file
from commands import registering
from domain.registering.initial_access_token import State, stream
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from security.tokens import Kind, new_id

DAY = 86_400
LISTED_AT_MOST = 200
COLUMNS = ("id", "state", "created_at", "expires_at", "uses")


@click.group()
def initial_access_token() -> None:
    """Let somebody register clients, with GRANTLOG_REGISTRATION=token."""


@initial_access_token.command()
@click.option("--expires-in", type=int, default=DAY, show_default=True, metavar="SECONDS", help="0 is never.")
@click.option("--uses", type=int, default=1, show_default=True, help="Clients that it registers; 0 is any number.")
@output
@as_json
def issue(expires_in: int, uses: int, output: Path | None, as_json: bool) -> None:
    """Make a token. It is shown once."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        token_id, secret = new_id(), services.format.mint(Kind.INITIAL_ACCESS_TOKEN)
        command = registering.issue_initial(token_id, secret.hex, lifetime=expires_in or None, uses=uses or None)
        await services.execute(command)
        state: State = await services.ledger.state(stream(token_id))
        expires_at = time_or_null(state.expires_at)
        return {
            "id": token_id,
            "initial_access_token": secret.reveal(),
            "expires_at": expires_at,
            "uses": state.left,
        }

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


@initial_access_token.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the newest of them, those that have ended too."""

    async def work(services: CommandServices) -> Page[Any]:
        ledger = services.ledger
        await CatchUpSubscription(ledger, EventIndexing()).follow()
        return await ledger.look(listed_tokens, ledger.changes.position, LISTED_AT_MOST, ledger.clock.now())

    found: list[Mapping[str, Any]] = msgspec.to_builtins(run(work).items)
    print_list(found, COLUMNS, as_json)


@initial_access_token.command()
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Let nobody register with it any more. Clients that were registered with it stay."""

    async def work(services: CommandServices) -> None:
        await services.execute(registering.revoke_initial(token_id))

    run(work)
