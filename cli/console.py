"""`grantlog console …`: the client of the console, which only the one who runs the server makes."""

import rich_click as click

from cli.command_services import CommandServices, run
from commands import clients
from commands.console import console_client
from commands.permissions import operator
from domain import client
from domain.rules.administrative_scope import CONSOLE


@click.group()
def console() -> None:
    """Let people look after the server at /console."""


@console.command()
def enable() -> None:
    """Make the console's client, with a secret that only the vault has; or put it right after the issuer moved or its
    secret was ended, and enable it again. Installing makes it too. GRANTLOG_CONSOLE=0 has no console served."""

    async def work(services: CommandServices) -> bool:
        state: client.State = await services.ledger.state(client.stream(CONSOLE))
        again = [] if not client.alive(state) or state.enabled else [clients.enable(CONSOLE, by=operator)]
        enabled = await services.execute(*again) if again else ()
        made = await console_client.enable(services.ledger, services.format, services.settings.issuer, services.origin)
        return bool(enabled or made)

    click.echo("The console is enabled." if run(work) else "Nothing to do: the console is enabled already.")
