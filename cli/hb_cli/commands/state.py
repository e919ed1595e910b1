"""`hb state`: show the state of a process at any slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import NotFound
from hb.protocol import casing
from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message, Value

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def state(
    ctx: typer.Context,
    process: options.Process,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH", help="A key, or keys joined by /. Only this value is shown.", show_default=False
        ),
    ] = None,
    slot: options.Slot = "now",
) -> None:
    """Show the state of a process at any slot.

    The state has the public keys, and the results of that slot. A slot that is not computed yet is computed first.

    With PATH, only that value is printed: text as it is, anything else as JSON.

    \b
    Examples:
      hb state counter
      hb state counter counter
      hb state counter --slot 1 counter
      hb state counter results/output/1
    """
    session = context.session_of(ctx)
    with progress.Bar() as bar:
        view = context.existing_home(session, bar.advance).process(process, look_up=False).state_view(slot)
    if path is not None:
        _print_value(find(view.state, path, view), is_json=session.json, for_person=session.for_person)
    elif session.for_person:
        from hb_cli.views import render

        output.show(render.state(view, process))
    else:
        output.json_line({**view.state, "hashpath": view.hashpath})


def find(state: Message, path: str, view: hb.StateView) -> Value:
    """Return the value at `path` in `state`: keys joined by `/`. The elements of a list are 1, 2, ...

    Raises:
        NotFound: there is none; the sentence says where the path ends, the hint what there is.
    """
    at: Value = {**state, "hashpath": view.hashpath}
    walked: list[str] = []
    for key in path.strip("/").split("/"):
        inside = at if isinstance(at, dict) else dict(enumerate_elements(at)) if isinstance(at, list) else {}
        name = key if key in inside else casing.lower(key)
        if name not in inside:
            where = f" in {'/'.join(walked)!r}" if walked else ""
            there_are = ", ".join(list(inside)[:20]) or "nothing in it"
            raise NotFound(f"no {key!r}{where} in the state at slot {view.slot}", hint=f"there is: {there_are}")
        at = inside[name]
        walked.append(key)
    return at


def enumerate_elements(values: list[Value]) -> list[tuple[str, Value]]:
    """Return the elements of a list with the keys that AO gives them: 1, 2, ..."""
    return [(str(position), value) for position, value in enumerate(values, 1)]


def _print_value(value: Value, *, is_json: bool, for_person: bool) -> None:
    if isinstance(value, str) and not is_json:
        output.line(value)
    elif for_person and isinstance(value, dict | list):
        from hb_cli.views import render

        output.show(render.value(value))
    else:
        output.json_line(value)
