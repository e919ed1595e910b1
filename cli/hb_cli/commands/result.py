"""`hb result`: show what a process did with the message of one slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb.protocol import outcome
from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

if TYPE_CHECKING:
    import hb
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def result(
    ctx: typer.Context,
    process: options.Process,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="The slot: a number, `now`, `now~1`, or the ID of its message or assignment.",
        ),
    ] = "now",
) -> int:
    """Show the results of one slot.

    They say what the program did with the slot's message. A slot that is not computed yet is computed first. If the
    outcome is an error, the exit code is 15.

    \b
    Examples:
      hb result counter
      hb result counter 3
      hb result me now~1 --json | jq .results.outbox
      hb result counter $(hb send counter Increment --json | jq -r .message)
    """
    session = context.session_of(ctx)
    with progress.Bar() as bar:
        found = context.existing_home(session, bar.advance).process(process, look_up=False)
        slot = found.compute(reference)
    [view] = found.history(slot, slot)
    _show(session, view)
    return exits.PROGRAM_FAILED if outcome.failed(view.results) else exits.DONE


def _show(session: Session, view: hb.SlotView) -> None:
    results = view.results or {}
    if session.json:
        output.json_line(
            {
                "process": view.process,
                "slot": view.slot,
                "message": view.message,
                "assignment": view.assignment,
                "results": results,
                "state": view.state,
            }
        )
    elif session.for_person:
        from hb_cli.views import render

        output.show(render.results_panel(view.slot, results))
    else:
        output.json_line(results)
