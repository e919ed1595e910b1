"""hb: AO processes on your own machine, as a library. `hb.library` says what there is.

    import hb

    home = hb.open()
    counter = home.spawn("counter.wasm", name="counter", initial_state={"counter": 0})
    counter.send("Increment")
    counter.state()["counter"]

Importing this loads nothing: each name is imported when it is first used. `__init__.pyi` has their types.
"""

_WHERE = {
    "Answer": "library",
    "Cancellation": "cancellation",
    "Change": "history.rerun",
    "Clock": "library",
    "Config": "config",
    "Difference": "history.difference",
    "Filter": "history.selection",
    "Finding": "verify.evidence",
    "FrozenHome": "library",
    "Home": "library",
    "ModuleInfo": "binary.info",
    "Process": "library",
    "ProcessView": "history.views",
    "PublicKey": "keyring",
    "Rerun": "history.rerun",
    "Result": "library",
    "Sent": "library",
    "SlotView": "history.views",
    "StateView": "history.views",
    "Trace": "history.trace",
    "Verdict": "devices.verdict",
    "VerifiedFile": "library",
    "create": "library",
    "find": "library",
    "frozen": "library",
    "inspect_module": "library",
    "memory": "library",
    "message": "library",
    "open": "library",
    "verify_file": "library",
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

    found = globals()[name] = getattr(import_module(f"hb.{_WHERE[name]}"), name)
    return found


def __dir__():
    return sorted({*globals(), *_WHERE})
