"""`hb compute`: compute what is scheduled, now or as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import Interrupted
from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

if TYPE_CHECKING:
    import hb
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

CREW_SLOTS = 1000
"""With fewer pending slots than this, one program is done before a second has started."""


@app.command(cls=arguments.Command)
def compute(
    ctx: typer.Context,
    process: options.Processes = None,
    all_processes: Annotated[bool, typer.Option("--all", help="All processes of the home.")] = False,
    slot: options.Slot = "now",
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep the process live, and compute what is sent to it until Ctrl-C.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, max=256, help="Programs that compute at once. Default: one per core.", show_default=False
        ),
    ] = None,
) -> int:
    """Compute processes up to a slot.

    `hb state` and `hb send --wait` compute what they need by themselves. This does it in advance.

    What is computed is stored, even if this is interrupted. The next compute goes on from there.

    \b
    Examples:
      hb compute counter
      hb compute counter --slot 1000
      hb compute --all
      hb compute counter --follow
    """
    session = context.session_of(ctx)
    if bool(process) == all_processes:
        raise arguments.misuse("give processes, or --all")
    if follow and (all_processes or len(process or []) != 1 or slot != "now"):
        raise arguments.misuse("--follow takes one process, and no --slot")
    if follow:
        return _follow(session, (process or [""])[0])
    bar = progress.Bar()
    home = context.existing_home(session, bar.advance)
    # All names are looked up before anything is computed, so that a wrong one does not stop the command halfway.
    named = (home.process(name, look_up=False) for name in process or [])
    views = home.process_views() if all_processes else [found.view() for found in named]
    targets = list(dict.fromkeys(view.process for view in views))
    pending = {view.process: view.slots - 1 - (-1 if view.computed is None else view.computed) for view in views}
    behind = [pid for pid in targets if pending[pid]]
    hands = min(_cores() if jobs is None else jobs, len(behind))
    if hands > 1 and (jobs is not None or sum(pending.values()) >= CREW_SLOTS):
        from hb_cli import crew

        assert home.path is not None
        task = crew.Task(home.path, session.lock_timeout_s, targets, slot)
        total = sum(pending.values())
        with bar:
            for pid, reached in crew.compute(task, hands, lambda done: bar.advance(done, total)):
                _tell(session, pid, reached)
        return exits.DONE
    for pid in targets:
        with bar:
            reached = home.process(pid, look_up=False).compute(slot)
        _tell(session, pid, reached)
    return exits.DONE


def _cores() -> int:
    """Return the number of processor cores that this program may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tell(session: Session, process: str, slot: int) -> None:
    if session.for_person:
        output.line(f"{process} is computed to slot {slot}")
    else:
        output.json_line({"process": process, "slot": slot})


def _follow(session: Session, name: str) -> int:
    """Print each slot when it is computed, until Ctrl-C. That is how it ends: it is not an error."""
    process = context.existing_home(session, keep_open=True).process(name, look_up=False)
    try:
        _print_slots(session, process)
    except Interrupted:
        session.note("stopped following; what was computed is stored")
    return exits.INTERRUPTED


def _print_slots(session: Session, process: hb.Process) -> None:
    from hb_cli.views import fields as views

    if not session.for_person:
        process.follow(lambda slot: output.json_line(views.slot_fields(slot)))
        return
    from hb_cli.views import render

    session.note("following; Ctrl-C ends it")

    def show(slot: hb.SlotView) -> None:
        output.show(render.slot_line(slot))

    process.follow(show)
