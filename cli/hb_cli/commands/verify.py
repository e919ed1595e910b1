"""`hb verify`: check stored data and files for damage, and repair what can be computed again."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hb
from hb.errors import HbError, IntegrityError, NotFound, Refused
from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress
from hb_cli.views import fields
from hb_cli.views.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=arguments.Command)
def verify(
    ctx: typer.Context,
    process: options.ProcessesOrFiles = None,
    all_processes: Annotated[
        bool, typer.Option("--all", help="Check all processes of the home, and its names.")
    ] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Run every message again, and compare.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Compute again what follows from an intact schedule; see below.")
    ] = False,
) -> int:
    """Check stored data for damage.

    IDs, signatures, slots, chains, hashpaths, records and memory are derived again and compared. Nothing is changed.

    A message that a push delivered must be what the results ask for that it comes from, and each delivery that results
    ask for must have been made once, or be held. A message whose sender is not here is checked by its proof, if it came
    with one.

    Each finding names the process, the slot and what is damaged, and says what was expected and what was found. With
    findings, the exit code is 14.

    With --all, the slots that a fork shares are checked once, with the process that owns them.

    --replay also checks what was computed: it runs every message again, and names the first slot whose results, state
    or memory differ.

    FILE is a history or a witness that `hb export` wrote; it needs no home. An argument is a FILE if it has a slash,
    ends in .history or .witness, or is the path of such a file. Otherwise it is a PROCESS. A witness is run again, and
    the addresses that attest it are shown.

    --repair deletes damaged slot records, memory images, index entries, names and records of deliveries, and makes them
    again. It prints what it did, and checks again. Schedules are never changed: if a schedule, a definition or an image
    is damaged, nothing is repaired. If the log of the store is damaged, the store is brought to where it can be opened:
    every whole record of the log is kept, and the damaged file is set aside in the home.

    \b
    Examples:
      hb verify counter
      hb verify counter --replay
      hb verify --all
      hb verify counter --repair
      hb verify counter-2.witness
    """
    session = context.session_of(ctx)
    if bool(process) == all_processes:
        raise arguments.misuse("give processes, or --all")
    check = _Check(session, replay=replay)
    if repair and any(map(arguments.is_file, process or [])):
        raise arguments.misuse("a FILE is not repaired")
    if repair:
        check.mend_store()
    targets = check.home.process_ids() if all_processes else process or []
    clean = check.everything(targets, names=all_processes)
    if repair and not clean and check.mend(targets, names=all_processes):
        check.everything(targets, names=all_processes)
    check.sum_up(len(targets))
    return exits.DAMAGE if check.found else exits.DONE


class _Check:
    """One run of the command: what it found so far, in how many slots."""

    def __init__(self, session: Session, *, replay: bool) -> None:
        self.session = session
        self.replay = replay
        self.found = 0
        self.slots = 0
        self._bar = progress.Bar()
        self._last = -1
        self._again = False

    @cached_property
    def home(self) -> hb.Home:
        """The home, which must be there."""
        return context.existing_home(self.session)

    @cached_property
    def watched(self) -> hb.Home:
        """The same home, with verbs that report each slot to this check."""
        return self.home.bound(on_slot=self._hear)

    def everything(self, targets: Iterable[str], *, names: bool) -> bool:
        """Check all targets, or with `names` the whole home. Print the findings; return whether there were none."""
        self.slots = self.found = 0
        try:
            if names:
                self._tell(self.watched.verify(replay=self.replay, on_process=self._begin, on_note=self._note))
                return not self.found
            for target in targets:
                self._begin(target)
                if arguments.is_file(target):
                    self._file(Path(target))
                else:
                    self._process(target)
        finally:
            self._bar.__exit__(None, None, None)
        return not self.found

    def _begin(self, target: str) -> None:
        self._bar.__exit__(None, None, None)
        self._last, self._again = -1, False

    def _note(self, note: hb.Note) -> None:
        self._bar.__exit__(None, None, None)
        output.note(f"{note.process}: {note.sentence}")

    def _process(self, target: str) -> None:
        try:
            found = self.watched.process(target, look_up=False)
            self._tell(found.find_damage(replay=self.replay, on_note=self._note))
        except NotFound as error:
            if not Path(target).is_file():
                raise
            raise Refused(f"{error.message}, and the file {target} is not a history or a witness") from error

    def _file(self, path: Path) -> None:
        home = self._home_if_any()
        try:
            form = hb.file_form(path)
        except IntegrityError:
            form = ""  # the findings say what is wrong with it
        if form == "witness":
            found = hb.verify_file(path) if home is None else home.verify_file(path)
            self.slots += 1
            self._tell(found.findings)
            for note in found.notes:
                self._note(note)
            self._tell_witness(path, found)
        elif home is None:
            found_damage = hb.find_file_damage(path, replay=self.replay, on_slot=self._hear, on_note=self._note)
            self._tell(found_damage)
        else:
            self._tell(home.find_file_damage(path, replay=self.replay, on_note=self._note))

    def _home_if_any(self) -> hb.Home | None:
        """Return the home, if there is one: it keeps the modules that are compiled."""
        try:
            return self.watched
        except HbError:
            return None

    def _tell_witness(self, path: Path, found: hb.VerifiedFile) -> None:
        if found.findings:
            return
        if not self.session.for_person:
            output.json_line(
                {
                    "attested-by": list(found.attested_by),
                    "file": str(path),
                    "hashpath": found.hashpath,
                    "process": found.process,
                    "slot": found.slot,
                }
            )
            return
        output.line(f"{path}: slot {found.slot} of {found.process} comes out as it says; hashpath {found.hashpath}")
        for address in found.attested_by:
            output.line(f"attested by {address}")

    def mend_store(self) -> None:
        """Bring the store to where it can be opened, if it cannot, and print what was done."""
        self._tell_done(None, self.home.repair_store())

    def mend(self, targets: Iterable[str], *, names: bool) -> bool:
        """Repair what can be repaired. Print what was done, or why nothing was; return whether anything was done."""
        mended = False
        for target in targets:
            try:
                done = self.home.process(target, look_up=False).repair(replay=self.replay)
            except Refused as error:
                output.note(f"{target}: {error.message}")
                output.note(f"{target}: {error.hint}")
                continue
            self._tell_done(target, done)
            mended = mended or bool(done)
        if names:
            done = self.home.repair_leftovers()
            self._tell_done(None, done)
            mended = mended or bool(done)
        return mended

    def sum_up(self, processes: int) -> None:
        """Print the last line."""
        if self.session.for_person:
            what = f"{counted(processes, 'process', 'processes')}, {counted(self.slots, 'slot')}"
            output.line(f"{what}{', replayed' if self.replay else ''}: {counted(self.found, 'finding')}")
            return
        output.json_line({"findings": self.found, "processes": processes, "replayed": self.replay, "slots": self.slots})

    def _hear(self, slot: int, last: int) -> None:
        if slot <= self._last:
            # Once more from the start: the replay.
            self._again = True
            self._bar.__exit__(None, None, None)
            self._bar = progress.Bar()
        self.slots += not self._again
        self._last = slot
        self._bar.advance(slot, last)

    def _tell(self, findings: Iterable[hb.Finding]) -> None:
        for finding in findings:
            self.found += 1
            self._bar.__exit__(None, None, None)
            if self.session.for_person:
                output.line(_sentence(finding))
            else:
                output.json_line(fields.finding_fields(finding))

    def _tell_done(self, process: str | None, done: list[str]) -> None:
        for line in done:
            if self.session.for_person:
                output.line(line if process is None else f"{process}: {line}")
            else:
                output.json_line({"process": process, "repaired": line})


def _sentence(finding: hb.Finding) -> str:
    where = "" if finding.process is None else f"{finding.process}"
    where += "" if finding.slot is None else f" slot {finding.slot}"
    said = f"{where + ': ' if where else ''}{finding.what}"
    return f"{said}: expected {finding.expected}, got {finding.got}"
