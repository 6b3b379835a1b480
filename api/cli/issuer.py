"""`grantlog issuer …`."""

import rich_click as click

from api.cli.failures import USAGE, Failure
from api.cli.opening import Here, run


@click.group()
def issuer() -> None:
    """The URL by which clients know this server."""


@issuer.command()
@click.argument("url")
def accept(url: str) -> None:
    """Let the server start under another issuer URL.

    Clients compare it character by character: whoever knows the former one has to be told, tokens that name it are
    refused by those who look, and dashboards have origins of their own to be put right. A server that is given another
    one than its log knows does not start.
    """
    from api import issuer as issuers

    if problem := issuers.fault(url):
        raise Failure(f"URL: {problem}", USAGE)

    async def work(here: Here) -> bool:
        from domain import server
        from eventstore.commands import Command

        accepted = Command(server.STREAM, server.accept_issuer, {"issuer": url})
        return bool((await here.ledger.execute(accepted, origin=here.origin)).recorded)

    click.echo(f"The server starts as {url} from now on." if run(work) else f"Nothing to do: it is {url} already.")
