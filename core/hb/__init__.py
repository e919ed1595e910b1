"""hb: AO processes on your own machine, as a library. `hb.library` says what there is.

    import hb

    home = hb.open()
    counter = home.spawn("counter.wasm", name="counter", initial_state={"counter": 0})
    counter.send("Increment")
    counter.state()["counter"]

Importing this loads nothing: each name is imported when it is first used. `__init__.pyi` has their types.
"""

# The module of each name; after a colon, its name there if that is another.
_WHERE = {
    "Answer": "library.result",
    "Cancellation": "cancellation",
    "Change": "history.rerun",
    "Clock": "library",
    "Config": "config",
    "Cron": "records.crons",
    "CronTrouble": "schedule.cron:Trouble",
    "CronView": "schedule.crontab",
    "Delivery": "history.pushed",
    "Difference": "history.difference",
    "Exported": "files.summary",
    "Failure": "wasm.host",
    "Filter": "history.selection",
    "Finding": "verify.evidence",
    "Frame": "wasm.tracing",
    "FrozenHome": "library",
    "FunctionCall": "wasm.tracing",
    "GlobalChange": "wasm.tracing",
    "HeldGroup": "history.pushed",
    "Home": "library",
    "HostCall": "wasm.tracing",
    "Imported": "files.summary",
    "MemoryDifference": "history.difference:Memory",
    "MemoryInfo": "binary.info",
    "MemoryRange": "history.difference:Range",
    "ModuleInfo": "binary.info",
    "Note": "verify.replay",
    "Process": "library",
    "ProcessView": "history.views",
    "PublicKey": "keyring",
    "Pushed": "push.engine",
    "Removable": "schedule.removal",
    "ReplayDifference": "compute.comparison:Difference",
    "Rerun": "history.rerun",
    "Result": "library.result",
    "Scheduled": "schedule.scheduler",
    "Sent": "library.process",
    "Side": "history.difference",
    "SlotView": "history.views",
    "StateView": "history.views",
    "Stop": "push.engine",
    "Tick": "schedule.cron",
    "Trace": "history.trace",
    "TreeNode": "history.tree:Node",
    "ValueChange": "history.difference:Change",
    "Verdict": "devices.verdict",
    "VerifiedFile": "library.verified",
    "Witness": "files.witness",
    "DEFAULT_KEY": "home",
    "HOME_NAME": "home",
    "create": "library",
    "file_form": "library.verified",
    "find": "library",
    "find_file_damage": "library.verified",
    "frozen": "library",
    "inspect_module": "library",
    "is_history_file": "library.verified",
    "memory": "library",
    "message": "library",
    "open": "library",
    "verify_file": "library.verified",
    "wat": "library",
    "HbError": "errors",
    "IntegrityError": "errors",
    "Interrupted": "errors",
    "NotFound": "errors",
    "ProgramFailed": "errors",
    "Refused": "errors",
}

__all__ = list(_WHERE)


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module 'hb' has no attribute {name!r}")
    from importlib import import_module

    module, _, there = _WHERE[name].partition(":")
    found = globals()[name] = getattr(import_module(f"hb.{module}"), there or name)
    return found


def __dir__():
    return sorted({*globals(), *_WHERE})
