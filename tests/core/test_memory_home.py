"""A home in memory is to a node what one on a disk is."""

from __future__ import annotations

import pytest

from hb.errors import HomeBusy, Refused
from hb.memory_home import MemoryHome
from hb.storage.storage import Patience
from hb.storage.store import Batch


def test_it_has_a_key_of_every_name_that_a_key_can_have() -> None:
    home = MemoryHome(b"seed")
    assert home.key("alice").address == MemoryHome(b"seed").key("alice").address == home.make_key("alice").address
    others = [home.key("bob"), MemoryHome(b"another").key("alice")]
    assert home.key("alice").address not in [other.address for other in others]
    with pytest.raises(Refused, match="not a name for a key"):
        home.key("../alice")


def test_who_holds_the_store_or_a_process_keeps_others_waiting() -> None:
    home = MemoryHome(b"seed")
    with home.storage.session(), pytest.raises(HomeBusy), home.storage.session(Patience(0)):
        pass
    with (
        home.storage.lease("a"),
        home.storage.lease("b"),
        pytest.raises(HomeBusy),
        home.storage.lease("a", Patience(0.01)),
    ):
        pass
    with home.storage.session(Patience(0)) as store, home.storage.lease("a", Patience(0)):
        store.commit(Batch(puts={b"k": b"v"}))
    with home.storage.session(Patience(0)) as store:
        assert store.get(b"k") == b"v"


def test_what_is_announced_is_noticed() -> None:
    home = MemoryHome(b"seed")
    before = home.storage.signal()
    home.storage.announce()
    assert home.storage.signal() != before
