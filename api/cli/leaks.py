"""`grantlog leaks`: what to do about a secret that leaked."""

import rich_click as click

from api.cli.leak_commands import close, contain, freeze, investigate, list_, show, unfreeze
from api.cli.leak_rules import rules


@click.group()
def leaks() -> None:
    """Leaked secrets: find them, say what they are, and end what came of them."""


for command in (rules, investigate, contain, list_, show, close, freeze, unfreeze):
    leaks.add_command(command)
