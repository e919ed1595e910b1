"""`hb push`: deliver what programs send, and go on until nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import Interrupted
from hb_cli import context, pushing
from hb_cli.inputs import arguments, completion, options
from hb_cli.terminal import output, progress
from hb_cli.views import fields

if TYPE_CHECKING:
    import hb
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Process = Annotated[
    str | None,
    typer.Argument(
        metavar="PROCESS",
        help="A name, a process ID, or the first 4 or more characters of an ID.",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
_Reference = Annotated[
    str | None,
    typer.Argument(
        metavar="REF", help="Only this slot: a number, `now`, `now~1`, or the ID of its message or assignment."
    ),
]


@app.command(cls=arguments.Command)
def push(
    ctx: typer.Context,
    *,
    process: _Process = None,
    reference: _Reference = None,
    all_processes: Annotated[bool, typer.Option("--all", help="All processes that this home schedules.")] = False,
    depth: options.Depth = None,
    messages: options.Messages = None,
    gas: options.Gas = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> int:
    """Deliver what a process sends, until nothing is left.

    Whatever a delivery reaches is computed, and what that sends is delivered too.

    With REF, deliver what this slot asks for, and print its tree. Without it, deliver everything that is not delivered
    yet, and try again what is held. Each delivery is made once, even if this is interrupted: the next push goes on.

    In a pipe, each delivery is printed as it is made, and at last how many there were.

    \b
    Exit codes:
      1   a budget was used up: --depth, --messages or --gas; the next push goes on with a new one
      14  a process is damaged, and what it was sent waits
      15  the outcome of a message that was computed is an error

    A message for a process that is not here is held, and that is no failure: the first push after it came delivers it.

    \b
    Examples:
      hb push ping
      hb push ping 3
      hb push --all
      hb push ping --depth 10 --messages 100
      hb push --all --json | jq 'select(.place) | .target'
    """
    session = context.session_of(ctx)
    if all_processes == (process is not None):
        raise arguments.misuse("give a PROCESS, or --all")
    tally = progress.Tally()
    home = context.existing_home(session, tally.count_slot, keep_open=True)
    target = None if process is None else home.process(process)
    settings = pushing.Settings(
        depth=depth, messages=messages, gas=gas, timestamp_ms=timestamp, block_height=block_height
    )
    if target is not None and reference is not None:
        [view] = target.history(reference, reference)
        with pushing.resumable(), tally:
            pushed = target.push(view.slot, on_delivery=tally.count_delivery, **settings)
        return pushing.show_trees(session, home, target, [view.slot], pushed)
    told = _Told(session, tally)
    try:
        with pushing.resumable(), tally:
            pushed = (home if target is None else target).push(on_delivery=told.hear, **settings)
    except Interrupted:
        told.show_count()
        raise
    _show(session, pushed)
    held = home.held(None if target is None else {target.id, *told.reached})
    return pushing.conclude(session, home, pushing.Names(home), pushed, held, is_failed=bool(pushed.failed))


class _Told:
    """Prints deliveries as they are made. `reached` are the processes that they went to."""

    def __init__(self, session: Session, tally: progress.Tally) -> None:
        self._session = session
        self._tally = tally
        self._count = 0
        self.reached: set[str] = set()

    def hear(self, delivery: hb.Delivery) -> None:
        """Print a delivery, or count it for a person."""
        self._count += 1
        self._tally.count_delivery(delivery)
        self.reached.add(delivery.target)
        if not self._session.for_person:
            output.json_line(fields.delivery_fields(delivery))

    def show_count(self) -> None:
        """Tell a person how many deliveries were made so far."""
        if self._session.for_person:
            output.line(f"{self._count:,} delivered until then")


def _show(session: Session, pushed: hb.Pushed) -> None:
    if session.for_person:
        from hb_cli.views import tree

        output.show(tree.summary(pushed))
    else:
        output.json_line(fields.pushed_fields(pushed))
