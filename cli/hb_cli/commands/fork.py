"""`hb fork`: a new process that shares another's history up to a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import arguments, context, options, output, progress
from hb_cli.views import fields as views

if TYPE_CHECKING:
    from hb.node import Node, Scheduled
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def fork(
    ctx: typer.Context,
    *,
    process: options.Process,
    slot: options.Slot = "now",
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A name for the fork.")] = None,
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            metavar="NEW.wasm",
            help="Go on with other code: a .wasm file, a .wat file, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    tag: options.Tags = None,
    anchor: options.Anchor = None,
    as_key: options.AsKey = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> None:
    """Make a process that shares another's history up to a slot.

    Its ID is printed alone. It goes its own way from there; nothing is copied, and the other process is left as it is.
    Slots up to --slot are computed first.

    The fork's definition is the message in its first own slot, the one after --slot, and changes nothing.

    With --module the fork goes on with other code, on the memory and the globals that there are: it is refused if they
    do not fit.

    \b
    Examples:
      hb fork counter --slot 3 --name what-if
      hb fork counter --slot now~1 --module counter2.wasm --name upgraded
    """
    session = context.session_of(ctx)
    given_tags = arguments.tags(tag or [])
    home = context.existing_home(session)
    settings = context.settings(home)
    wasm = None if module is None else arguments.read_module(module, limit_bytes=settings.module_limit_bytes)
    from hb.history import fork as forks

    with progress.Bar() as bar:
        node = context.open_node(session, home, bar.advance)
        made = forks.fork(
            node.context,
            process,
            slot,
            signer=context.signer(home, as_key),
            environment=context.surroundings(timestamp, block_height),
            module=wasm,
            tags=given_tags,
            anchor=anchor,
            name=name,
        )
    _tell(session, node, made, name)


def _tell(session: Session, node: Node, made: Scheduled, name: str | None) -> None:
    if not made.fresh:
        session.note("this fork is here already; nothing was made")
    if not session.json:
        output.line(made.process)
        return
    output.json_line(views.made_fields(made, name, node.process(made.process).origin))
