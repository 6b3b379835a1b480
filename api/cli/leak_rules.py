"""`grantlog leaks rules`: how secret scanners recognise our secrets. It needs no database and no key."""

import rich_click as click

from security.scanning import RULES


@click.command()
@click.option("--format", "format_", type=click.Choice(tuple(RULES)), required=True, help="Which scanner reads them.")
def rules(format_: str) -> None:
    """Print the rules by which a secret scanner finds this installation's secrets.

    They follow from the prefix, which GRANTLOG_TOKEN_PREFIX sets. docs/secret-scanning.md says how to use them.
    """
    from api.cli.opening import load_settings
    from security.tokens import Format

    # What production insists on, a key and an address, has nothing to do with the rules.
    prefix = load_settings(environment="demo").token_prefix
    click.echo(RULES[format_](Format(prefix)), nl=False)
