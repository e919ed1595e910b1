"""`hb init`: makes a home."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import arguments, context, output

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

    The key is called `default`. Where there is a home already, nothing is changed.

    \b
    Examples:
      hb init                  a home .hb in this directory
      hb init project          a home project/.hb
      hb init --home ~/ao      a home at ~/ao itself
    """
    from hb import home, keyring
    from hb.errors import NoHome

    session = context.session_of(ctx)
    is_named = bool(session.home or session.environ.get("HB_HOME"))
    if is_named and directory is None:
        path = context.home_path(session)
    else:
        path = context.working_directory() / (directory or "") / home.HOME_NAME
    is_new = False
    try:
        made = home.open_home(path)
    except NoHome:
        is_new = True
        made = home.create(path)
    address = keyring.public(made.keys, home.DEFAULT_KEY).address
    if session.json:
        output.json_line({"home": str(made.path), "created": is_new, "address": address})
        return
    output.line(str(made.path))
    session.note("made a home; its key `default` has the address " + address if is_new else "there is a home already")
