"""Groups of commands that say what to type instead where a word is none of their commands."""

from difflib import get_close_matches
from typing import Any

import click


class HelpfulGroup(click.Group):
    """A group whose error about an unknown command names a way out.

    ``instead`` is a command line with ``{word}`` in it, for a word that names what the commands are about, such as a
    canister.
    """

    instead: str | None = None

    def __init__(self, *arguments: Any, instead: str | None = None, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.instead = instead

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word.startswith("-") or self.get_command(ctx, word) is not None:
            return super().resolve_command(ctx, args)
        known = self.list_commands(ctx)
        similar = get_close_matches(word, known, n=2)
        hints = [f"did you mean {' or '.join(similar)}?" if similar else f"the commands are {', '.join(known)}."]
        if self.instead is not None:
            hints.append(f"For what is named {word}, write `{self.instead.format(word=word)}`.")
        raise click.UsageError(f"`{ctx.command_path}` has no command {word!r}; {' '.join(hints)}", ctx)
