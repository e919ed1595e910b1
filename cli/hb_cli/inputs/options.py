"""The arguments and options that several commands share, each with its help and its completion.

Invariants:
    Declarations only.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hb_cli.inputs import completion

Process = Annotated[
    str,
    typer.Argument(
        metavar="PROCESS",
        help="A name, a process ID, or the first 4 or more characters of an ID.",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
Processes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROCESS...",
        help="Names, process IDs, or the first 4 or more characters of IDs.",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
ProcessesOrFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROCESS|FILE...",
        help="Processes (names, IDs, or the first 4 or more characters of IDs), or files that `hb export` wrote.",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
Slot = Annotated[
    str,
    typer.Option(
        "--slot",
        metavar="REF",
        help="The slot: a number, `now`, `now~1`, or the ID of its message or assignment.",
    ),
]
Action = Annotated[str | None, typer.Argument(metavar="ACTION", help="The action of the message.", show_default=False)]
Parameters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PARAMETER...",
        help="Parameters of the action. A JSON number or string is taken as JSON, anything else as text.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="TEXT|@FILE|-", help="The data of the message: TEXT, a file's content, or standard input."
    ),
]
AsKey = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="KEY",
        help="The key that signs: a name, or the file of a key or a wallet (FILE.json, or a path with a slash). "
        "Default: the sender in the settings.",
        autocompletion=completion.keys,
        show_default=False,
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="K=V", help="A tag of the message. May be repeated.", show_default=False),
]
Anchor = Annotated[
    str | None,
    typer.Option("--anchor", metavar="TEXT", help="The anchor. Default: a random one."),
]
Depth = Annotated[
    int | None,
    typer.Option("--depth", metavar="N", min=0, help="Deliver at most N messages deep. Default: the home's setting."),
]
Messages = Annotated[
    int | None,
    typer.Option(
        "--messages", metavar="N", min=0, help="Deliver at most N messages of one root. Default: the home's setting."
    ),
]
Gas = Annotated[
    int | None,
    typer.Option("--gas", metavar="N", min=0, help="Use at most N gas for one root. Default: the home's setting."),
]
Timestamp = Annotated[
    int | None,
    typer.Option("--timestamp", metavar="MS", min=0, help="The time of the assignment. Default: the clock's."),
]
BlockHeight = Annotated[
    int,
    typer.Option("--block-height", metavar="N", min=0, help="The block height of the assignment."),
]
File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A file, or - for standard input.", show_default=False),
]
HistoryFile = Annotated[str, typer.Argument(metavar="FILE", help="A file that `hb export` wrote.", show_default=False)]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default=False)]
