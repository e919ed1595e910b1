"""`hb inspect`: the history of a process: who asked what, what came of it, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import arguments, context, options, output, views

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.home import Home
    from hb.node import Node
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def inspect(
    ctx: typer.Context,
    *,
    process: options.Process,
    slot: Annotated[
        str | None,
        typer.Option("--slot", metavar="REF", help="This slot alone, in full."),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="REF", help="The first slot. Default: 0.", show_default=False)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="REF", help="The last slot. Default: now.", show_default=False)
    ] = None,
    definition: Annotated[
        bool, typer.Option("--definition", help="The definition as TOML, for `hb spawn --definition`.")
    ] = False,
) -> None:
    """Show the history of a process, slot by slot. It only looks: slots that are not computed yet are pending.

    \b
    Examples:
      hb inspect counter
      hb inspect counter --from now~10
      hb inspect counter --slot 3
      hb inspect counter --json | jq .gas
      hb inspect counter --definition > counter.toml
    """
    session = context.session_of(ctx)
    named = [ref for ref in (slot, first, last) if ref is not None]
    if definition and named:
        raise arguments.misuse("--definition takes no slot: a process has one definition at all of them")
    if slot is not None and len(named) > 1:
        raise arguments.misuse("give --slot for one slot, or --from and --to for several")
    home = context.existing_home(session)
    node = context.open_node(session, home)
    if definition:
        _print_definition(session, node, process)
        return
    if slot is not None:
        first = last = slot
    start, end = "0" if first is None else first, "now" if last is None else last
    if session.for_person:
        _show(node, home, process, start, end, is_one=slot is not None)
    else:
        for view in node.history(process, start, end):
            output.json_line(views.slot_fields(view))


def _print_definition(session: Session, node: Node, process: str) -> None:
    from hb.protocol import definition as definitions

    found = node.definition(process)
    if session.json:
        output.json_line(found)
        return
    import tomli_w

    output.line(tomli_w.dumps(definitions.to_table(found)).rstrip("\n"))


def _show(node: Node, home: Home, process: str, first: str, last: str, *, is_one: bool) -> None:
    from hb_cli import history, render

    sender_name = _sender_names(home)
    if is_one:
        for view in node.history(process, first, last):
            output.show(render.slot_panel(view, sender_name(view.sender)))
        return
    about = node.process(process)
    width = output.screen_width()
    slots = node.history(process, first, last)
    output.show(render.process_line(about))
    output.show_each(history.tables(slots, history.layout(width, about.slots, about.devices), sender_name))
    output.show(history.legend())


def _sender_names(home: Home) -> Callable[[str | None], str]:
    """What to call who sent a message: the name of a key of this home, or the first of an address."""
    from hb import keyring
    from hb.errors import HbError
    from hb_cli import render

    names: dict[str, str] = {}
    for name in keyring.names(home.keys):
        try:
            names[keyring.public(home.keys, name).address] = name
        except HbError:
            # A key file that cannot be read must not keep anybody from looking at a history.
            continue
    return lambda address: names.get(address or "") or render.short(address)
