"""`wasi@1.0`: WASI preview 1 without any world outside.

A program has no arguments, no environment and no files. Standard input is empty. What the program writes to standard
output and standard error is its message's `print`. The clocks stand at the message's time, and sleep ends at once.

Invariants:
    Nothing of the machine is looked at, and nothing outlives a call.

Source: WASI snapshot preview 1; on a 64-bit memory, as emscripten has it: pointers and sizes are of 8 bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

from hb.devices.device import Device
from hb.devices.imports import Provided, fit, types_of
from hb.wasm.host import Failure, Host, HostTrap

if TYPE_CHECKING:
    from hb.devices.device import Imports
    from hb.wasm.module import ModuleInfo

SUCCESS = 0
EBADF = 8
EINVAL = 28
ENOENT = 44
ENOSYS = 52
ESPIPE = 70

STDIN, STDOUT, STDERR = 0, 1, 2
STREAMS = frozenset({STDIN, STDOUT, STDERR})
CLOCK_RESOLUTION_NS = 1_000_000

_MAX_VECTORS = 1024  # Source: POSIX's IOV_MAX, as Linux has it.
_MAX_SUBSCRIPTIONS = 1024
_RANDOM_CHUNK_BYTES = 65536
_CLOCKS = range(4)  # realtime, monotonic, process and thread CPU time
_CHARACTER_DEVICE = 2
_RIGHT_READ, _RIGHT_WRITE = 1 << 1, 1 << 6
_SUBSCRIPTION_BYTES, _EVENT_BYTES = 48, 32


def exited(status: int) -> Failure:
    """Return the failure of a program that exits with a status. Status 0 means that the program saw no error."""
    return Failure("exit", f"the program exited with status {status}")


def proc_exit(host: Host, status: int) -> NoReturn:
    """End the program.

    Raises:
        HostTrap: always.
    """
    raise HostTrap(exited(status % 2**32))


def fd_write(host: Host, stream: int, vectors: int, count: int, written: int) -> int:
    """Print what the vectors point to.

    Raises:
        HostTrap: that is more than the program may print, or outside its memory.
    """
    if stream not in {STDOUT, STDERR}:
        return EBADF
    if not 0 <= count <= _MAX_VECTORS:
        return EINVAL
    total = 0
    for address, size in _vectors(host, vectors, count):
        host.print_memory(address, size)
        total += size
    host.write_int(written, total, host.pointer_bytes)
    return SUCCESS


def fd_read(host: Host, stream: int, vectors: int, count: int, taken: int) -> int:
    """Say that standard input is at its end."""
    if stream != STDIN:
        return EBADF
    host.write_int(taken, 0, host.pointer_bytes)
    return SUCCESS


def fd_fdstat_get(host: Host, stream: int, status: int) -> int:
    """Say that the streams are terminals. A C library then flushes at the end of each line."""
    if stream not in STREAMS:
        return EBADF
    rights = _RIGHT_READ if stream == STDIN else _RIGHT_WRITE
    host.write(status, struct.pack("<BxHxxxxQQ", _CHARACTER_DEVICE, 0, rights, 0))
    return SUCCESS


def fd_filestat_get(host: Host, stream: int, status: int) -> int:
    """Say that the streams are character devices, without size or times."""
    if stream not in STREAMS:
        return EBADF
    host.write(status, struct.pack("<QQB7x5Q", 0, 0, _CHARACTER_DEVICE, 1, 0, 0, 0, 0))
    return SUCCESS


def clock_time_get(host: Host, clock: int, precision: int, time: int) -> int:
    """Give the message's time, whatever the clock."""
    if clock not in _CLOCKS:
        return EINVAL
    host.write_int(time, host.now_ms * 1_000_000, 8)
    return SUCCESS


def clock_res_get(host: Host, clock: int, resolution: int) -> int:
    """Give a resolution of a millisecond: messages have times in milliseconds."""
    if clock not in _CLOCKS:
        return EINVAL
    host.write_int(resolution, CLOCK_RESOLUTION_NS, 8)
    return SUCCESS


def random_get(host: Host, address: int, size: int) -> int:
    """Write random bytes of the message. Each takes a unit of gas."""
    start, size = host.span(address, size)
    for offset in range(0, size, _RANDOM_CHUNK_BYTES):
        chunk = min(_RANDOM_CHUNK_BYTES, size - offset)
        host.spend(chunk)
        host.write(start + offset, host.random(chunk))
    return SUCCESS


def no_strings(host: Host, count: int, size: int) -> int:
    """Say that there are no arguments and no environment: `args_sizes_get` and `environ_sizes_get`."""
    host.write_int(count, 0, host.pointer_bytes)
    host.write_int(size, 0, host.pointer_bytes)
    return SUCCESS


def poll_oneoff(host: Host, subscriptions: int, events: int, count: int, stored: int) -> int:
    """Say that everything waited for has happened: no time passes within a message."""
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return EINVAL
    wanted = host.read(subscriptions, count * _SUBSCRIPTION_BYTES)
    happened = bytearray()
    for offset in range(0, len(wanted), _SUBSCRIPTION_BYTES):
        tag, kind = struct.unpack_from("<QB", wanted, offset)
        happened += struct.pack("<QHB5xQHxxxxxx", tag, SUCCESS, kind, 0, 0)
    host.write(events, bytes(happened))
    host.write_int(stored, count, host.pointer_bytes)
    return SUCCESS


def proc_raise(host: Host, signal: int) -> NoReturn:
    """End the program.

    Raises:
        HostTrap: always.
    """
    raise HostTrap(Failure("abort", f"the program raised signal {signal}"))


def _vectors(host: Host, address: int, count: int) -> list[tuple[int, int]]:
    """Return (address, size) of each of `count` vectors."""
    layout = "<QQ" if host.pointer_bytes == 8 else "<II"
    return list(struct.iter_unpack(layout, host.read(address, count * 2 * host.pointer_bytes)))


def _succeed(host: Host, *arguments: int) -> int:
    return SUCCESS


def _on_stream(host: Host, stream: int, *arguments: int) -> int:
    return SUCCESS if stream in STREAMS else EBADF


def _no_position(host: Host, stream: int, *arguments: int) -> int:
    return ESPIPE if stream in STREAMS else EBADF


def _not_a_file(host: Host, stream: int, *arguments: int) -> int:
    return EINVAL if stream in STREAMS else EBADF


def _bad_descriptor(host: Host, *arguments: int) -> int:
    return EBADF


def _no_such_file(host: Host, *arguments: int) -> int:
    return ENOENT


_FUNCTIONS = {
    "args_get": Provided("pp:i", _succeed),
    "args_sizes_get": Provided("pp:i", no_strings),
    "environ_get": Provided("pp:i", _succeed),
    "environ_sizes_get": Provided("pp:i", no_strings),
    "clock_res_get": Provided("ip:i", clock_res_get),
    "clock_time_get": Provided("ijp:i", clock_time_get),
    "fd_advise": Provided("ijji:i", _not_a_file),
    "fd_allocate": Provided("ijj:i", _not_a_file),
    "fd_close": Provided("i:i", _on_stream),
    "fd_datasync": Provided("i:i", _not_a_file),
    "fd_fdstat_get": Provided("ip:i", fd_fdstat_get),
    "fd_fdstat_set_flags": Provided("ii:i", _on_stream),
    "fd_fdstat_set_rights": Provided("ijj:i", _on_stream),
    "fd_filestat_get": Provided("ip:i", fd_filestat_get),
    "fd_filestat_set_size": Provided("ij:i", _not_a_file),
    "fd_filestat_set_times": Provided("ijji:i", _not_a_file),
    "fd_pread": Provided("ippjp:i", _no_position),
    "fd_prestat_get": Provided("ip:i", _bad_descriptor),
    "fd_prestat_dir_name": Provided("ipp:i", _bad_descriptor),
    "fd_pwrite": Provided("ippjp:i", _no_position),
    "fd_read": Provided("ippp:i", fd_read),
    "fd_readdir": Provided("ippjp:i", _not_a_file),
    "fd_renumber": Provided("ii:i", _bad_descriptor),
    "fd_seek": Provided("ijip:i", _no_position),
    "fd_sync": Provided("i:i", _not_a_file),
    "fd_tell": Provided("ip:i", _no_position),
    "fd_write": Provided("ippp:i", fd_write),
    "path_create_directory": Provided("ipp:i", _no_such_file),
    "path_filestat_get": Provided("iippp:i", _no_such_file),
    "path_filestat_set_times": Provided("iippjji:i", _no_such_file),
    "path_link": Provided("iippipp:i", _no_such_file),
    "path_open": Provided("iippijjip:i", _no_such_file),
    "path_readlink": Provided("ippppp:i", _no_such_file),
    "path_remove_directory": Provided("ipp:i", _no_such_file),
    "path_rename": Provided("ippipp:i", _no_such_file),
    "path_symlink": Provided("ppipp:i", _no_such_file),
    "path_unlink_file": Provided("ipp:i", _no_such_file),
    "poll_oneoff": Provided("pppp:i", poll_oneoff),
    "proc_exit": Provided("i:", proc_exit),
    "proc_raise": Provided("i:i", proc_raise),
    "random_get": Provided("pp:i", random_get),
    "sched_yield": Provided(":i", _succeed),
    "sock_accept": Provided("iip:i", _bad_descriptor),
    "sock_recv": Provided("ippipp:i", _bad_descriptor),
    "sock_send": Provided("ippip:i", _bad_descriptor),
    "sock_shutdown": Provided("ii:i", _bad_descriptor),
}

_PROVIDED = {("wasi_snapshot_preview1", name): provided for name, provided in _FUNCTIONS.items()}


def imports(info: ModuleInfo) -> Imports:
    """Return the functions of `wasi_snapshot_preview1` that the module imports."""
    return fit(info, _PROVIDED)


DEVICE = Device(name="wasi@1.0", imports=imports, types_of=lambda info, wanted: types_of(info, wanted, _PROVIDED))
