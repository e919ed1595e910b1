"""The `hb` program: runs one command line, and turns whatever comes of it into an exit code and one clear sentence.

Holds the one catch-all. Imports almost nothing, so that even an interrupt while the rest loads is caught here; the
commands themselves are in `app`. Must hold no AO logic.
"""

from __future__ import annotations

import gc
import os
import sys

from hb_cli import exits
from hb_cli.context import Session


def run(arguments: list[str] | None = None) -> int:
    """Runs `hb ARGUMENTS` (default: the program's own) and returns its exit code; see `exits`."""
    _occupy_standard_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    session = Session(environ=os.environ)
    # What is loaded once stays: looking through it for garbage, at the start and at the end, costs a fifth of the run.
    gc.disable()
    try:
        from hb_cli import app

        gc.freeze()
        gc.enable()
        return app.run(arguments, session)
    except BrokenPipeError:
        from hb_cli.terminal import output

        output.abandon_stdout()
        return exits.CLOSED_PIPE
    except BaseException as error:  # the one catch-all: nothing reaches the user as a traceback
        from hb_cli import failure

        return failure.report(error, session, arguments)
    finally:
        gc.freeze()


def _occupy_standard_streams() -> None:
    """Opens descriptors 0 to 2 where they are closed, so that no file of the store is ever given one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
