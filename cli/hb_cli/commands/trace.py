"""`hb trace`: execute one slot again, and show what happens inside."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Reference = Annotated[
    str,
    typer.Argument(metavar="REF", help="The slot: a number, `now`, `now~1`, or the ID of its message or assignment."),
]
_HostCalls = Annotated[
    int,
    typer.Option(
        "--host-calls",
        metavar="N",
        min=0,
        max=1_000_000,
        help="Show the first N host calls of each call, and count the rest.",
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
    """Execute one slot again, and show what happens inside. Nothing is stored.

    This shows the functions that are called, their arguments, their host calls, what they print, and the gas of each
    call. It also shows the public keys, globals and pages of memory that change, and where a trap is.

    The outcome is compared with what is stored. If it differs, that is damage, and the exit code is 14.

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
