"""`hb compute`: compute what is scheduled, now or as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import Interrupted
from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

if TYPE_CHECKING:
    from collections.abc import Callable

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
    push: Annotated[
        bool, typer.Option("--push", help="With --follow: deliver too what the results ask for, as `hb push` does it.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            max=256,
            help="Programs that compute at once. Default: one per core.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Compute processes up to a slot.

    `hb state` and `hb send --wait` compute what they need by themselves. This does it in advance.

    What is computed is stored, even if this is interrupted. The next compute goes on from there.

    With --follow --push, whatever is sent to the processes is computed and delivered, and their crons run, until
    Ctrl-C, which ends it with exit code 130. If a budget of the home's settings is used up, or another process is
    damaged, it says so and goes on. If the process itself is damaged, the exit code is 14.

    \b
    Examples:
      hb compute counter
      hb compute counter --slot 1000
      hb compute --all
      hb compute counter --follow
      hb compute --all --follow --push
    """
    session = context.session_of(ctx)
    if bool(process) == all_processes:
        raise arguments.misuse("give processes, or --all")
    if push and not follow:
        raise arguments.misuse("--push goes with --follow; `hb push` delivers what there is, and ends")
    if follow and (len(process or []) > 1 or (all_processes and not push) or slot != "now"):
        raise arguments.misuse("--follow takes one process, or --all with --push, and no --slot")
    if follow:
        return _follow(session, process[0] if process else None, push=push)
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


def _follow(session: Session, name: str | None, *, push: bool) -> int:
    """Print each slot when it is computed, until Ctrl-C. That is how it ends: it is not an error."""
    home = context.existing_home(session, keep_open=True)
    process = None if name is None else home.process(name, look_up=False)
    try:
        if push:
            _follow_pushing(session, home, process)
        elif process is not None:
            process.follow(_printer(session))
    except Interrupted:
        session.note("stopped following; what was computed is stored")
    return exits.INTERRUPTED


def _printer(session: Session, name: Callable[[str], str] | None = None) -> Callable[[hb.SlotView], None]:
    """Return what prints a slot. On a terminal, `name` says what stands before it: whose slot it is."""
    from hb_cli.views import fields as views

    if not session.for_person:
        return lambda slot: output.json_line(views.slot_fields(slot))
    from hb_cli.views import render

    session.note("following; Ctrl-C ends it")
    return lambda slot: output.show(render.slot_line(slot, "" if name is None else name(slot.process)))


def _follow_pushing(session: Session, home: hb.Home, process: hb.Process | None) -> None:
    from hb_cli import pushing

    names = pushing.Names(home)

    def hear(delivery: hb.Delivery) -> None:
        if session.for_person:
            from hb_cli.views import tree

            output.show(tree.delivery_line(delivery, names.called))
            return
        from hb_cli.views import fields as views

        output.json_line(views.delivery_fields(delivery))

    def note(pushed: hb.Pushed) -> None:
        for problem in pushing.problems_of(home, names, pushed):
            session.note(problem.message + (f"; {problem.hint}" if problem.hint else ""))
        if pushed.held > len(pushed.stops):
            what = "--all" if process is None else names.typed(process.id)
            session.note(f"{pushed.held:,} held; `hb push {what}` tries again, and says why")

    def warn(trouble: hb.CronTrouble) -> None:
        session.note(f"cron {trouble.cron} cannot send: {trouble.error.message}")

    if process is None:
        home.follow(_printer(session, names.called), on_delivery=hear, on_pushed=note, on_trouble=warn)
    else:
        process.follow(_printer(session), push=True, on_delivery=hear, on_pushed=note, on_trouble=warn)
