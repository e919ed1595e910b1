"""The `hb` program: run one command line, and turn the outcome into an exit code and one clear sentence.

Imports almost nothing, so that even an interrupt while the rest loads is caught here. The commands are in `app`.

Invariants:
    No AO logic.
    The only place that catches every exception.
"""

from hb_cli import signals

# Nothing that could report a signal is loaded yet.
signals.leave_to_the_system()

import gc  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

from hb_cli import exits  # noqa: E402
from hb_cli.context import Session  # noqa: E402


def run(arguments: list[str] | None = None) -> int:
    """Run `hb ARGUMENTS` (default: the program's own) and return its exit code; see `exits`."""
    _occupy_standard_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    session = Session(environ=os.environ)
    # What is loaded once stays: looking through it for garbage, at the start and at the end, costs a fifth of the run.
    gc.disable()
    try:
        session.signals.listen()
        from hb_cli import app

        gc.freeze()
        gc.enable()
        return session.signals.exit_code(app.run(arguments, session))
    except BrokenPipeError:
        from hb_cli.terminal import output

        output.abandon_stdout()
        return exits.CLOSED_PIPE
    except BaseException as error:  # the one catch-all: nothing reaches the user as a traceback
        signals.leave_to_the_system()
        from hb_cli import failure

        return failure.report(error, session, arguments)
    finally:
        signals.leave_to_the_system()
        gc.freeze()


def _occupy_standard_streams() -> None:
    """Open descriptors 0 to 2 where they are closed, so that no file of the store is ever given one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
