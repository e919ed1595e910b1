"""`hb inspect`: the history of a process: who asked what, what came of it, and what it cost."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hb_cli import arguments, context, exits, options, output
from hb_cli.views import fields as views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hb.history.selection import Filter
    from hb.home import Home
    from hb.node import Node, SlotView
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Assigned since then: a date, a date and time, or 10m, 2h, 3d ago."),
]
_Senders = Annotated[
    list[str] | None,
    typer.Option(
        "--sender",
        metavar="WHO",
        help="Sent by a key, by its name, or by an address or what it begins with; may be repeated.",
        autocompletion=options.completion.keys,
    ),
]
_Actions = Annotated[
    list[str] | None, typer.Option("--action", metavar="ACTION", help="With this action; may be repeated.")
]
_Error = Annotated[
    bool | None, typer.Option("--error/--no-error", help="Computed, and the outcome is an error, or is none.")
]
_Most = Annotated[int | None, typer.Option("-n", metavar="N", min=1, help="So many slots at the most.")]
_Follow = Annotated[bool, typer.Option("--follow", help="Slots as others compute them, until Ctrl-C.")]


class _Chosen(NamedTuple):
    """Which slots are wanted: references, when they begin (ms since 1970), and the rest of the command line."""

    first: str | None
    last: str | None
    since_ms: int | None
    filter: Filter
    reverse: bool
    most: int | None


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
    since: _Since = None,
    sender: _Senders = None,
    action: _Actions = None,
    error: _Error = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The newest first.")] = False,
    most: _Most = None,
    follow: _Follow = False,
    definition: Annotated[
        bool, typer.Option("--definition", help="The definition as TOML, for `hb spawn --definition`.")
    ] = False,
) -> int:
    """Show the history of a process, slot by slot. It only looks: slots that are not computed yet are pending.

    Of several --sender or --action, one must fit. --follow shows the slots that others compute from now on, or from
    --from or --since on, until Ctrl-C.

    \b
    Examples:
      hb inspect counter
      hb inspect counter --from now~10
      hb inspect counter --slot 3
      hb inspect counter --sender alice --error --since 2h
      hb inspect counter --reverse -n 5
      hb inspect counter --follow --action Add
      hb inspect counter --json | jq .gas
      hb inspect counter --definition > counter.toml
    """
    session = context.session_of(ctx)
    chooses = any((since, sender, action, error is not None, reverse, most, follow))
    _check(slot, [ref for ref in (first, last) if ref is not None], definition=definition, chooses=chooses)
    if follow and (reverse or last is not None):
        raise arguments.misuse("--follow goes on with what comes: no --reverse and no --to beside it")
    home = context.existing_home(session, keep_open=follow)
    node = context.open_node(session, home)
    if definition:
        _print_definition(session, node, process)
        return exits.DONE
    if slot is not None:
        first = last = slot
    chosen = _Chosen(first, last, _since_ms(since), _filter(home, sender, action, error), reverse, most)
    if follow:
        return _follow(session, node, home, process, chosen)
    slots = _slots(node, process, chosen)
    if session.for_person:
        _show(node, home, process, slots, is_one=slot is not None)
    else:
        for view in slots:
            output.json_line(views.slot_fields(view))
    return exits.DONE


def _check(slot: str | None, bounds: list[str], *, definition: bool, chooses: bool) -> None:
    """Whether the options go together."""
    if definition and (slot is not None or bounds or chooses):
        raise arguments.misuse("--definition takes no slot: a process has one definition at all of them")
    if slot is not None and (bounds or chooses):
        raise arguments.misuse("give --slot for one slot, or --from, --to and what chooses among several")


def _since_ms(since: str | None) -> int | None:
    from hb_cli import moments

    return None if since is None else moments.since(since, context.surroundings(None, 0).now_ms())


def _filter(home: Home, senders: list[str] | None, actions: list[str] | None, failed: bool | None) -> Filter:
    from hb.history.selection import Filter

    addresses = context.addresses(home) if senders else {}
    names = {name: address for address, name in addresses.items()}
    wanted = tuple(names.get(word) or arguments.address_prefix(word) for word in senders or [])
    return Filter(wanted, tuple(actions or ()), failed)


def _slots(node: Node, process: str, chosen: _Chosen) -> Iterator[SlotView]:
    from hb.history import references, selection

    open_store = node.context.session
    pid, start = references.resolve(open_store, process, "0" if chosen.first is None else chosen.first)
    end = references.resolve(open_store, pid, "now" if chosen.last is None else chosen.last)[1]
    if chosen.since_ms is not None:
        start = max(start, selection.first_since(open_store, pid, chosen.since_ms))
    return islice(selection.select(open_store, pid, start, end, chosen.filter, reverse=chosen.reverse), chosen.most)


def _follow(session: Session, node: Node, home: Home, process: str, chosen: _Chosen) -> int:
    """Shows slots as they are computed, until there are enough, or Ctrl-C: that is how it ends, and no error."""
    from hb.history import references, selection

    open_store = node.context.session
    pid, start = references.resolve(open_store, process, "0" if chosen.first is None else chosen.first)
    if chosen.since_ms is not None:
        start = max(start, selection.first_since(open_store, pid, chosen.since_ms))
    first = None if chosen.first is None and chosen.since_ms is None else start
    slots = selection.follow(open_store, pid, first, chosen.filter, node.context.storage.signal)
    if session.for_person:
        session.note("following; Ctrl-C ends it")
    try:
        _print_lines(session, islice(slots, chosen.most))
    except KeyboardInterrupt:
        session.note("stopped following")
        return exits.INTERRUPTED
    return exits.DONE


def _print_lines(session: Session, slots: Iterable[SlotView]) -> None:
    for view in slots:
        if session.for_person:
            from hb_cli.views import render

            output.show(render.slot_line(view))
        else:
            output.json_line(views.slot_fields(view))


def _print_definition(session: Session, node: Node, process: str) -> None:
    from hb.protocol import definition as definitions

    found = node.definition(process)
    if session.json:
        output.json_line(found)
        return
    import tomli_w

    output.line(tomli_w.dumps(definitions.to_table(found)).rstrip("\n"))


def _show(node: Node, home: Home, process: str, slots: Iterator[SlotView], *, is_one: bool) -> None:
    from hb_cli.views import history, render

    sender_name = _sender_names(home)
    if is_one:
        for view in slots:
            output.show(render.slot_panel(view, sender_name(view.sender)))
        return
    about = node.process(process)
    width = output.screen_width()
    output.show(render.process_line(about))
    output.show_each(history.tables(slots, history.layout(width, about.slots, about.devices), sender_name))
    output.show(history.legend())


def _sender_names(home: Home) -> Callable[[str | None], str]:
    """What to call who sent a message: the name of a key of this home, or the first of an address."""
    from hb_cli.views import render

    names = context.addresses(home)
    return lambda address: names.get(address or "") or render.short(address)
