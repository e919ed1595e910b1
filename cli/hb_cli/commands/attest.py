"""`hb attest`: sign what a witness claims, after running it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def attest(
    ctx: typer.Context,
    *,
    target: Annotated[
        str, typer.Argument(metavar="PROCESS|FILE", help="A process, or a witness in a file.", show_default=False)
    ],
    slot: Annotated[
        str | None, typer.Option("--slot", metavar="REF", help="The slot of the process.", show_default=False)
    ] = None,
    file: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default=False)
    ] = None,
    as_key: options.AsKey = None,
) -> None:
    """Sign what a witness claims.

    The slot is run again first. Nothing is signed unless everything comes out as the witness says. The signed claim
    names the process, the slot, its hashpath, and the digests of the records and memories before and after it. It is
    added to the witness. Several keys can attest the same witness; `hb verify FILE` shows which do.

    With PROCESS and --slot, the witness is made first, and written to -o. With FILE, the signature is added to that
    file, or to a copy if -o names one.

    \b
    Examples:
      hb attest counter --slot 2 -o counter-2.witness
      hb attest counter-2.witness --as auditor
    """
    session = context.session_of(ctx)
    is_file = slot is None
    if not is_file and file is None:
        raise arguments.misuse("give -o FILE, to write the witness of the slot to")
    if is_file and not arguments.is_file(target):
        raise arguments.misuse("give a FILE that `hb export --witness` wrote, or --slot and -o FILE")
    path = Path(file or target)
    with progress.Bar() as bar:
        home = context.existing_home(session, bar.advance)
        key = home.signer(as_key)
        if slot is None:
            signed = home.attest(target, path, signer=key)
        else:
            signed = home.process(target, look_up=False).witness(path, slot, attest=[key])
    if session.for_person:
        output.line(f"{path}: {key.address} attests slot {signed.slot} of {signed.process}")
        return
    output.json_line(
        {"file": str(path), "process": signed.process, "slot": signed.slot, "attested-by": signed.attested_by}
    )
