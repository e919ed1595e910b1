"""`hb diff`: show how two states of a process differ."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def diff(
    ctx: typer.Context,
    *,
    process: options.Process,
    before: Annotated[
        str,
        typer.Argument(metavar="REF", help="A slot: a number, `now`, `now~1`, or the ID of its message or assignment."),
    ],
    after: Annotated[str, typer.Argument(metavar="REF", help="The slot to compare it with.")] = "now",
    stat: Annotated[bool, typer.Option("--stat", help="Show only how much differs.")] = False,
) -> None:
    """Show how two states of a process differ.

    This compares public keys, globals, and memory to the byte, and the results and gas of the two slots' messages.
    Nothing is stored. Slots that are not computed are computed in memory.

    \b
    Examples:
      hb diff counter 1 3
      hb diff counter now~1
      hb diff me 10 now --stat
      hb diff ledger 1 2 --json | jq '.memory.ranges[]'
    """
    from hb_cli.views import fields as views

    session = context.session_of(ctx)
    with progress.Bar() as bar:
        found = context.existing_home(session, bar.advance).process(process, look_up=False).diff(before, after)
    if session.for_person:
        from hb_cli.views import diff as diff_view

        output.show(diff_view.panel(found, process, is_short=stat))
    else:
        output.json_line(views.difference_counts(found) if stat else views.difference_fields(found))
