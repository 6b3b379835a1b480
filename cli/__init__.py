"""The command line `grantlog`. A command's module imports what it needs when it runs, so that help costs no time."""

import rich_click as click

from cli.audit import audit
from cli.client import bootstrap, client
from cli.dashboard import dashboard
from cli.demo import demo
from cli.failures import Commands
from cli.installation import database, issuer, keys, settings
from cli.leaks import leaks
from cli.log import log
from cli.notifications import notifications
from cli.person import person
from cli.projections import projections
from cli.role import role
from cli.scope import scope
from cli.serve import serve
from cli.witness import witness
from security.private_files import private_files

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="grantlog", message="grantlog %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """An OAuth 2.0 authorization server whose every decision is an immutable event.

    Every write goes through the server's own log, with you as its actor. Settings come from the environment and `.env`;
    `grantlog settings` lists them. Exit codes: 0 done, 1 refused, 2 wrong usage or a file (the output
    too) that cannot be read or written, 3 database or keys.
    """
    context.with_resource(private_files())


for command in (
    *(serve, demo, bootstrap, client, dashboard, person, scope, role),
    *(leaks, log, audit, witness, notifications, projections, keys, issuer, database, settings),
):
    main.add_command(command)
