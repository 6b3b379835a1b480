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
        from commands import servers

        return bool((await here.execute(servers.accept_issuer(url))).recorded)

    click.echo(f"The server starts as {url} from now on." if run(work) else f"Nothing to do: it is {url} already.")
