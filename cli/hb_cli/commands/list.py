"""`hb list`: list the processes of the home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hb_cli import context
from hb_cli.inputs import arguments
from hb_cli.terminal import output
from hb_cli.views import fields as views_

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("list", cls=arguments.Command)
def list_processes(ctx: typer.Context) -> None:
    """List the processes of the home. Nothing is computed.

    A damaged process is listed with what is wrong, and the exit code is 14.

    \b
    Examples:
      hb list
      hb list --json | jq -r .process
    """
    session = context.session_of(ctx)
    views = context.existing_home(session).process_views()
    if session.for_person:
        from hb_cli.views import render

        output.show(render.processes(views, output.screen_width()))
    else:
        for view in views:
            output.json_line(_fields(view))
    damaged = [view.trouble for view in views if view.trouble is not None]
    if damaged:
        raise damaged[0]


def _fields(view: hb.ProcessView) -> Message:
    if view.trouble is not None:
        return {"process": view.process, "names": list(view.names), "trouble": view.trouble.message}
    return {
        "process": view.process,
        "names": list(view.names),
        "slots": view.slots,
        "computed": view.computed,
        "image": view.image,
        "devices": list(view.devices),
        "spawned": view.spawned_ms,
        "latest": view.latest_ms,
        **views_.origin_fields(view.origin),
    }
