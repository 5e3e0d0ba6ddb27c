"""`completion`: scripts that make shells complete commands, options and symbols."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from levibot.errors import StopError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: levibotctl completion bash > ~/.local/share/bash-completion/completions/levibotctl
    zsh:  levibotctl completion zsh > ~/.zfunc/_levibotctl   (a folder of $fpath)
    fish: levibotctl completion fish > ~/.config/fish/completions/levibotctl.fish
    """
    shell_class = get_completion_class(shell)
    if shell_class is None:
        raise StopError(f"this version of click has no completion for {shell}; upgrade click")
    root = context.find_root().command
    click.echo(shell_class(root, {}, "levibotctl", "_LEVIBOTCTL_COMPLETE").source())
