"""hb: AO processes on your own machine, as a library. `hb.library` says what there is.

    import hb

    home = hb.open()
    counter = home.spawn("counter.wasm", name="counter", initial_state={"counter": 0})
    counter.send("Increment")
    counter.state()["counter"]

Importing this loads nothing: each name is imported when it is first used. `__init__.pyi` has their types.
"""

_WHERE = {
    "Clock": "library",
    "FrozenHome": "library",
    "Home": "library",
    "Process": "library",
    "Result": "library",
    "Sent": "library",
    "VerifiedFile": "library",
    "frozen": "library",
    "memory": "library",
    "message": "library",
    "open": "library",
    "verify_file": "library",
    "wat": "library",
    "ProcessView": "node",
    "SlotView": "node",
    "HbError": "errors",
    "IntegrityError": "errors",
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
