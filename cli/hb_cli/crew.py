"""Several processes computed at once, each by a program of its own: one Python computes on one core only.

A hand is a program that is told the place of one process after another, and answers with the slot that it reached, or
with why it did not. It ends when the one that started it does. Must hold no AO logic.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import MutableSequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import HbError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnContext, SpawnProcess
    from pathlib import Path

PATIENCE_S = 0.1
"""How often the hands' progress is looked at."""

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
    """Each process and the slot that it reached, in the order that they were given, as they are done.

    `on_progress` hears, several times a second, how many slots all hands have computed.

    Raises:
        HbError: what computing one of them raised; of the others, what was computed until then is stored.
        Interrupted: Ctrl-C; what was computed until then is stored.
    """
    context = get_context("spawn")
    places = len(task.processes)
    # How many slots of each process were computed, and at the end whether all are to stop.
    board = context.Array("Q", places + 1, lock=False)
    crew: list[_Hand] = []
    try:
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
        # What a program ignores, one that it starts ignores too: until the hand can hear of Ctrl-C, it is deaf to it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            program.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()
        yield _Hand(program, ours)


def _stop(crew: Sequence[_Hand], board: _Board) -> None:
    """Has every hand stop as at Ctrl-C: one that does not hear it yet reads it from the board."""
    board[-1] = 1
    for hand in crew:
        with suppress(ProcessLookupError):
            os.kill(hand.program.pid or 0, signal.SIGINT)


def _in_order(processes: Sequence[str], answers: Iterator[_Answer]) -> Iterator[tuple[str, int]]:
    """The answers in the order of the processes; at the first that failed, no more."""
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
    """What the hands answer; each is given the next place when it is free, and none once one has failed."""
    waiting = deque(range(places))
    busy: dict[Connection, _Hand] = {}
    for hand in crew:
        hand.line.send(waiting.popleft())
        busy[hand.line] = hand
    while busy:
        ready = wait(list(busy), timeout=PATIENCE_S)
        look()
        for line in ready:
            hand = busy.pop(line)  # type: ignore[call-overload]
            try:
                place, answer = hand.line.recv()
            except EOFError:
                raise RuntimeError("a program that computed for this one ended without an answer") from None
            if isinstance(answer, Exception):
                waiting.clear()
            elif waiting:
                hand.line.send(waiting.popleft())
                busy[hand.line] = hand
            yield place, answer


def _work(task: Task, board: _Board, line: Connection) -> None:
    """What a hand does, until there is nobody on the line."""
    import hb

    # A group of its own: of Ctrl-C it hears from who started it, once.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
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
