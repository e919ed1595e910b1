"""`hb export`: write the history of a process, or a witness of one slot, to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress
from hb_cli.views.counting import counted

if TYPE_CHECKING:
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def export(
    ctx: typer.Context,
    *,
    process: options.Process,
    file: options.Output,
    slot: Annotated[
        str | None,
        typer.Option(
            "--slot", "--to", metavar="REF", help="The last slot, or the slot of a witness. Default: the newest."
        ),
    ] = None,
    witness: Annotated[
        bool, typer.Option("--witness", help="Write one slot, with everything that it takes to run it again.")
    ] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Include all memory images, not only those that are needed.")
    ] = False,
) -> None:
    """Export a process history, or a witness of one slot.

    A history has the definition, the module, every assignment up to --to, and the records of the slots that are
    computed. It has the newest memory image and those that every home needs; with --images, all. Another home takes it
    in with `hb import` and goes on from there. The history of a fork includes the slots that it shares.

    A witness has the state and memory before one slot, the message, and the outcome. That is enough for `hb verify` to
    run the slot again anywhere, without a home.

    Neither contains a signing key or a name. An existing file is replaced.

    \b
    Examples:
      hb export counter -o counter.history
      hb export counter --to 1 -o begin.history
      hb export counter --slot 2 --witness -o counter-2.witness
    """
    session = context.session_of(ctx)
    if witness and (images or slot is None):
        raise arguments.misuse("a witness is of one --slot, and has no --images")
    path = Path(file)
    with progress.Bar() as bar:
        found = context.existing_home(session, bar.advance).process(process, look_up=False)
        if witness:
            made = found.witness(path, slot or "now")
            told: dict[str, object] = {"process": made.process, "slot": made.slot}
        else:
            done = found.export(path, slot or "now", every_image=images)
            told = {
                "process": done.process,
                "slots": done.slots,
                "computed": done.computed,
                "memory-images": done.images,
            }
    _tell(session, path, told)


def _tell(session: Session, path: Path, told: dict[str, object]) -> None:
    size = path.stat().st_size
    if not session.for_person:
        output.json_line({"file": str(path), "bytes": size, **told})
        return
    length = counted(size, "byte")
    if isinstance(slots := told.get("slots"), int):
        output.line(f"{path}: {counted(slots, 'slot')}, {told['computed']} computed, of {told['process']}: {length}")
    else:
        output.line(f"{path}: slot {told['slot']} of {told['process']}: {length}")
