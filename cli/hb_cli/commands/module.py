"""`hb module`: looks at wasm modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hb_cli import arguments, context, options, output

if TYPE_CHECKING:
    from hb.protocol.message import Message
    from hb.wasm.module import ModuleInfo

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
    """Show what a module imports, exports and keeps.

    \b
    Example:
      hb module inspect counter.wasm
    """
    from hb.wasm import module as modules

    session = context.session_of(ctx)
    wasm = arguments.read_module(file, limit_bytes=arguments.MODULE_LIMIT_BYTES)
    info = modules.inspect(wasm)
    if session.for_person:
        from hb_cli import render

        output.show(render.module(_fields(info)))
    else:
        output.json_line(_fields(info))


def _fields(info: ModuleInfo) -> Message:
    """The JSON form of what a module is; a function's type is written as `(i32, i64) -> (i32)`."""
    memory = info.memory
    return {
        "bytes": info.bytes,
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
