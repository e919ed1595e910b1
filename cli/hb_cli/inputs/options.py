"""The arguments and options that several commands share, each with its help and its completion, said once.

Must hold declarations only.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli.inputs import completion

Process = Annotated[
    str,
    typer.Argument(
        metavar="PROCESS",
        help="A name, a process ID, or its first characters (4 or more).",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
Processes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROCESS...",
        help="Names, process IDs, or their first characters (4 or more).",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
ProcessesOrFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROCESS|FILE...",
        help="Names, process IDs, or their first characters (4 or more); or files that `hb export` wrote.",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
Slot = Annotated[
    str,
    typer.Option(
        "--slot",
        metavar="REF",
        help="A slot: its number, `now`, `now~1`, or the ID of its message or its assignment.",
    ),
]
Action = Annotated[str | None, typer.Argument(metavar="ACTION", help="What to do.", show_default=False)]
Parameters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PARAMETER...",
        help="With what: JSON numbers and strings are what they say; all else is text.",
        show_default=False,
    ),
]
Data = Annotated[str | None, typer.Option("--data", metavar="TEXT|@FILE|-", help="The message's data.")]
AsKey = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="KEY",
        help="The key that signs. Default: the one called `default`.",
        autocompletion=completion.keys,
        show_default=False,
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="K=V", help="A tag of the message; may be repeated.", show_default=False),
]
Anchor = Annotated[
    str | None,
    typer.Option("--anchor", metavar="TEXT", help="The anchor, in place of a random one."),
]
Timestamp = Annotated[
    int | None,
    typer.Option(
        "--timestamp", metavar="MS", min=0, help="What the assignment says the time is, in place of the clock."
    ),
]
BlockHeight = Annotated[
    int,
    typer.Option("--block-height", metavar="N", min=0, help="What the assignment says the block height is."),
]
File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A file, or - for standard input.", show_default=False),
]
HistoryFile = Annotated[str, typer.Argument(metavar="FILE", help="A file that `hb export` wrote.", show_default=False)]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default=False)]
