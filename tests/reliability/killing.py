"""`hb`, ended by kill -9 at a random instant, and what is then left of it.

A story is one such end: a home, a run of the real program in it, an instant, and all that did not hold afterwards.
tests/reliability/test_kill.py tells some, `scripts/soak kill N` many. The same seed draws the same instants, as
fractions of how long the run takes on this machine, or as how often it has changed the store's directory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from hb import home as homes
from hb import keyring
from hb.environment import system_environment
from hb.errors import HbError
from hb.protocol.request import build_message
from hb.wasm.module import from_text
from programs import LARGE
from reliability import intact
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reliability.intact import Records

PROGRAM = Path(sys.executable).parent / "hb"
COUNTER = Path(__file__).parents[2] / "samples" / "counter.wasm"
TIMEOUT_S = 120
NEVER = 1 << 30
BATCH = 1100
"""Messages of a batch: more than are synced at once."""
PENDING = {"counter": 1100, "large": 140}
"""How many messages wait to be computed."""


class Instant(NamedTuple):
    """When a run is ended: `seconds` after its start, or after what it writes has changed its directory so often."""

    changes: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.changes} changes and {self.seconds:.3f} s"


@dataclass
class Story:
    """One run that was ended, and what did not hold afterwards.

    `killed` is false where the run had ended before; `printed` lines were acknowledged, `there` of them or of others
    were there afterwards, of the `of` that there would have been in the end.
    """

    kind: str
    instant: Instant
    killed: bool = False
    printed: int = 0
    there: int = 0
    of: int = 0
    broken: list[str] = field(default_factory=list)

    def hold(self, fact: bool, otherwise: str) -> None:
        """Notes that something did not hold."""
        if not fact:
            self.broken.append(otherwise)

    def __str__(self) -> str:
        return f"{self.kind} at {self.instant}: {self.printed} printed, {self.there} of {self.of} there"


@dataclass
class Tally:
    """What many stories come to."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    broken: int = 0

    def add(self, story: Story) -> None:
        """Counts a story in."""
        count = self.counts.setdefault(story.kind, Counter())
        count["killed"] += story.killed
        count["nothing"] += story.killed and not story.there
        count["partly"] += story.killed and 0 < story.there < story.of
        count["all"] += story.killed and story.there == story.of
        count["unprinted"] += story.killed and story.there > story.printed
        count["broken"] += bool(story.broken)
        self.broken += bool(story.broken)

    def __str__(self) -> str:
        columns = {
            "killed": "kills",
            "nothing": "nothing was there yet",
            "partly": "a part was",
            "all": "all was",
            "unprinted": "more was there than printed",
            "broken": "promises broken",
        }
        rows = [["run", *columns.values()]]
        rows += [[kind, *(str(count[name]) for name in columns)] for kind, count in self.counts.items()]
        total = sum(self.counts.values(), Counter())
        rows.append(["all", *(str(total[name]) for name in columns)])
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([lines[0], f"|---|{'--:|' * len(columns)}", *lines[1:]])


class Ended(NamedTuple):
    """A run of `hb` that has ended: its exit code, -9 where it was killed, and the whole lines that it printed."""

    code: int
    lines: list[str]
    said: str
    changes: int


def stories(stage: Stage, *, seed: int, kills: int, kinds: Sequence[str] = ()) -> Iterator[Story]:
    """Stories of all `kinds` in turn (of every kind, if none is named), until `kills` runs were killed."""
    random = Random(seed)
    for kind in cycle(kinds or KINDS):
        if kills <= 0:
            return
        story = tell(stage, kind, random)
        kills -= story.killed
        yield story


def tell(stage: Stage, kind: str, random: Random) -> Story:
    """One story of a kind, at an instant that `random` draws."""
    if random.random() < 0.5:
        # Before that Python starts, and has opened nothing yet.
        instant = Instant(0, random.uniform(0.35, 0.95) * stage.seconds(kind))
    else:
        # Most of a run is Python starting: where it is at the store is looked for, and most of all the last writes.
        most = stage.changes(kind)
        changes = max(1, random.choice((random.randint(1, most), most - random.randint(0, 6))))
        instant = Instant(changes, random.choice((0.0, random.uniform(0, 0.02))))
    story = Story(kind, instant)
    with stage.scene(kind) as home:
        try:
            KINDS[kind](stage, home, story)
        except HbError as error:
            # What is left is so damaged that even looking at it ends there.
            story.broken.append(f"{type(error).__name__}: {error}")
    return story


class Stage:
    """Homes to begin with, and what is known of them. Everything lies in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.batch = directory / "batch.ndjson"
        self.batch.write_text("".join(f'{{"action":"Increment","anchor":"{n}"}}\n' for n in range(BATCH)))
        self.newest = dict.fromkeys(PENDING, 0)
        self._runs: dict[str, tuple[float, int]] = {}
        self._uninterrupted: dict[bytes, Records] = {}
        self._make()

    def _make(self) -> None:
        fresh = homes.create(self.directory / "fresh")
        key = keyring.load(fresh.keys, homes.DEFAULT_KEY)
        environment = system_environment()
        node = Node(fresh)
        for name, image in (("counter", COUNTER.read_bytes()), ("large", from_text(LARGE))):
            node.spawn(image, signer=key, environment=environment, name=name, anchor=name)
        shutil.copytree(fresh.path, self.directory / "pending")
        node = Node(homes.open_home(self.directory / "pending"))
        actions: dict[str, Callable[[int], tuple[str, list[int]]]] = {
            "counter": lambda number: ("Increment", []),
            "large": lambda number: ("Spoil" if number % 50 == 49 else "Write", [number * 4096 % 1_300_000]),
        }
        for name, count in PENDING.items():
            messages = []
            for number in range(count):
                action, parameters = actions[name](number)
                messages.append(build_message(action, list(parameters), anchor=f"{number}"))
            node.send(name, messages, signer=key, environment=environment)

    def scene(self, kind: str) -> Scene:
        """A home for one story, gone after it."""
        origin = {"send": "fresh", "batch": "fresh", "spawn": "fresh", "first": None}.get(kind, "pending")
        return Scene(self.directory / "scene", None if origin is None else self.directory / origin)

    def seconds(self, kind: str) -> float:
        """How long a run of that kind takes when nobody ends it."""
        return self._measured(kind)[0]

    def changes(self, kind: str) -> int:
        """How often a run of that kind is seen to change its directory when nobody ends it."""
        return self._measured(kind)[1]

    def _measured(self, kind: str) -> tuple[float, int]:
        if kind not in self._runs:
            # The first run of a kind is slower than those after it.
            self._runs[kind] = [self._measure(kind) for _ in range(2)][-1]
        return self._runs[kind]

    def _measure(self, kind: str) -> tuple[float, int]:
        with self.scene(kind) as home:
            started = perf_counter()
            # A follower never ends by itself: what it has to do is a compute.
            arguments = COMMANDS["compute" if kind == "follow" else kind]
            ran = hb(home, *arguments, stdin=self.stdin(kind), kill_at=Instant(NEVER, 0))
            assert ran.code == 0, ran
            return perf_counter() - started, ran.changes

    def stdin(self, kind: str) -> Path | None:
        """What a run of that kind reads."""
        return self.batch if kind == "batch" else None

    def uninterrupted(self, stored: Records) -> Records:
        """What computing makes of a schedule that nobody disturbs."""
        schedule = intact.scheduled(stored)
        name = sha256(repr(sorted(schedule.items())).encode()).digest()
        if name not in self._uninterrupted:
            self._uninterrupted[name] = intact.uninterrupted(schedule, self.directory / "uninterrupted")
        return self._uninterrupted[name]


class Scene:
    """A directory for a home, a copy of `origin` if there is one, for the length of a `with` block."""

    def __init__(self, path: Path, origin: Path | None) -> None:
        self.path = path
        self.origin = origin

    def __enter__(self) -> Path:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()
        if self.origin is not None:
            shutil.copytree(self.origin, self.path / "home")
        return self.path / "home"

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def hb(home: Path, *arguments: str, stdin: Path | None = None, kill_at: Instant | None = None) -> Ended:
    """Runs `hb`, until its end, or until `kill_at`: then kill -9 ends it."""
    out, err = home.parent / "out", home.parent / "err"
    with (stdin or Path(os.devnull)).open("rb") as given, out.open("wb") as printed, err.open("wb") as said:
        process = subprocess.Popen(
            [PROGRAM, "--home", home, *arguments],
            stdin=given,
            stdout=printed,
            stderr=said,
            env={"PATH": os.environ["PATH"], "HOME": str(home.parent)},
        )
        changes = 0 if kill_at is None else _kill(process, home, kill_at)
        code = process.wait(TIMEOUT_S)
    return Ended(code, out.read_text().split("\n")[:-1], err.read_text(), changes)


def _kill(process: subprocess.Popen[bytes], home: Path, instant: Instant) -> int:
    """Ends a run at an instant, unless it ends before; how many changes were seen until then."""
    # A home that is not there yet is made beside its place.
    store = home / "store" if home.exists() else home.parent
    last, seen, until = store.stat().st_mtime_ns, 0, perf_counter() + TIMEOUT_S
    while seen < instant.changes and process.poll() is None and perf_counter() < until:
        now = store.stat().st_mtime_ns
        seen += now != last
        last = now
    try:
        process.wait(instant.seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return seen


COMMANDS = {
    "send": ("send", "counter", "Increment", "--anchor", "once"),
    "batch": ("send", "counter", "--batch", "-"),
    "compute": ("compute", "--all"),
    "follow": ("compute", "counter", "--follow"),
    "spawn": ("spawn", str(COUNTER), "--name", "another", "--anchor", "another"),
    "first": ("spawn", str(COUNTER), "--name", "another", "--anchor", "another"),
}


def _end(stage: Stage, home: Path, story: Story) -> Ended:
    """The run of the story, ended; what it said must be no traceback."""
    ended = hb(home, *COMMANDS[story.kind], stdin=stage.stdin(story.kind), kill_at=story.instant)
    story.killed = ended.code < 0
    story.printed = len(ended.lines)
    story.hold(ended.code in {0, -9}, f"it ended with {ended.code}: {ended.said}")
    return ended


def _look(home: Path, story: Story) -> Records:
    """What is stored, after it was looked at from all sides."""
    verified = hb(home, "verify", "--all")
    story.hold(
        verified.code == 0,
        f"hb verify: {verified.code}: {verified.lines} {verified.said}",
    )
    stored = intact.records(home)
    story.broken += intact.broken(stored)
    return stored


def _go_on(stage: Stage, home: Path, story: Story) -> None:
    """What is left to compute is computed, and all comes out as if nothing had happened."""
    resumed = hb(home, "compute", "--all")
    story.hold(resumed.code == 0, f"the next compute ended with {resumed.code}: {resumed.said}")
    stored = intact.records(home)
    expected, got = stage.uninterrupted(stored), intact.derived(stored)
    different = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
    story.hold(not different, f"{len(different)} computed records are others: {different[:3]}")


def _newest(stored: Records, name: str) -> int:
    """The newest slot of the process of that name, or -1 where there is none."""
    return intact.heads(stored).get(stored.get(b"n/" + name.encode(), b"").decode(), -1)


def _send(stage: Stage, home: Path, story: Story) -> None:
    ended = _end(stage, home, story)
    stored = _look(home, story)
    messages = story.of = BATCH if story.kind == "batch" else 1
    story.there = _newest(stored, "counter")
    story.hold(ended.lines == [str(slot) for slot in range(1, len(ended.lines) + 1)], f"it printed {ended.lines}")
    story.hold(story.printed <= story.there <= messages, f"{story}")
    story.hold(story.there in {0, 1000, messages}, f"a part of what is synced at once was there: {story}")
    again = hb(home, *COMMANDS[story.kind], stdin=stage.stdin(story.kind))
    story.hold(
        again.lines == [str(slot) for slot in range(1, messages + 1)], f"sent again: {again.lines[:3]} {again.said}"
    )
    kept = {key: value for key, value in intact.scheduled(stored).items() if not key.startswith(b"h/")}
    story.hold(kept.items() <= intact.records(home).items(), "what was scheduled is another after sending again")
    _go_on(stage, home, story)
    story.hold(hb(home, "state", "counter", "counter").lines == [str(messages)], "the counter is another")


def _compute(stage: Stage, home: Path, story: Story) -> None:
    before = intact.scheduled(intact.records(home))
    ended = _end(stage, home, story)
    stored = _look(home, story)
    story.hold(intact.scheduled(stored) == before, "computing changed the schedule")
    computed = {key for key in stored if key.startswith(b"s/")}
    rows = [json.loads(line) for line in ended.lines]
    for row in rows:
        story.hold(
            b"s/" + row["process"].encode() + b"/" + row["slot"].to_bytes(8, "big") in computed,
            f"slot {row['slot']} was printed, and is not there",
        )
    # A follower prints slots, a compute prints the last one of each process.
    followed = story.kind == "follow"
    story.of = sum(1 + count for name, count in PENDING.items() if name == "counter" or not followed)
    story.there = len(computed)
    story.printed = len(rows) if followed else sum(1 + row["slot"] for row in rows)
    _go_on(stage, home, story)


def _spawn(stage: Stage, home: Path, story: Story) -> None:
    ended = _end(stage, home, story)
    story.of = 1
    if home.exists():
        story.there = int(_newest(_look(home, story), "another") == 0)
    story.hold(story.printed <= story.there, f"{story}")
    again = hb(home, *COMMANDS[story.kind])
    story.hold(again.code == 0 and again.lines[: len(ended.lines)] == ended.lines, f"spawned again: {again}")
    _go_on(stage, home, story)


KINDS: dict[str, Callable[[Stage, Path, Story], None]] = {
    "send": _send,
    "batch": _send,
    "compute": _compute,
    "follow": _compute,
    "spawn": _spawn,
    "first": _spawn,
}
