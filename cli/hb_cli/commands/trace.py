"""`hb trace`: one slot executed again, with what happened inside."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Reference = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="A slot: its number, `now`, `now~1`, or the ID of its message or its assignment."
    ),
]
_HostCalls = Annotated[
    int,
    typer.Option(
        "--host-calls",
        metavar="N",
        min=0,
        max=1_000_000,
        help="Show the first N host calls of each call; the rest is counted.",
    ),
]


@app.command(cls=arguments.Command)
def trace(
    ctx: typer.Context,
    *,
    process: options.Process,
    reference: _Reference = "now",
    host_calls: _HostCalls = 20,
) -> int:
    """Execute one slot again, and show what happened inside. Nothing is stored.

    That is: which functions were called, with what; what they asked of their host; what was printed; gas by call; the
    public keys, globals and pages of memory that changed; and where a trap was, function by function.

    What comes out is held against what is stored: if it differs, that is damage, and the exit code is 14.

    \b
    Examples:
      hb trace counter 3
      hb trace counter now --json | jq '.calls[].gas'
      hb trace me now~1 --host-calls 1000
    """
    session = context.session_of(ctx)
    with progress.Bar() as bar:
        home = context.existing_home(session, bar.advance)
        found = home.process(process, look_up=False).trace(reference, host_calls=host_calls)
    if session.for_person:
        from hb_cli.views import trace as trace_view

        output.show(trace_view.panel(found, process))
    else:
        from hb_cli.views import fields as views

        output.json_line(views.trace_fields(found))
    return exits.DAMAGE if found.differences else exits.DONE
