"""``icws completion``: the script that lets a shell complete commands, options, canisters and sessions."""

import click
from click.shell_completion import get_completion_class

from appliance.cli.output.terminal import echo

_VARIABLE = "_ICWS_COMPLETE"
_HINTS = {
    "bash": 'eval "$(icws completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(icws completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "icws completion fish > ~/.config/fish/completions/icws.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HINTS.values()))
@click.argument("shell", type=click.Choice(list(_HINTS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of icws for SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"there is no completion for {shell}")
    echo(kind(context.find_root().command, {}, "icws", _VARIABLE).source())
