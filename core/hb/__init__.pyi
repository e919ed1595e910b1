from hb.errors import HbError as HbError
from hb.errors import IntegrityError as IntegrityError
from hb.errors import NotFound as NotFound
from hb.errors import ProgramFailed as ProgramFailed
from hb.errors import Refused as Refused
from hb.library import Clock as Clock
from hb.library import FrozenHome as FrozenHome
from hb.library import Home as Home
from hb.library import Process as Process
from hb.library import Result as Result
from hb.library import Sent as Sent
from hb.library import frozen as frozen
from hb.library import memory as memory
from hb.library import message as message
from hb.library import open as open  # noqa: A004
from hb.library import wat as wat
from hb.node import ProcessView as ProcessView
from hb.node import SlotView as SlotView
