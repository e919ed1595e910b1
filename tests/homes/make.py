"""Makes a stored home: what a released version of `hb` leaves on disk, and what that version says of it.

    .venv/bin/python tests/homes/make.py HB FORMAT

runs the program HB, in one home after the other, and writes `format-FORMAT.tar.xz` and `format-FORMAT.json` beside
this file. It is run once for each format that is released. What it wrote then must be read ever after: neither file is
made again.

The JSON has what HB itself answered: for each process the lines of `inspect`, and what came of going on from there.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from programs import LARGE, SPEAKER  # noqa: E402  it is run as a program of its own
from session.recorder import Place, Recorder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE_SLOTS = 140
LEFT_OUT = ("LOG", "LOG.old", "LOCK")
# What a home that is here goes on with: the same commands are run by the test, and must give the same answers.
GO_ON = (
    "state counter",
    "send counter Increment --anchor next --timestamp 1700009000000 --json",
    "send counter Add 5 --as alice --anchor next2 --timestamp 1700009001000 --wait --json",
    "state counter",
    "send what-if Add 2 --anchor next --timestamp 1700009000000 --wait --json",
    "send by-two Increment --anchor next --timestamp 1700009000000 --wait --json",
    "send ledger Transfer 2 1 5 --anchor next --timestamp 1700009000000 --wait --json",
    "eval me n --anchor next --timestamp 1700009000000 --json",
    "send large Write 9 --anchor next --timestamp 1700009000000 --wait --json",
    "fork large --slot 131 --name late --anchor next --timestamp 1700009000000 --json",
    "send late Write 11 --anchor next --timestamp 1700009000000 --wait --json",
    "call theirs Increment --anchor next --timestamp 1700009000000 --json",
    "fork theirs --name mine --anchor next --timestamp 1700009000000 --json",
    "spawn counter.wasm --anchor next --timestamp 1700009000000 --json",
)


def main(program: str, version: str) -> int:
    with tempfile.TemporaryDirectory() as name:
        recorder = Recorder(Path(name), Path(program).absolute(), sys.stdout, None)
        place = make(recorder)
        (HERE / f"format-{version}.tar.xz").write_bytes(packed(place.shell.home))
        said: dict[str, Any] = {"inspect": inspected(place)}
        said |= {"keys": rows(place, "key list"), "list": rows(place, "list")}
        said["go-on"] = [rows(place, words) for words in GO_ON]
        said["verify"] = rows(place, "verify --all --replay")
        (HERE / f"format-{version}.json").write_text(json.dumps(said, indent=0, sort_keys=True) + "\n")
    return 0


def make(recorder: Recorder) -> Place:
    """Return a place whose home has a process of every kind."""
    elsewhere = recorder.bare("elsewhere")
    elsewhere.shell.ok("init")  # with a key that the home itself does not have
    elsewhere.fixed("spawn counter.wasm --name theirs --initial-state '{\"counter\": 40}'")
    elsewhere.fixed("send theirs Increment --wait")
    elsewhere.hb("export theirs -o theirs.history")

    place = recorder.place("home")
    place.fixed("spawn counter.wasm --name counter --initial-state '{\"counter\": 0}' --tag Subject=Hello")
    for call in ("Increment --as alice", "Add 5 --as bob", "Nonsense", "Add five --data text", "ReadValue"):
        place.fixed(f"send counter {call}")
    place.hb("compute counter --slot 4")  # slot 5 stays pending
    place.fixed("fork counter --slot 2 --name what-if")
    place.fixed("send what-if Increment --wait")
    place.fixed("fork what-if --slot 1 --name deeper --as alice")
    place.fixed("fork counter --slot 2 --module counter2.wasm --name by-two")
    place.fixed("send by-two Increment --wait")
    place.fixed("spawn ledger.wasm --name ledger --gas-limit 100000 --memory-limit 2")
    for call in ("Mint 1 100", "Transfer 1 2 30", "Mint 1 -1", "Supply"):
        place.fixed(f"send ledger {call} --wait")
    place.shell.write("speaker.wat", SPEAKER)
    place.shell.write("large.wat", LARGE)
    place.fixed("spawn speaker.wat --name me --gas-limit 1000000")
    for word in ("n", "m", "e", "p", "w", "n"):
        place.fixed(f"eval me {word}")
    place.fixed("spawn large.wat --name large")
    lines = "".join(f'{{"action": "Write", "parameters": [{n * 9000}], "anchor": "{n}"}}\n' for n in range(LARGE_SLOTS))
    place.hb("send large --batch - --timestamp 1700001000000", stdin=lines)
    place.hb("compute large")
    shutil.copy(elsewhere.shell.directory / "theirs.history", place.shell.directory)
    place.hb("import theirs.history --name theirs")
    return place


def inspected(place: Place) -> dict[str, list[Any]]:
    """Return the lines of `inspect` of each process. Of a long history, each line's hashpath and results alone."""
    found: dict[str, list[Any]] = {}
    for about in rows(place, "list"):
        lines = rows(place, f"inspect {about['process']}")
        if len(lines) > LARGE_SLOTS:
            lines = [[line["hashpath"], line["results"]] for line in lines]
        found[about["process"]] = lines
    return found


def rows(place: Place, words: str) -> list[Any]:
    """Return the JSON lines that `hb WORDS` prints."""
    return [json.loads(line) for line in place.hb(words).splitlines()]


def packed(home: Path) -> bytes:
    """Return the home as an archive: without what was compiled, and without what LevelDB says of its own work."""
    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in walk(home):
            info = archive.gettarinfo(path, str(path.relative_to(home.parent)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            content = path.read_bytes() if info.isfile() else b""
            archive.addfile(info, BytesIO(content))
    return lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def walk(home: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(home):
        folders.sort()
        yield Path(directory)
        if Path(directory) != home / "cache":
            yield from (Path(directory) / name for name in sorted(names) if name not in LEFT_OUT)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
