"""`hb fork`: make a process that shares another's history up to a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress
from hb_cli.views import fields as views

if TYPE_CHECKING:
    import hb
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def fork(
    ctx: typer.Context,
    *,
    process: options.Process,
    slot: options.Slot = "now",
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A name for the fork.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the name here from the process that has it.", show_default=False)
    ] = False,
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            metavar="NEW.wasm",
            help="Continue with other code: a .wasm file, a .wat file, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take the module even if its data lie in other places.", show_default=False),
    ] = False,
    tag: options.Tags = None,
    anchor: options.Anchor = None,
    as_key: options.AsKey = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> None:
    """Make a process that shares another's history up to a slot.

    Its ID is printed. After that slot it has a history of its own. Nothing is copied, and the other process does not
    change. Slots up to --slot are computed first.

    The fork's definition is the message in its first own slot, the one after --slot, and changes nothing.

    With --module, the fork continues with other code on the same memory and globals. It is refused if the code does not
    fit them: other globals, or data and tables of functions in other places, which the memory points to. --force takes
    it all the same in the last case.

    \b
    Examples:
      hb fork counter --slot 3 --name what-if
      hb fork counter --slot now~1 --module counter2.wasm --name upgraded
    """
    session = context.session_of(ctx)
    if replace and name is None:
        raise arguments.misuse("--replace moves a name: give the --name")
    if force and module is None:
        raise arguments.misuse("--force is about a module: give the --module")
    given_tags = arguments.tags(tag or [])
    with progress.Bar() as bar:
        home = context.existing_home(session, bar.advance)
        limit_bytes = home.settings.module_limit_bytes
        made = home.process(process, look_up=False).fork(
            slot,
            module=None if module is None else arguments.read_module(module, limit_bytes=limit_bytes),
            force=force,
            name=name,
            replace=replace,
            tags=given_tags,
            anchor=anchor,
            signer=as_key,
            timestamp_ms=timestamp,
            block_height=block_height,
        )
    _tell(session, made, name)


def _tell(session: Session, fork: hb.Process, name: str | None) -> None:
    made = fork.made
    assert made is not None
    if not made.fresh:
        session.note("this fork is here already; nothing was made")
    if not session.json:
        output.line(made.process)
        return
    output.json_line(views.made_fields(made, name, fork.view().origin))
