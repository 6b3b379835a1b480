"""`grantlog settings`."""

import os
import re

import rich_click as click

from api.cli.opening import load_settings
from api.cli.showing import as_json, print_json

LINK = re.compile(r"\[([^]]+)\]\(([^)#]+)[^)]*\)")
"""A link of docs/settings.md; on a terminal it is the page's path."""


@click.command()
@as_json
def settings(as_json: bool) -> None:
    """Show every setting: its value, its default, its meaning. Secrets are masked."""
    from api.settings import unknown_variables
    from api.settings_page import shown

    every = shown(load_settings())
    for name in unknown_variables(os.environ):
        click.echo(f"Warning: {name} is no setting.", err=True)
    if as_json:
        print_json(every)
        return
    for each in every:
        value = each.value or "(unset)"
        default = each.default.replace("`", "") or "none"
        click.echo(f"{click.style(each.variable, bold=True)}={value}")
        meaning = LINK.sub(r"docs/\2", each.meaning).replace("`", "")
        click.echo(f"    {meaning} Default: {default}.")
