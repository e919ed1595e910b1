"""`hb inspect`: show the history of a process: who asked what, the outcome, and what it cost."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import hb
from hb.errors import IntegrityError, NotFound
from hb_cli import context, exits, pushing
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output
from hb_cli.views import fields as views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_NEWEST = 50
"""Maximum slots on a terminal, unless it is said how many."""

_Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only slots assigned since then: a date, a date and time, or how long ago (10m, 2h, 3d).",
    ),
]
_Senders = Annotated[
    list[str] | None,
    typer.Option(
        "--sender",
        metavar="WHO",
        help="Only messages of this sender: a key of this home, an address, or its beginning. May be repeated.",
        autocompletion=options.completion.keys,
    ),
]
_Actions = Annotated[
    list[str] | None,
    typer.Option("--action", metavar="ACTION", help="Only messages with this action. May be repeated."),
]
_Error = Annotated[
    bool | None, typer.Option("--error/--no-error", help="Only computed slots whose outcome is, or is not, an error.")
]
_Most = Annotated[int | None, typer.Option("-n", metavar="N", min=1, help="At most N slots.")]
_All = Annotated[bool, typer.Option("--all", help="On a terminal, show all of them, not only the newest 50.")]
_Follow = Annotated[bool, typer.Option("--follow", help="Show slots as others compute them, until Ctrl-C.")]


class _Chosen(NamedTuple):
    """Which slots are wanted: the first and last as references, the earliest time (ms since 1970), and filters."""

    first: str | None
    last: str | None
    since_ms: int | None
    filter: hb.Filter
    reverse: bool
    most: int | None

    @property
    def is_bounded(self) -> bool:
        """Whether it says itself how far it goes."""
        return (self.first, self.last, self.most) != (None, None, None)

    @property
    def is_filtered(self) -> bool:
        """Whether not every slot of its range is wanted."""
        return self.since_ms is not None or self.filter != hb.Filter()


@app.command(cls=arguments.Command)
def inspect(
    ctx: typer.Context,
    *,
    process: options.Process,
    slot: Annotated[
        str | None,
        typer.Option("--slot", metavar="REF", help="Show only this slot, in full."),
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
    reverse: Annotated[bool, typer.Option("--reverse", help="Show the newest first.")] = False,
    most: _Most = None,
    everything: _All = False,
    follow: _Follow = False,
    definition: Annotated[
        bool, typer.Option("--definition", help="Show the definition as TOML, for `hb spawn --definition`.")
    ] = False,
) -> int:
    """Show the history of a process, slot by slot. Nothing is computed: slots that are not computed are pending.

    If --sender or --action is repeated, one of them must match. --follow shows the slots that others compute from now
    on (or from --from or --since on) until Ctrl-C.

    On a terminal, the newest 50 slots are shown unless --all, -n, --from or --to is given. A pipe gets all of them.

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
    chooses = any((since, sender, action, error is not None, reverse, most, everything, follow))
    _check(slot, [ref for ref in (first, last) if ref is not None], definition=definition, chooses=chooses)
    if follow and (reverse or last is not None):
        raise arguments.misuse("--follow shows what comes next: it takes no --reverse and no --to")
    home = context.existing_home(session, keep_open=follow or session.for_person)
    found = home.process(process, look_up=False)
    if definition:
        _print_definition(session, found)
        return exits.DONE
    if slot is not None:
        first = last = slot
    chosen = _Chosen(first, last, _since_ms(since), _filter(home, sender, action, error), reverse, most)
    if follow:
        return _follow(session, found, chosen)
    if not session.for_person:
        for view in _slots(found, chosen):
            output.json_line(views.slot_fields(view))
    elif slot is not None:
        _show_one(home, _slots(found, chosen))
    else:
        _show(home, found, chosen, is_cut=not (everything or chosen.is_bounded))
    return exits.DONE


def _check(slot: str | None, bounds: list[str], *, definition: bool, chooses: bool) -> None:
    """Raise if the options do not go together."""
    if definition and (slot is not None or bounds or chooses):
        raise arguments.misuse("--definition takes no slot: a process has one definition")
    if slot is not None and (bounds or chooses):
        raise arguments.misuse("give --slot for one slot, or --from, --to and filters for several")


def _since_ms(since: str | None) -> int | None:
    from time import time_ns

    from hb_cli.inputs import moments

    return None if since is None else moments.since(since, time_ns() // 1_000_000)


def _filter(home: hb.Home, senders: list[str] | None, actions: list[str] | None, failed: bool | None) -> hb.Filter:
    addresses = context.addresses(home) if senders else {}
    names = {name: address for address, name in addresses.items()}
    wanted = tuple(names.get(word) or arguments.address_prefix(word) for word in senders or [])
    return hb.Filter(wanted, tuple(actions or ()), failed)


def _slots(process: hb.Process, chosen: _Chosen) -> Iterator[hb.SlotView]:
    first, last = ("0" if chosen.first is None else chosen.first), ("now" if chosen.last is None else chosen.last)
    found = process.select(first, last, since_ms=chosen.since_ms, wanted=chosen.filter, reverse=chosen.reverse)
    return islice(found, chosen.most)


def _follow(session: Session, process: hb.Process, chosen: _Chosen) -> int:
    """Show slots as they are computed, until there are enough, or until Ctrl-C. That is no error: it ends this way."""
    slots = process.watch(chosen.first, since_ms=chosen.since_ms, wanted=chosen.filter)
    if session.for_person:
        session.note("following; Ctrl-C ends it")
    try:
        _print_lines(session, islice(slots, chosen.most))
    except KeyboardInterrupt:
        session.note("stopped following")
        return exits.INTERRUPTED
    return exits.DONE


def _print_lines(session: Session, slots: Iterable[hb.SlotView]) -> None:
    for view in slots:
        if session.for_person:
            from hb_cli.views import render

            output.show(render.slot_line(view))
        else:
            output.json_line(views.slot_fields(view))


def _print_definition(session: Session, process: hb.Process) -> None:
    from hb.protocol import definition as definitions

    found = process.definition
    if session.json:
        output.json_line(found)
        return
    import tomli_w

    output.line(tomli_w.dumps(definitions.to_table(found)).rstrip("\n"))


class _Callers:
    """What keys and processes are called, and whom a message comes from."""

    def __init__(self, home: hb.Home) -> None:
        self._home = home
        self._keys = context.addresses(home)
        self._processes = pushing.Names(home)

    def called(self, identifier: str) -> str:
        """Return the name of the key or of the process with an ID, or the beginning of the ID."""
        from hb_cli.views import render

        try:
            return self._keys.get(identifier) or self._processes.called(identifier)
        except IntegrityError:
            return render.short(identifier)  # a name that is damaged must not keep anybody from looking

    def source(self, view: hb.SlotView) -> str | None:
        """Return the process that a slot's message comes from; None if somebody else has sent it."""
        if view.slot == 0 or view.origin is not None:
            return None
        try:
            source = self._home.message(view.message).get("from-process")
        except NotFound:
            return None
        return source if isinstance(source, str) else None

    def sender(self, view: hb.SlotView) -> str:
        """Return what the sender of a slot's message is called: the process that it comes from, or the key."""
        sender = self.source(view) or view.sender
        return "" if sender is None else self.called(sender)


def _show_one(home: hb.Home, slots: Iterator[hb.SlotView]) -> None:
    from hb_cli.views import render

    callers = _Callers(home)
    for view in slots:
        output.show(render.slot_panel(view, callers.source(view), callers.called))


def _show(home: hb.Home, process: hb.Process, chosen: _Chosen, *, is_cut: bool) -> None:
    """Show slots as a table, and what there is to say about them. If it `is_cut`, only the newest."""
    from hb_cli.views import history, render

    callers, width, about = _Callers(home), output.screen_width(), process.view()
    output.show(render.process_line(about, callers.called))
    layout = history.layout(width, about.slots, about.devices)
    slots, more = _slots(process, chosen), False
    if is_cut:
        newest = list(_slots(process, chosen._replace(reverse=True, most=_NEWEST + 1)))
        more = len(newest) > _NEWEST
        slots = iter(newest[:_NEWEST] if chosen.reverse else newest[:_NEWEST][::-1])
    first = next(slots, None)
    if first is None:
        output.show(history.remark("no slot matches"))
        return
    output.show_each(history.tables(chain([first], slots), layout, callers.sender, callers.called))
    if more:
        of = "that match" if chosen.is_filtered else f"of {about.slots:,} slots"
        output.show(history.remark(f"the newest {_NEWEST} {of}; --all shows all"))
    output.show(history.legend())
