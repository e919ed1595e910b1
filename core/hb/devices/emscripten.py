"""`emscripten@1.0`: the functions that emscripten's JavaScript gives to a program, without any world outside.

There are no files, other programs or drives: a program that asks for one is told that it does not exist. The time is
the message's, in UTC. `invoke_*` and longjmp are in `hb.wasm.longjmp`.

Invariants:
    Unlike in JavaScript, nothing here outlives a call.

Source: emscripten 3.1's system libraries; the AO loader where those leave a choice.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

from hb.devices import calendar
from hb.devices.device import Device
from hb.devices.imports import Provided, fit, types_of
from hb.devices.wasi import EBADF, EINVAL, ENOENT, ENOSYS, STDIN, STREAMS, exited, random_get
from hb.wasm.host import Failure, Host, HostTrap

if TYPE_CHECKING:
    from hb.devices.device import Imports
    from hb.wasm.instance import HostFunction
    from hb.wasm.module import ModuleInfo

ENODEV = 43
ERANGE = 68

_F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL = 1, 2, 3, 4
_O_RDONLY, _O_WRONLY = 0, 1
_TIOCGWINSZ = 0x5413
_WINDOW = struct.pack("<4H", 24, 80, 0, 0)
_WORKING_DIRECTORY = b"/\0"
_ZONE = b"UTC\0"

_PAGE_BYTES = 65536
# Source: emscripten_resize_heap: the memory grows by 20 %, or 10, or 5, and by no more than 96 MiB beyond the request.
_GROWTH_PERCENT = (20, 10, 5)
_MAX_SPARE_BYTES = 96 << 20

_MAX_FORMAT_BYTES = 4096
_MAX_ZONE_BYTES = 64
_MAX_QUOTED_BYTES = 300
_MOVED_BYTES_PER_GAS = 16


def memcpy(host: Host, target: int, source: int, size: int) -> None:
    """Copy within the memory. 16 bytes take a unit of gas. What lies outside the memory is not copied.

    Lua that runs out of memory copies from and to address 0 before it notices, and then goes on. It does so under the
    AO loader too.
    """
    end = host.memory_bytes
    target, source = min(host.unsigned(target), end), min(host.unsigned(source), end)
    moved = min(host.unsigned(size), end - target, end - source)
    host.spend(moved // _MOVED_BYTES_PER_GAS)
    host.move(target, source, moved)


def resize_heap(host: Host, requested: int) -> int:
    """Grow the memory to at least `requested` bytes, and more if there is room. Return 1, or 0 if it cannot grow."""
    old, most, wanted = host.memory_bytes, host.limit_bytes, host.unsigned(requested)
    if not old < wanted <= most:
        return 0
    for percent in _GROWTH_PERCENT:
        roomy = min(old * (100 + percent) // 100, wanted + _MAX_SPARE_BYTES)
        pages = -(-max(wanted, roomy) // _PAGE_BYTES)
        if host.grow(min(pages, most // _PAGE_BYTES) - old // _PAGE_BYTES):
            return 1
    return 0


def heap_max(host: Host) -> int:
    """Return the bytes that the memory may grow to."""
    return host.limit_bytes


def gas_used(host: Host) -> int:
    """Return the gas that the message has used so far, of which the program gets the low 32 bits.

    Source: AO's metering, whose loader provides it. Gas differs between releases of the engine, and so does the state
    of a program that keeps it.
    """
    return host.gas_used


def now_ms(host: Host) -> float:
    """Return the message's time, in milliseconds."""
    return float(host.now_ms)


def gmtime(host: Host, seconds: int, target: int) -> None:
    """Fill in the `struct tm` of a moment. If there is no such moment, fill it with zeros, as JavaScript does."""
    moment = calendar.moment_at(seconds)
    host.write(target, struct.pack("<8i", *(moment or (0,) * 8)[:8]))


def localtime(host: Host, seconds: int, target: int) -> None:
    """Do as `gmtime`, and say that it is UTC without daylight saving."""
    gmtime(host, seconds, target)
    host.write_int(target + 32, 0, 4)
    host.write_int(target + (40 if host.pointer_bytes == 8 else 36), 0, host.pointer_bytes)


def mktime(host: Host, target: int) -> int:
    """Return the seconds of a `struct tm`, and put its parts into their ranges. Return -1 if it is no moment."""
    moment, _ = _read_moment(host, target)
    seconds = calendar.seconds_of(moment)
    normal = None if seconds is None else calendar.moment_at(seconds)
    if seconds is None or normal is None:
        return -1
    host.write(target, struct.pack("<8i", *normal[:8]))
    if moment.is_dst < 0:
        host.write_int(target + 32, 0, 4)
    return seconds


def tzset(host: Host, timezone: int, daylight: int, standard_name: int, daylight_name: int) -> None:
    """Say that the zone is UTC all year."""
    host.write_int(timezone, 0, host.pointer_bytes)
    host.write_int(daylight, 0, 4)
    host.write(standard_name, _ZONE)
    host.write(daylight_name, _ZONE)


def strftime(host: Host, target: int, room: int, pattern: int, moment: int, *locale: int) -> int:
    """Do C's `strftime`, the same in every locale. Return the size of the text, or 0 if it does not fit."""
    parts, zone = _read_moment(host, moment)
    name = host.text(zone, _MAX_ZONE_BYTES).decode("utf-8", "replace") if zone else ""
    text = calendar.format_time(host.text(pattern, _MAX_FORMAT_BYTES), parts._replace(zone=name))
    if len(text) >= host.unsigned(room):
        return 0
    host.write(target, text + b"\0")
    return len(text)


def print_line(host: Host, text: int) -> None:
    """Print a text and a newline."""
    host.print(host.text(text) + b"\n")


def getentropy(host: Host, address: int, size: int) -> int:
    """Write random bytes of the message."""
    return random_get(host, address, size)


def end(host: Host, status: int) -> NoReturn:
    """End the program.

    Raises:
        HostTrap: always.
    """
    raise HostTrap(exited(status % 2**32))


def abort(host: Host) -> NoReturn:
    """End the program as failed.

    Raises:
        HostTrap: always.
    """
    raise HostTrap(Failure("abort", "the program aborted"))


def assert_fail(host: Host, condition: int, file: int, line: int, function: int) -> NoReturn:
    """End the program as failed, and say which assertion did not hold.

    Raises:
        HostTrap: always.
    """
    quoted = (_quoted(host, place) for place in (condition, file, function))
    what, where, inside = quoted
    raise HostTrap(Failure("abort", f"the program's assertion failed: {what}, at {where}:{line} in {inside}"))


def throw(host: Host, *arguments: int) -> NoReturn:
    """End the program: nothing here catches a C++ exception that is thrown through JavaScript.

    Raises:
        HostTrap: always.
    """
    raise HostTrap(Failure("exception", "the program threw a C++ exception, which nothing catches here"))


def system(host: Host, command: int) -> int:
    """Say that there is no shell. A null command asks whether there is one."""
    return -ENOSYS if command else 0


def drive_open(host: Host, name: int, mode: int) -> int:
    """Say that there is no drive, by the null that the loader gives."""
    return 0


def drive_missing(host: Host, *arguments: int) -> NoReturn:
    """End the program: it uses a drive although it was told that there is none.

    Raises:
        HostTrap: always.
    """
    raise HostTrap(Failure("no-drive", "the program used a WeaveDrive; there is none here"))


def fcntl(host: Host, stream: int, command: int, arguments: int) -> int:
    """Return the streams' flags. Nothing can be set or duplicated."""
    if stream not in STREAMS:
        return -EBADF
    if command in {_F_GETFD, _F_SETFD, _F_SETFL}:
        return 0
    if command == _F_GETFL:
        return _O_RDONLY if stream == STDIN else _O_WRONLY
    return -EINVAL


def ioctl(host: Host, stream: int, request: int, arguments: int) -> int:
    """Say that the streams are terminals of 24 lines of 80. A C library then flushes at the end of each line."""
    if stream not in STREAMS:
        return -EBADF
    if request != _TIOCGWINSZ:
        return -EINVAL
    host.write(host.read_int(arguments, host.pointer_bytes), _WINDOW)
    return 0


def getcwd(host: Host, target: int, room: int) -> int:
    """Say that the working directory is the root. Return the size of its name with the NUL."""
    if host.unsigned(room) < len(_WORKING_DIRECTORY):
        return -ERANGE
    host.write(target, _WORKING_DIRECTORY)
    return len(_WORKING_DIRECTORY)


def _time(host: Host, address: int) -> int:
    """Read the seconds at `address`. The programs that pass an address have a time of 32 bits, or read no more."""
    return host.read_int(address, 4, signed=True)


def _read_moment(host: Host, address: int) -> tuple[calendar.Moment, int]:
    size = host.pointer_bytes
    return calendar.moment_from(host.read(address, calendar.moment_bytes(size)), size)


def _quoted(host: Host, address: int) -> str:
    return host.text(address, _MAX_QUOTED_BYTES).decode("utf-8", "replace") if address else "unknown"


def _nothing(host: Host, *arguments: int) -> None:
    return None


def _zero(host: Host, *arguments: int) -> int:
    return 0


def _one(host: Host, *arguments: int) -> int:
    return 1


def _no_such_file(host: Host, *arguments: int) -> int:
    return -ENOENT


def _not_a_file(host: Host, stream: int, *arguments: int) -> int:
    return -EINVAL if stream in STREAMS else -EBADF


def _bad_descriptor(host: Host, *arguments: int) -> int:
    return -EBADF


def _no_mapping(host: Host, *arguments: int) -> int:
    return -ENODEV


_FUNCTIONS = {
    # time
    "emscripten_date_now": Provided(":f", now_ms),
    "emscripten_get_now": Provided(":f", now_ms),
    "emscripten_get_now_res": Provided(":f", lambda host: 1.0),
    "_emscripten_get_now_is_monotonic": Provided(":i", _one),
    "_gmtime_js": Provided(
        "jp:", gmtime, (Provided("pp:", lambda host, time, to: gmtime(host, _time(host, time), to)),)
    ),
    "_localtime_js": Provided(
        "jp:", localtime, (Provided("pp:", lambda host, time, to: localtime(host, _time(host, time), to)),)
    ),
    "_mktime_js": Provided("p:j", mktime, (Provided("p:i", mktime),)),
    "_timegm_js": Provided("p:j", mktime, (Provided("p:i", mktime),)),
    "_tzset_js": Provided("pppp:", tzset),
    "strftime": Provided("pppp:p", strftime),
    "strftime_l": Provided("ppppp:p", strftime),
    # memory
    "_emscripten_memcpy_js": Provided("ppp:", memcpy),
    "emscripten_memcpy_js": Provided("ppp:", memcpy),
    "emscripten_memcpy_big": Provided("ppp:", memcpy),
    "emscripten_resize_heap": Provided("p:i", resize_heap),
    "emscripten_get_heap_max": Provided(":p", heap_max),
    "emscripten_notify_memory_growth": Provided("p:", _nothing),
    "_mmap_js": Provided("piiijpp:i", _no_mapping),
    "_munmap_js": Provided("ppiiij:i", _bad_descriptor),
    "_msync_js": Provided("ppiiij:i", _bad_descriptor),
    "metering_gasUsed": Provided(":i", gas_used),
    # the end of the program
    "exit": Provided("i:", end),
    "_abort_js": Provided(":", abort),
    "abort": Provided(":", abort),
    "__assert_fail": Provided("ppip:", assert_fail),
    "__cxa_throw": Provided("ppp:", throw),
    "__cxa_rethrow": Provided(":", throw),
    "__resumeException": Provided("p:", throw),
    "__cxa_find_matching_catch_2": Provided(":p", throw),
    "__cxa_find_matching_catch_3": Provided("p:p", throw),
    "__cxa_begin_catch": Provided("p:p", throw),
    "__cxa_end_catch": Provided(":", throw),
    "__cxa_uncaught_exceptions": Provided(":i", _zero),
    "llvm_eh_typeid_for": Provided("p:i", throw),
    # the world outside
    "emscripten_out": Provided("p:", print_line),
    "emscripten_err": Provided("p:", print_line),
    "emscripten_console_log": Provided("p:", print_line),
    "emscripten_console_warn": Provided("p:", print_line),
    "emscripten_console_error": Provided("p:", print_line),
    "getentropy": Provided("pp:i", getentropy),
    "_emscripten_system": Provided("p:i", system),
    "__asyncjs__weavedrive_open": Provided("pp:i", drive_open),
    "__asyncjs__weavedrive_read": Provided("ipp:i", drive_missing),
    "__asyncjs__weavedrive_close": Provided("i:i", drive_missing),
    # system calls: 0 or more, or an error's number below 0
    "__syscall_chmod": Provided("pi:i", _no_such_file),
    "__syscall_dup3": Provided("iii:i", _bad_descriptor),
    "__syscall_faccessat": Provided("ipii:i", _no_such_file),
    "__syscall_fchmod": Provided("ii:i", _not_a_file),
    "__syscall_fchown32": Provided("iii:i", _not_a_file),
    "__syscall_fcntl64": Provided("iip:i", fcntl),
    "__syscall_fstat64": Provided("ip:i", _not_a_file),
    "__syscall_ftruncate64": Provided("ij:i", _not_a_file),
    "__syscall_getcwd": Provided("pp:i", getcwd),
    "__syscall_ioctl": Provided("iip:i", ioctl),
}

_PROVIDED = {("env", name): provided for name, provided in _FUNCTIONS.items()}
_SYSTEM_CALL = "__syscall_"


_CATCHES = frozenset({"__cxa_begin_catch", "__cxa_find_matching_catch_2", "__cxa_find_matching_catch_3"})


def catches_by_host(info: ModuleInfo) -> bool:
    """Whether the module has its host catch C++ exceptions. This host does not: a message that throws one fails."""
    return any(each.module == "env" and each.name in _CATCHES for each in info.imports)


def imports(info: ModuleInfo) -> Imports:
    """Return the functions of `env` that the module imports. An unknown system call finds no such file."""
    unknown: dict[tuple[str, str], HostFunction] = {
        (wanted.module, wanted.name): _no_such_file
        for wanted in info.imports
        if wanted.module == "env"
        and wanted.name.startswith(_SYSTEM_CALL)
        and wanted.name not in _FUNCTIONS
        and wanted.kind == "function"
        and wanted.type.endswith("-> (i32)")
    }
    return {**unknown, **fit(info, _PROVIDED)}


DEVICE = Device(name="emscripten@1.0", imports=imports, types_of=lambda info, wanted: types_of(info, wanted, _PROVIDED))
