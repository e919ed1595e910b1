"""What the tests of the devices share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["i32", "i64"])
def pointer(request) -> str:
    return request.param
