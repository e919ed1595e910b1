"""Which failure has which exit code: the table of the command line's documentation."""

from __future__ import annotations

import pytest

from hb import errors
from hb_cli import exits


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (errors.HbError("x"), 1, "failed"),
        (errors.HomeUnusable("x"), 1, "home-unusable"),
        (errors.OutOfMemory("x"), 1, "out-of-memory"),
        (errors.Conflict("x"), 1, "conflict"),
        (errors.Unfinished("x"), 1, "unfinished"),
        (errors.NoHome("x"), 10, "no-home"),
        (errors.HomeBusy("x"), 11, "home-busy"),
        (errors.NotFound("x"), 12, "not-found"),
        (errors.Refused("x"), 13, "refused"),
        (errors.BeyondThisMachine("x"), 13, "beyond-this-machine"),
        (errors.BadSignature("x"), 13, "bad-signature"),
        (errors.IntegrityError("x"), 14, "damage"),
        (errors.Interrupted("x"), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out-of-memory"),
        (KeyError("x"), 70, "bug"),
        (AssertionError("x"), 70, "bug"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error: BaseException, code: int, kind: str) -> None:
    assert exits.of(error) == (code, kind)


def test_every_error_of_the_core_has_a_line_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HbError)]
    names = [exits.of(kind("x"))[1] for kind in kinds]
    assert len(set(names)) == len(kinds)
