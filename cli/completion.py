"""`grantlog completion`: what a shell needs to complete commands and options, made from the commands themselves."""

import rich_click as click
from click.shell_completion import get_completion_class

from cli.terminal import Failure

VARIABLE = "_GRANTLOG_COMPLETE"
"""By which a shell tells the program to answer what can stand next. The library derives it from the program's name."""


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the lines by which a shell completes commands and options.

    \b
    bash   source <(grantlog completion bash)                in ~/.bashrc
    zsh    source <(grantlog completion zsh)                 in ~/.zshrc, behind compinit
    fish   grantlog completion fish | source                 in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"nothing is known of {shell}")
    made = kind(context.find_root().command, {}, "grantlog", VARIABLE)
    click.echo(made.source_template % made.source_vars())
