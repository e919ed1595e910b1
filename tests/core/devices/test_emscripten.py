"""`emscripten@1.0`: what a program asks of JavaScript, on pointers of both sizes."""

from __future__ import annotations

import random
import struct

import pytest

from hb.devices import emscripten
from hb.devices.emscripten import EBADF, EINVAL, ENOENT, ENOSYS, ERANGE
from hb.devices.wasm64 import imports_of
from hb.errors import Refused
from hb.protocol.definition import Limits
from hb.wasm.host import Failure
from hb.wasm.instance import HOST_CALL_GAS, Instance
from hb.wasm.module import from_text, inspect, load
from hostprogram import NOW_MS, Program, wasm_types

PAGE = 65_536


@pytest.fixture
def program(pointer) -> Program:
    return Program(emscripten.DEVICE, emscripten._PROVIDED, pointer)


def moment(*parts: int) -> bytes:
    return struct.pack("<9i", *parts)


def test_every_function_is_given_to_a_module_of_either_size(program) -> None:
    assert program.imports.keys() == emscripten._PROVIDED.keys()


# --- memory


def test_memory_is_copied_and_takes_gas(program) -> None:
    program.put(100, b"0123456789")
    assert program.value("_emscripten_memcpy_js", 102, 100, 8) is None
    assert program.host.read(100, 10) == b"0101234567"
    small, large = (program.run("emscripten_memcpy_big", 0, 0, size).gas for size in (16, 100_000))
    assert large - small == 100_000 // 16 - 1


def test_of_a_copy_only_what_lies_within_the_memory_is_copied(program) -> None:
    end = 2 * PAGE
    for arguments in ((end, 0, 5), (0, end, 5), (-1, 0, 2), (0, -1, 2), (end - 1, end, 1)):
        before = program.host.read(0, end)
        assert program.run("_emscripten_memcpy_js", *arguments).failure is None
        assert program.host.read(0, end) == before
    program.host.write(0, b"0123456789")
    assert program.run("_emscripten_memcpy_js", end - 4, 0, 8).failure is None
    assert program.host.read(end - 6, 6) == b"\0\x000123"
    assert program.run("_emscripten_memcpy_js", 100, end - 2, -1).failure is None
    assert program.host.read(98, 6) == b"\0\x0023\0\0"
    # Huge, from and to the start: all the memory, and no more gas than that is worth.
    whole = program.run("_emscripten_memcpy_js", 0, 0, -1)
    assert whole.failure is None
    assert whole.gas - program.run("_emscripten_memcpy_js", 0, 0, 16).gas == end // 16 - 1


@pytest.mark.parametrize(
    ("requested", "pages"),
    [
        (2 * PAGE + 1, 3),  # 20 % of two pages is no whole one
        (10 * PAGE, 10),
        (10 * PAGE + 1, 11),
        (30 * PAGE, 30),
    ],
)
def test_the_heap_grows_to_what_is_asked(program, requested, pages) -> None:
    assert program.value("emscripten_resize_heap", requested) == 1
    assert program.instance.memory_pages == pages


def test_the_heap_grows_by_a_fifth_where_less_is_asked(program) -> None:
    assert program.value("emscripten_resize_heap", 20 * PAGE) == 1
    assert program.value("emscripten_resize_heap", 20 * PAGE + 1) == 1
    assert program.instance.memory_pages == 24
    assert program.value("emscripten_resize_heap", 29 * PAGE) == 1
    assert program.instance.memory_pages == 29
    assert program.value("emscripten_resize_heap", 29 * PAGE + 1) == 1
    assert program.instance.memory_pages == 30


@pytest.mark.parametrize("requested", [30 * PAGE + 1, 2 * PAGE, 5, 0, -1])
def test_the_heap_grows_neither_beyond_what_it_may_nor_down(program, requested) -> None:
    assert program.value("emscripten_resize_heap", requested) == 0
    assert program.instance.memory_pages == 2


def test_the_heap_has_the_lesser_of_both_limits(program) -> None:
    assert program.value("emscripten_get_heap_max") == 30 * PAGE
    limits = Limits(gas=10**6, memory_pages=7, result_bytes=10)
    tighter = Instance(program.instance.module, limits, program.imports)
    assert tighter.call("emscripten_get_heap_max", []).values == (7 * PAGE,)
    assert tighter.call("emscripten_resize_heap", [7 * PAGE + 1]).values == (0,)
    assert tighter.call("emscripten_resize_heap", [7 * PAGE]).values == (1,)


def test_files_cannot_be_mapped(program) -> None:
    assert program.value("_mmap_js", 10, 1, 2, 3, 0, 200, 208) == -43
    assert program.value("_munmap_js", 0, 10, 0, 0, 3, 0) == -EBADF


# --- time


def test_the_clocks_stand_at_the_time_of_the_message(program) -> None:
    assert program.value("emscripten_date_now") == program.value("emscripten_get_now") == float(NOW_MS)
    assert program.value("_emscripten_get_now_is_monotonic") == 1
    assert program.value("emscripten_get_now_res") == 1.0


def test_a_moment_is_broken_down_in_utc(program) -> None:
    program.put(200, b"\xff" * 60)
    program.value("_gmtime_js", 951_782_400 + 3661, 200)
    assert program.host.read(200, 36) == moment(1, 1, 1, 29, 1, 100, 2, 59, -1)
    program.value("_localtime_js", -1, 200)
    assert program.host.read(200, 36) == moment(59, 59, 23, 31, 11, 69, 3, 364, 0)
    assert program.size_at(240 if program.pointer == "i64" else 236) == 0


def test_a_moment_that_there_is_not_is_all_zeros(program) -> None:
    program.put(200, b"\xff" * 32)
    for seconds in (2**63 - 1, -(2**63)):
        program.value("_gmtime_js", seconds, 200)
        assert program.host.read(200, 32) == bytes(32)


def test_seconds_of_a_moment_and_its_parts_in_their_ranges(program) -> None:
    for name in ("_mktime_js", "_timegm_js"):
        program.put(200, moment(75, 0, 0, 32, 0, 70, 9, 9, -1) + bytes(20))
        assert program.value(name, 200) == 31 * 86400 + 75
        assert program.host.read(200, 36) == moment(15, 1, 0, 1, 1, 70, 0, 31, 0)


def test_a_moment_without_seconds_is_minus_one_and_left_alone(program) -> None:
    parts = moment(0, 0, 0, 1, 0, 2**31 - 1, 0, 0, 0)
    program.put(200, parts + bytes(20))
    assert program.value("_mktime_js", 200) == -1
    assert program.host.read(200, 36) == parts


def test_the_zone_is_utc(program) -> None:
    program.put(200, b"\xff" * 40)
    program.value("_tzset_js", 200, 208, 216, 224)
    assert program.size_at(200) == 0
    assert program.host.read_int(208, 4) == 0
    assert program.host.text(216) == program.host.text(224) == b"UTC"


def put_moment(program: Program, zone: int = 0) -> int:
    parts = moment(5, 4, 15, 2, 0, 106, 1, 1, 0)
    layout = "<4xqQ" if program.pointer == "i64" else "<iI"
    return program.put(200, parts + struct.pack(layout, 0, zone))


def test_a_moment_is_written_out(program) -> None:
    pattern = program.put(300, b"%Y-%m-%d %H:%M:%S %a %z %Z\0")
    when = put_moment(program, program.put(400, b"GMT\0"))
    expected = b"2006-01-02 15:04:05 Mon +0000 GMT"
    assert program.value("strftime", 1000, 34, pattern, when) == len(expected)
    assert program.host.text(1000) == expected
    assert program.value("strftime_l", 2000, 34, pattern, when, 0) == len(expected)
    assert program.value("strftime", 1000, 33, pattern, when) == 0
    assert program.value("strftime", 1000, 0, pattern, put_moment(program)) == 0


def test_a_pattern_without_end_ends_the_call(program) -> None:
    failure = program.run("strftime", 1000, 34, program.put(30_000, b"x" * 4097), put_moment(program)).failure
    assert failure == Failure("trap", "the program gave its host a text of more than 4096 bytes")


# --- ends


@pytest.mark.parametrize(
    ("function", "arguments", "kind", "words"),
    [
        ("exit", (3,), "exit", "the program exited with status 3"),
        ("abort", (), "abort", "the program aborted"),
        ("_abort_js", (), "abort", "the program aborted"),
        ("__cxa_throw", (8, 8, 8), "exception", "C++ exception"),
        ("__resumeException", (8,), "exception", "C++ exception"),
        ("__asyncjs__weavedrive_read", (3, 8, 8), "no-drive", "WeaveDrive"),
        ("__asyncjs__weavedrive_close", (3,), "no-drive", "WeaveDrive"),
    ],
)
def test_what_ends_a_program_is_an_outcome_with_a_sentence(program, function, arguments, kind, words) -> None:
    failure = program.run(function, *arguments).failure
    assert failure is not None
    assert failure.kind == kind
    assert words in failure.message


def test_an_assertion_that_fails_is_quoted(program) -> None:
    texts = [program.put(100, b"x > 0\0"), program.put(110, b"a.c\0"), 7, program.put(120, b"f\xff\0")]
    failure = program.run("__assert_fail", *texts).failure
    assert failure == Failure("abort", "the program's assertion failed: x > 0, at a.c:7 in f\ufffd")
    nowhere = program.run("__assert_fail", 100, 0, 7, 0).failure
    assert nowhere == Failure("abort", "the program's assertion failed: x > 0, at unknown:7 in unknown")


# --- the world outside


def test_lines_are_printed(program) -> None:
    for name in ("emscripten_err", "emscripten_out", "emscripten_console_log"):
        program.value(name, program.put(100, b"hello\0"))
    assert bytes(program.host.printed) == b"hello\n" * 3


def test_entropy_is_the_messages(program) -> None:
    assert program.value("getentropy", 100, 32) == 0
    entropy = program.host.read(100, 32)
    program.host.prepare(now_ms=0, seed=b"a seed", output_bytes=0)
    assert entropy == program.host.random(32)


def test_there_is_no_shell_and_no_drive(program) -> None:
    assert program.value("_emscripten_system", 0) == 0
    assert program.value("_emscripten_system", program.put(100, b"ls\0")) == -ENOSYS
    assert program.value("__asyncjs__weavedrive_open", program.put(100, b"/data/x\0"), 0) == 0


def test_streams_are_terminals(program) -> None:
    program.vectors(100, (300, 0))
    assert program.value("__syscall_ioctl", 1, 0x5413, 100) == 0
    assert program.host.read(300, 8) == struct.pack("<4H", 24, 80, 0, 0)
    assert program.value("__syscall_ioctl", 1, 0x5401, 100) == -EINVAL
    assert program.value("__syscall_ioctl", 3, 0x5413, 100) == -EBADF


def test_streams_have_flags_and_nothing_else_is_open(program) -> None:
    for command, answers in ((1, (0, 0)), (2, (0, 0)), (3, (0, 1)), (4, (0, 0)), (0, (-EINVAL, -EINVAL))):
        assert tuple(program.value("__syscall_fcntl64", stream, command, 100) for stream in (0, 1)) == answers
    assert program.value("__syscall_fcntl64", 3, 3, 100) == program.value("__syscall_dup3", 1, 2, 0) == -EBADF


def test_the_working_directory_is_the_root(program) -> None:
    assert program.value("__syscall_getcwd", 100, 2) == 2
    assert program.host.text(100) == b"/"
    assert program.value("__syscall_getcwd", 100, 1) == -ERANGE


@pytest.mark.parametrize(
    ("name", "type_"),
    [("openat", "(param i32 i32 i32 i32) (result i32)"), ("unheard_of", "(result i32)"), ("chmod", "(param i32 i32) (result i32)")],
)  # fmt: skip
def test_every_other_system_call_finds_no_such_file(name, type_) -> None:
    wat = f'(module (import "env" "__syscall_{name}" (func {type_})) (memory 1))'
    function = emscripten.imports(inspect(from_text(wat)))["env", f"__syscall_{name}"]
    assert function(None, 1, 2, 3) == -ENOENT


def test_what_is_not_known_or_has_another_type_is_not_given() -> None:
    wat = """(module (import "env" "fork" (func (result i32))) (import "env" "__syscall_openat" (func (result f32)))
      (import "env" "exit" (func (param i64))) (import "other" "abort" (func)) (memory 1))"""
    assert emscripten.imports(inspect(from_text(wat))) == {}


# --- i64 in halves

HALVES = """(module
  (import "env" "_gmtime_js" (func $gmtime (param i32 i32 i32)))
  (import "env" "_mktime_js" (func $mktime (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $high (export "high") (mut i32) (i32.const 7))
  (func (export "_emscripten_tempret_set") (param i32) {set})
  (func (export "Break") (param i32 i32) (call $gmtime (local.get 0) (local.get 1) (i32.const 64)))
  (func (export "Make") (param i32) (result i32) (call $mktime (i32.const 64))))"""


def halves(set_high: str = "(global.set $high (local.get 0))") -> Instance:
    module = load(from_text(HALVES.format(set=set_high)))
    return Instance(module, Limits(gas=10**6, memory_pages=4, result_bytes=10), emscripten.imports(module.info))


@pytest.mark.parametrize("seconds", [0, -1, 2**31, 5_000_000_000, -5_000_000_000])
def test_a_module_of_32_bits_may_take_and_give_its_i64_in_halves(seconds) -> None:
    instance = halves()
    low, high = struct.unpack("<ii", struct.pack("<q", seconds))
    assert instance.call("Break", [low, high]).failure is None
    outcome = instance.call("Make", [0])
    assert outcome.values == (low,)
    assert instance.read_globals() == {"high": high}


@pytest.mark.parametrize(
    ("body", "kind"),
    [("unreachable", "trap"), ("(loop (br 0))", "out-of-gas"), ("(drop (call $mktime (i32.const 64)))", "out-of-gas")],
)
def test_a_program_that_fails_as_it_takes_a_high_half_fails_as_a_whole(body, kind) -> None:
    instance = halves(body)
    outcome = instance.call("Make", [0])
    assert outcome.failure is not None
    assert outcome.failure.kind == kind
    assert instance.call("Break", [0, 0]).failure is None


# --- types that earlier releases of emscripten had

EARLIER = """(module
  (import "env" "_gmtime_js" (func $gmtime (param i32 i32)))
  (import "env" "_localtime_js" (func $localtime (param i32 i32)))
  (import "env" "_mktime_js" (func $mktime (param i32) (result i32)))
  (import "env" "_timegm_js" (func $timegm (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "Break") (call $gmtime (i32.const 16) (i32.const 64)))
  (func (export "BreakLocal") (call $localtime (i32.const 16) (i32.const 64)))
  (func (export "Make") (result i32) (call $mktime (i32.const 64)))
  (func (export "MakeUtc") (result i32) (call $timegm (i32.const 64))))"""


@pytest.fixture
def earlier() -> Instance:
    module = load(from_text(EARLIER))
    return Instance(module, Limits(gas=10**6, memory_pages=4, result_bytes=10), emscripten.imports(module.info))


@pytest.mark.parametrize("function", ["Break", "BreakLocal"])
@pytest.mark.parametrize("make", ["Make", "MakeUtc"])
@pytest.mark.parametrize("seconds", [0, -1, 2**31 - 1, 1_700_000_000])
def test_times_may_be_given_by_their_address_and_made_of_32_bits(earlier, function, make, seconds) -> None:
    earlier.host.write(16, struct.pack("<i", seconds))
    assert earlier.call(function, []).failure is None
    assert earlier.host.read_int(64 + 20, 4) == calendar_year(seconds) - 1900
    assert earlier.call(make, []).values == (seconds,)


def calendar_year(seconds: int) -> int:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).year


def test_another_type_is_told_with_those_that_there_are() -> None:
    info = inspect(from_text('(module (import "env" "_tzset_js" (func (param i32))) (memory 1))'))
    with pytest.raises(Refused) as refused:
        imports_of(info, ["emscripten@1.0", "wasm64@1.0"])
    assert refused.value.message == (
        "the module imports with another type than its devices provide: env._tzset_js "
        "(expected (i32, i32, i32, i32) -> (), got (i32) -> ())"
    )


def test_of_missing_imports_and_those_of_another_type_each_is_told_as_what_it_is() -> None:
    wat = """(module (import "env" "exit" (global i32)) (import "env" "fork" (func))
      (import "wasi_snapshot_preview1" "fd_close" (func)))"""
    with pytest.raises(Refused) as refused:
        imports_of(inspect(from_text(wat)), ["wasi@1.0", "emscripten@1.0", "wasm64@1.0"])
    assert refused.value.message == (
        "the module imports what none of its devices provides: env.fork (function () -> ()); "
        "the module imports with another type than its devices provide: env.exit (expected (i32) -> (), got global i32), "
        "wasi_snapshot_preview1.fd_close (expected (i32) -> (i32), got () -> ())"
    )


# --- gas

METERED = """(module
  (import "env" "metering_gasUsed" (func $used (result i32)))
  (func $burn (loop (br_if 0 (i32.const 0))))
  (func (export "Used") (result i32 i32)
    (call $used) (call $burn) (call $burn) (call $used)))"""


def test_a_program_is_told_the_gas_that_its_message_has_used_so_far() -> None:
    module = load(from_text(METERED))
    instance = Instance(module, Limits(gas=10**6, memory_pages=4, result_bytes=10), emscripten.imports(module.info))
    outcome = instance.call("Used", [])
    first, second = outcome.values
    assert HOST_CALL_GAS <= first < 2 * HOST_CALL_GAS < second <= outcome.gas < second + 10
    assert instance.call("Used", [], spent=5000).values == (first + 5000, second + 5000)
    assert instance.call("Used", []).values == (first, second)


# --- hostile


def test_whatever_a_program_asks_for_is_an_outcome(program) -> None:
    """Any numbers at all: each call ends, with a value or a failure that has a sentence."""
    chance = random.Random(program.pointer)
    numbers = [0, 1, 2, 3, 8, 64, 200, 1000, PAGE, 2 * PAGE - 1, 2 * PAGE, -1, -8, 2**31 - 1, -(2**31)]
    for (_, name), provided in emscripten._PROVIDED.items():
        params, _ = wasm_types(provided.signature, program.pointer)
        for _ in range(30):
            wide = [*numbers, 2**63 - 1, -(2**63), 2**32, 2**32 + 8]
            outcome = program.run(name, *(chance.choice(numbers if type_ == "i32" else wide) for type_ in params))
            assert outcome.failure is None or outcome.failure.message
