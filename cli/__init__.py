"""The command line `grantlog`. A command's page is loaded when the command is asked for, and not before."""

import gc
from importlib import import_module
from keyword import iskeyword

import rich_click as click

from cli.ending import ending_in_order
from cli.terminal import Failing
from security.private_files import private_files

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

PAGES = {
    "cli.serve": ("serve", "demo"),
    "cli.client": ("bootstrap", "client", "dashboard"),
    "cli.console": ("console",),
    "cli.registering": ("initial-access-token",),
    "cli.person": ("person", "scope", "role", "realm"),
    "cli.moving.importing": ("import",),
    "cli.moving.exporting": ("export",),
    "cli.leaks": ("leaks",),
    "cli.log": ("log",),
    "cli.drill": ("drill",),
    "cli.audit": ("audit",),
    "cli.verify": ("witness",),
    "cli.notifications": ("notifications",),
    "cli.status": ("status",),
    "cli.completion": ("completion",),
    "cli.installation": ("projections", "keys", "database", "settings"),
    "cli.issuers": ("issuer",),
}
COMMANDS = {command: page for page, commands in PAGES.items() for command in commands}

OF_ALL_ISSUERS = ("serve", "demo", "issuer")
"""Commands that are about the server as a whole."""

SERVING = ("serve", "demo", "witness")
"""Commands that run until a signal tells them to stop, and heed those themselves."""


class CommandPages(Failing):
    """The commands by their names, each on its page."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # There is nothing to collect in what is being loaded.
        gc.disable()
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), name)
        gc.enable()
        return command


@click.group(cls=CommandPages, context_settings=CONTEXT)
@click.version_option(package_name="grantlog", message="grantlog %(version)s")
@click.option("--issuer", metavar="URL", help="Of several issuers the one whose log this is about.")
@click.pass_context
def main(context: click.Context, issuer: str | None) -> None:
    """An OAuth 2.0 authorization server and OpenID Provider whose every decision is an immutable event.

    Every write goes through the server's own log, with you as its actor. Settings come from the environment and `.env`;
    `grantlog settings` lists them. Exit codes: 0 done, 1 refused, 2 wrong usage or a file (the output too) that cannot
    be read or written, 3 database or keys."""
    if issuer is not None and context.invoked_subcommand in OF_ALL_ISSUERS:
        raise click.UsageError(f"`{context.invoked_subcommand}` is about all issuers")
    context.with_resource(private_files())
    if context.invoked_subcommand not in SERVING:
        context.with_resource(ending_in_order())
