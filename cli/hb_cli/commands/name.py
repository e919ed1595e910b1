"""`hb name`: give a process another name, one more, or take one away."""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def name(
    ctx: typer.Context,
    *,
    process: options.Process,
    new: Annotated[str | None, typer.Argument(metavar="NEW", help="The name that it gets.", show_default=False)] = None,
    also: Annotated[bool, typer.Option("--also", help="Keep the names that it has.", show_default=False)] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move NEW here from the process that has it.", show_default=False)
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the name PROCESS away. The process stays.", show_default=False)
    ] = False,
) -> None:
    """Give a process another name.

    The name PROCESS is gone then. If PROCESS is an ID, its only name is gone, if it has one. With --also, all names
    stay. A name is no part of a process: nothing that is signed or hashed depends on it.

    \b
    Examples:
      hb name counter tally             counter is called tally from now on
      hb name counter clicks --also     it has both names
      hb name test2 prod --replace      prod is test2 now, not what it was
      hb name clicks --remove           the name is gone, the process stays
    """
    session = context.session_of(ctx)
    if remove == (new is not None) or (remove and (also or replace)):
        raise arguments.misuse("give NEW, or --remove alone")
    found = context.existing_home(session).process(process, look_up=False)
    if new is None:
        stood_for = found.take_name()
        if session.json:
            output.json_line({"process": stood_for, "name": None, "removed": [process]})
        else:
            session.note(f"took the name {process} from process {stood_for}")
        return
    lost = found.rename(new, also=also, replace=replace)
    if session.json:
        output.json_line({"process": found.id, "name": new, "removed": lost})
    else:
        session.note(f"process {found.id} is called {new}" + (f", and not {lost[0]} any more" if lost else ""))
