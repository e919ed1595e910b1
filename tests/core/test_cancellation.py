from __future__ import annotations

import pytest

from hb.cancellation import NEVER, Cancellation
from hb.errors import Interrupted


def test_who_is_registered_is_called_when_the_work_is_cancelled_and_at_once_if_it_was() -> None:
    cancellation = Cancellation()
    calls: list[str] = []

    def during() -> None:
        calls.append("during")

    def told() -> None:
        calls.append("told")

    with cancellation.calling(during):
        cancellation.check()
    cancellation.notify(told)
    cancellation.notify(told)
    assert calls == []
    cancellation.cancel()
    assert calls == ["told"], "once, and not what was registered for a while that is over"
    with pytest.raises(Interrupted, match="the walk was interrupted"):
        cancellation.check("the walk")
    with cancellation.calling(during):
        assert calls == ["told", "during"]
    cancellation.notify(told)
    assert calls == ["told", "during", "told"]


def test_what_nobody_can_cancel_keeps_nobody() -> None:
    before = dict(NEVER._callbacks)
    NEVER.notify(lambda: None)
    assert before == NEVER._callbacks
    with pytest.raises(AssertionError):
        NEVER.cancel()
