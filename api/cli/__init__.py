"""The command line `grantlog`. A command's module imports what it needs when it runs, so that help costs no time."""

import rich_click as click

from api.cli.audit import audit
from api.cli.bootstrap import bootstrap
from api.cli.client import client
from api.cli.dashboard import dashboard
from api.cli.database import database
from api.cli.demo import demo
from api.cli.failures import Commands
from api.cli.issuer import issuer
from api.cli.keys import keys
from api.cli.leaks import leaks
from api.cli.log_forged import log
from api.cli.notifications import notifications
from api.cli.person import person
from api.cli.projections import projections
from api.cli.role import role
from api.cli.scope import scope
from api.cli.serve import serve
from api.cli.settings import settings
from api.cli.witness import witness
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
