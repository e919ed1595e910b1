"""Compute several processes at once, each in a program of its own: one Python computes on one core only.

A hand is a program that is told the place of one process after another. It answers with the slot that it reached, or
with why it did not.

Invariants:
    No AO logic.
    A hand ends when the program that started it ends, however that ends.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import MutableSequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import wait
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from hb.errors import HbError, Interrupted
from hb_cli.signals import NUMBERS as STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnContext, SpawnProcess
    from pathlib import Path

PATIENCE_S = 0.1
"""How often the hands' progress is looked at."""

ORPHAN_S = 0.25
"""How long a hand that nobody waits for has to stop in good order, before it is told once more."""

_Board = MutableSequence[int]
_Answer = tuple[int, "int | Exception"]


class Task(NamedTuple):
    """What the hands are to do, in the home at `home`: compute `processes`, all of them to `slot`."""

    home: Path
    lock_timeout_s: float | None
    processes: Sequence[str]
    slot: str


class _Hand(NamedTuple):
    program: SpawnProcess
    line: Connection


def compute(task: Task, hands: int, on_progress: Callable[[int], None]) -> Iterator[tuple[str, int]]:
    """Yield each process and the slot that it reached, in the order that they were given, as they are done.

    Calls `on_progress` several times a second with the number of slots that all hands have computed.

    Raises:
        HbError: what computing one of them raised; of the others, what was computed until then is stored.
        Interrupted: a signal came; what was computed until then is stored.
    """
    context = get_context("spawn")
    # Starting it lets signals through, so it is started before they have to wait.
    resource_tracker.ensure_running()
    places = len(task.processes)
    # How many slots of each process were computed, and at the end whether all are to stop.
    board = context.Array("Q", places + 1, lock=False)
    crew: list[_Hand] = []
    try:
        # A signal waits until every hand is known, so that each is told to stop. Hands inherit that they wait.
        with _blocked_signals():
            crew += _start(context, task, board, min(hands, places))
        yield from _in_order(task.processes, _answers(crew, places, lambda: on_progress(sum(board[:places]))))
    except KeyboardInterrupt as interrupted:
        _stop(crew, board)
        raise Interrupted("interrupted; all that was computed until then is stored") from interrupted
    except BaseException:
        _stop(crew, board)
        raise
    finally:
        for hand in crew:
            hand.line.close()
        for hand in crew:
            hand.program.join()


def _start(context: SpawnContext, task: Task, board: _Board, hands: int) -> Iterator[_Hand]:
    for _ in range(hands):
        ours, theirs = context.Pipe()
        program = context.Process(target=_work, args=(task, board, theirs), daemon=True)
        program.start()
        theirs.close()
        yield _Hand(program, ours)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Keep signals waiting while the `with` block runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _stop(crew: Sequence[_Hand], board: _Board) -> None:
    """Tell every hand to stop as at Ctrl-C. One that does not hear it yet reads it from the board."""
    board[-1] = 1
    for hand in crew:
        with suppress(ProcessLookupError):
            os.kill(hand.program.pid or 0, signal.SIGINT)


def _in_order(processes: Sequence[str], answers: Iterator[_Answer]) -> Iterator[tuple[str, int]]:
    """Yield the answers in the order of the processes; at the first that failed, no more."""
    reached: dict[int, int | Exception] = {}
    for place, process in enumerate(processes):
        while place not in reached:
            done, answer = next(answers)
            reached[done] = answer
        answer = reached.pop(place)
        if isinstance(answer, Exception):
            raise answer
        yield process, answer


def _answers(crew: Sequence[_Hand], places: int, look: Callable[[], None]) -> Iterator[_Answer]:
    """Yield what the hands answer. Each is given the next place when it is free, and none once one has failed."""
    waiting = deque(range(places))
    busy: dict[Connection, _Hand] = {}
    try:
        for hand in crew:
            hand.line.send(waiting.popleft())
            busy[hand.line] = hand
        while busy:
            ready = wait(list(busy), timeout=PATIENCE_S)
            look()
            for line in ready:
                hand = busy.pop(line)  # type: ignore[call-overload]
                place, answer = hand.line.recv()
                if isinstance(answer, Exception):
                    waiting.clear()
                elif waiting:
                    hand.line.send(waiting.popleft())
                    busy[hand.line] = hand
                yield place, answer
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise _lost(hand) from error


def _lost(hand: _Hand) -> HbError:
    """Return the error that says how a hand ended that gave no answer."""
    hand.program.join()
    code = hand.program.exitcode or 0
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return HbError(
        f"a program that computed for this one {how}",
        hint="what was computed until then is stored: the next compute goes on from there",
    )


def _work(task: Task, board: _Board, line: Connection) -> None:
    """Do what a hand does, until nobody is on the line."""
    import hb

    # A group of its own: of Ctrl-C it hears from the program that started it, once.
    os.setpgid(0, 0)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        for number in STOPPING:
            signal.signal(number, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        Thread(target=_stop_when_orphaned, daemon=True).start()
        while not board[-1]:
            place = line.recv()
            started: list[int] = []

            def hear(slot: int, target: int, place: int = place, started: list[int] = started) -> None:
                if not started:
                    started.append(slot - 1)
                board[place] = slot - started[0]

            answer: int | Exception
            try:
                home = hb.open(task.home, create=False, lock_timeout_s=task.lock_timeout_s)
                process = home.bound(on_slot=hear).process(task.processes[place], look_up=False)
                answer = process.compute(task.slot)
            except HbError as error:
                answer = error
            except Exception as error:  # a bug: it is the one who asked that reports it
                answer = RuntimeError(f"{type(error).__name__}: {error}")
            line.send((place, answer))


def _stop_when_orphaned() -> NoReturn:
    """Wait until the program that started this one is gone, and then stop as at Ctrl-C, which also ends a compile."""
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
    while True:
        os.kill(os.getpid(), signal.SIGINT)
        sleep(ORPHAN_S)
