"""`hb import`: import a process history from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import hb
from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress
from hb_cli.views.counting import counted

if TYPE_CHECKING:
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def import_(
    ctx: typer.Context,
    *,
    file: options.HistoryFile,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A name for the process.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the name here from the process that has it.", show_default=False)
    ] = False,
    replay: Annotated[
        bool,
        typer.Option(
            "--replay/--no-replay",
            help="Run every message again and compare, or trust the outcomes in the file.",
        ),
    ] = True,
) -> None:
    """Import a process history.

    Everything is verified before anything is stored: IDs, signatures, slots, chains, hashpaths, records, memory. Every
    message is run again, because nobody signs outcomes. The process ID is printed.

    If the process is here already, what is missing is added, provided that everything both have is equal. Otherwise the
    first slot that differs is named, and nothing is stored.

    Only the home that has the scheduler's key can send to the process. Any home can compute, inspect, call and fork it.

    \b
    Examples:
      hb import counter.history --name counter
      hb import mine.history --no-replay
    """
    session = context.session_of(ctx)
    if replace and name is None:
        raise arguments.misuse("--replace moves a name: give the --name")
    hb.file_form(file)  # no home is made for a file that is none
    with progress.Bar() as bar:
        taken = context.writable_home(session, bar.advance).import_history(
            file, name=name, replace=replace, replay=replay
        )
    assert taken.imported is not None
    for note in taken.imported.notes:
        output.note(note.sentence)
    _tell(session, taken.imported, name)


def _tell(session: Session, done: hb.Imported, name: str | None) -> None:
    if session.json:
        told = {
            "process": done.process,
            "new": done.is_new,
            "stored": {"slots": done.slots, "records": done.records},
            "newest": done.newest,
        }
        output.json_line(told | ({"name": name} if name else {}))
        return
    slots = counted(done.slots, "slot")
    if done.is_new:
        session.note(f"imported {slots}, {done.records} computed")
    elif done.slots or done.records:
        session.note(f"it was here already; added {slots} and {counted(done.records, 'record')}")
    else:
        session.note("it is here already, with all that is in the file; nothing was stored")
    output.line(done.process)
