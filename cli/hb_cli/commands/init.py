"""`hb init`: make a home."""

from __future__ import annotations

from typing import Annotated

import typer

import hb
from hb.errors import NoHome
from hb_cli import context
from hb_cli.inputs import arguments
from hb_cli.terminal import output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def init(
    ctx: typer.Context,
    directory: Annotated[
        str | None,
        typer.Argument(metavar="DIR", help="Where to make the home .hb. Default: here.", show_default=False),
    ] = None,
) -> None:
    """Make a home: a store, a key, settings.

    The key is called `default`. If there is a home already, nothing is changed.

    \b
    Examples:
      hb init                  a home .hb in this directory
      hb init project          a home project/.hb
      hb init --home ~/ao      a home at ~/ao itself
    """
    session = context.session_of(ctx)
    is_named = bool(session.home or session.environ.get("HB_HOME"))
    if is_named and directory is None:
        path = context.home_path(session)
    else:
        path = context.working_directory() / (directory or "") / hb.HOME_NAME
    try:
        hb.open(path, create=False)
        is_new = False
    except NoHome:
        is_new = True
    made = hb.create(path)
    address = made.public_key(hb.DEFAULT_KEY).address
    if session.json:
        output.json_line({"home": str(made.path), "created": is_new, "address": address})
        return
    output.line(str(made.path))
    session.note("made a home; its key `default` has the address " + address if is_new else "there is a home already")
