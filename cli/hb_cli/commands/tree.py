"""`hb tree`: show who caused what."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import context, exits, pushing
from hb_cli.inputs import arguments, options

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def tree(
    ctx: typer.Context,
    process: options.Process,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="The slot: a number, `now`, `now~1`, or the ID of its message or assignment.",
        ),
    ] = "now",
    up: Annotated[bool, typer.Option("--up", help="Show what led to the message, from the root on.")] = False,
) -> int:
    """Show what a message caused, as a tree.

    Below each message stands what was delivered for it. A delivery that was not made is there with its reason. Nothing
    is computed or delivered: `hb push` does that. On a terminal, the first 50 children of a message are shown.

    \b
    Examples:
      hb tree counter
      hb tree counter 3
      hb tree counter 3 --up
      hb tree counter 3 --json | jq 'select(.type == "error")'
    """
    session = context.session_of(ctx)
    home = context.existing_home(session)
    found = home.process(process, look_up=False)
    nodes = found.path(reference) if up else found.tree(reference)
    pushing.print_tree(session, home, nodes, pushing.Names(home), is_path=up)
    return exits.DONE
