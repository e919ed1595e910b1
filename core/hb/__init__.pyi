from hb.binary.info import MemoryInfo as MemoryInfo
from hb.binary.info import ModuleInfo as ModuleInfo
from hb.cancellation import Cancellation as Cancellation
from hb.compute.comparison import Difference as ReplayDifference
from hb.config import Config as Config
from hb.devices.verdict import Verdict as Verdict
from hb.errors import HbError as HbError
from hb.errors import IntegrityError as IntegrityError
from hb.errors import Interrupted as Interrupted
from hb.errors import NotFound as NotFound
from hb.errors import ProgramFailed as ProgramFailed
from hb.errors import Refused as Refused
from hb.files.summary import Exported as Exported
from hb.files.summary import Imported as Imported
from hb.files.witness import Witness as Witness
from hb.history.difference import Change as ValueChange
from hb.history.difference import Difference as Difference
from hb.history.difference import Memory as MemoryDifference
from hb.history.difference import Range as MemoryRange
from hb.history.difference import Side as Side
from hb.history.pushed import Delivery as Delivery
from hb.history.pushed import HeldGroup as HeldGroup
from hb.history.rerun import Change as Change
from hb.history.rerun import Rerun as Rerun
from hb.history.selection import Filter as Filter
from hb.history.trace import Trace as Trace
from hb.history.tree import Node as TreeNode
from hb.history.views import ProcessView as ProcessView
from hb.history.views import SlotView as SlotView
from hb.history.views import StateView as StateView
from hb.home import DEFAULT_KEY as DEFAULT_KEY
from hb.home import HOME_NAME as HOME_NAME
from hb.keyring import PublicKey as PublicKey
from hb.library import Clock as Clock
from hb.library import FrozenHome as FrozenHome
from hb.library import Home as Home
from hb.library import Process as Process
from hb.library import create as create
from hb.library import find as find
from hb.library import frozen as frozen
from hb.library import inspect_module as inspect_module
from hb.library import memory as memory
from hb.library import message as message
from hb.library import open as open  # noqa: A004
from hb.library import wat as wat
from hb.library.process import Sent as Sent
from hb.library.result import Answer as Answer
from hb.library.result import Result as Result
from hb.library.verified import VerifiedFile as VerifiedFile
from hb.library.verified import file_form as file_form
from hb.library.verified import find_file_damage as find_file_damage
from hb.library.verified import is_history_file as is_history_file
from hb.library.verified import verify_file as verify_file
from hb.push.engine import Pushed as Pushed
from hb.push.engine import Stop as Stop
from hb.records.crons import Cron as Cron
from hb.schedule.cron import Tick as Tick
from hb.schedule.cron import Trouble as CronTrouble
from hb.schedule.crontab import CronView as CronView
from hb.schedule.removal import Removable as Removable
from hb.schedule.scheduler import Scheduled as Scheduled
from hb.verify.evidence import Finding as Finding
from hb.verify.replay import Note as Note
from hb.wasm.host import Failure as Failure
from hb.wasm.tracing import Frame as Frame
from hb.wasm.tracing import FunctionCall as FunctionCall
from hb.wasm.tracing import GlobalChange as GlobalChange
from hb.wasm.tracing import HostCall as HostCall

__all__ = [
    "DEFAULT_KEY",
    "HOME_NAME",
    "Answer",
    "Cancellation",
    "Change",
    "Clock",
    "Config",
    "Cron",
    "CronTrouble",
    "CronView",
    "Delivery",
    "Difference",
    "Exported",
    "Failure",
    "Filter",
    "Finding",
    "Frame",
    "FrozenHome",
    "FunctionCall",
    "GlobalChange",
    "HbError",
    "HeldGroup",
    "Home",
    "HostCall",
    "Imported",
    "IntegrityError",
    "Interrupted",
    "MemoryDifference",
    "MemoryInfo",
    "MemoryRange",
    "ModuleInfo",
    "NotFound",
    "Process",
    "ProcessView",
    "ProgramFailed",
    "PublicKey",
    "Pushed",
    "Refused",
    "Removable",
    "ReplayDifference",
    "Rerun",
    "Result",
    "Scheduled",
    "Sent",
    "Side",
    "SlotView",
    "StateView",
    "Stop",
    "Tick",
    "Trace",
    "TreeNode",
    "ValueChange",
    "Verdict",
    "VerifiedFile",
    "Witness",
    "create",
    "file_form",
    "find",
    "find_file_damage",
    "frozen",
    "inspect_module",
    "is_history_file",
    "memory",
    "message",
    "open",
    "verify_file",
    "wat",
]
