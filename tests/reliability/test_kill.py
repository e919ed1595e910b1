"""kill -9 at any instant: what was printed stays, the rest is there wholly or not at all, and computing goes on.

With HB_LONG=1 there are sixty kills; `scripts/soak kill N` makes as many as one likes.
"""

from __future__ import annotations

import os

import pytest

from reliability import intact, killing

KILLS = 10 if os.environ.get("HB_LONG") else 2
SEED = 4


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> killing.Stage:
    """Homes to begin with. Each run has copies of its own."""
    return killing.Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("kind", list(killing.KINDS))
def test_what_was_printed_outlives_a_kill_at_any_instant(stage: killing.Stage, kind: str) -> None:
    told = list(killing.stories(stage, seed=SEED, kills=KILLS, kinds=[kind]))
    assert [(str(story), story.broken) for story in told if story.broken] == []
    assert sum(story.killed for story in told) == KILLS


def test_the_second_opinion_sees_what_is_missing(stage: killing.Stage) -> None:
    with stage.scene("compute") as home:
        killing.hb(home, "compute", "--all")
        stored = intact.records(home)
    assert list(intact.broken(stored)) == []
    counter = stored[b"n/counter"]
    for kind in (b"p/", b"h/", b"a/", b"m/", b"v/", b"i/", b"g/"):
        # Images and pages are nobody's own.
        last = max(key for key in stored if key.startswith(kind) and (counter in key or kind in {b"i/", b"g/"}))
        less = {key: value for key, value in stored.items() if key != last}
        assert list(intact.broken(less)), last
    middle = b"s/" + counter + b"/" + (100).to_bytes(8, "big")
    assert list(intact.broken({key: value for key, value in stored.items() if key != middle}))
