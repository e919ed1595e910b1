"""`hb completion`: print the script that makes a shell complete `hb`."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments
from hb_cli.inputs import completion as completions
from hb_cli.terminal import output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def completion(
    ctx: typer.Context,
    shell: Annotated[
        str | None,
        typer.Argument(
            metavar="SHELL",
            help="bash, zsh, fish, powershell or pwsh. Default: what $SHELL names.",
            autocompletion=lambda: list(completions.SHELLS),
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the script that makes a shell complete `hb`.

    It completes commands, options, and the names of processes and keys.

    \b
    Examples:
      hb completion bash >> ~/.bashrc
      hb completion zsh > ~/.zfunc/_hb
      hb completion fish > ~/.config/fish/completions/hb.fish
    """
    session = context.session_of(ctx)
    named = shell or session.environ.get("SHELL", "").rpartition("/")[2]
    if named not in completions.SHELLS:
        there_are = ", ".join(completions.SHELLS)
        raise arguments.misuse(f"a shell is one of {there_are}, got {named!r}")
    output.line(completions.script(named))
