"""`hb module`: look at wasm modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

import hb
from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output

if TYPE_CHECKING:
    from hb.protocol.message import Message

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.callback()
def module() -> None:
    """Look at wasm modules before they run.

    \b
    Example:
      hb module inspect counter.wasm
    """


@app.command("inspect", cls=arguments.Command)
def inspect(ctx: typer.Context, file: options.File) -> None:
    """Show what a module imports, exports and keeps, and whether it runs here: the verdict.

    The exit code is 0 even if the module does not run. The memory limit is that of the home's settings, or of a new
    home if there is none.

    \b
    Examples:
      hb module inspect counter.wasm
      hb module inspect counter.wasm --json | jq -r .verdict.sentence
    """
    session = context.session_of(ctx)
    wasm = arguments.read_module(file, limit_bytes=arguments.MODULE_LIMIT_BYTES)
    info, found = hb.inspect_module(wasm, context.likely_settings(session).memory_limit_pages)
    if session.for_person:
        from hb_cli.views import anatomy

        output.show(anatomy.view("standard input" if file == "-" else Path(file).name, len(wasm), info, found))
    else:
        output.json_line(
            {"verdict": _verdict_fields(found), "bytes": len(wasm), **({} if info is None else _fields(info))}
        )


def _verdict_fields(verdict: hb.Verdict) -> Message:
    """Return the JSON form of a verdict. What does not apply is null or empty."""
    return {
        "runs": verdict.runs_as is not None,
        "device": verdict.runs_as,
        "devices": list(verdict.devices),
        "converted-by": verdict.converted_by,
        "sentence": verdict.sentence,
        "hint": verdict.hint,
    }


def _fields(info: hb.ModuleInfo) -> Message:
    """Return the JSON form of what a module is. A function's type is written as `(i32, i64) -> (i32)`."""
    memory = info.memory
    return {
        "abi": info.abi,
        "imports": [
            {"module": wanted.module, "name": wanted.name, "kind": wanted.kind, "type": wanted.type}
            for wanted in info.imports
        ],
        "exports": [{"name": given.name, "kind": given.kind} for given in info.exports],
        "functions": {name: str(kind) for name, kind in info.functions.items()},
        "globals": dict(info.globals),
        "hidden-globals": info.hidden_globals,
        "memory": None
        if memory is None
        else {
            "minimum-pages": memory.minimum,
            "maximum-pages": memory.maximum,
            "64-bit": memory.is64,
            "exported": memory.exported,
        },
        "table-elements": info.table_elements,
        "start-function": info.has_start,
        "unsaveable": list(info.unsaveable),
        "sections": [{"name": name, "bytes": size} for name, size in info.sections],
        "custom-sections": [{"name": name, "bytes": size} for name, size in info.custom_sections],
    }
