"""`wasi@1.0`: a program alone in the world, on pointers of both sizes."""

from __future__ import annotations

import random
import struct
from hashlib import sha256

import pytest

from hb.devices import wasi
from hb.devices.wasi import EBADF, EINVAL, ENOENT, ESPIPE
from hb.wasm.host import Failure
from hb.wasm.module import from_text, inspect
from hostprogram import NOW_MS, SEED, Program, wasm_types


@pytest.fixture
def program(pointer) -> Program:
    return Program(wasi.DEVICE, wasi._PROVIDED, pointer)


def test_every_function_is_given_to_a_module_of_either_size(program) -> None:
    assert program.imports.keys() == wasi._PROVIDED.keys()


@pytest.mark.parametrize("text", ["(param i32 i32)", "(param i32 i32 i32 i64) (result i32)", ""])
def test_a_function_is_not_given_with_another_type(text) -> None:
    wat = f'(module (import "wasi_snapshot_preview1" "fd_write" (func {text})) (memory 1))'
    assert wasi.imports(inspect(from_text(wat))) == {}


def test_a_module_without_such_imports_gets_nothing() -> None:
    wat = '(module (import "other" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory 1))'
    assert wasi.imports(inspect(from_text(wat))) == {}


def test_what_is_written_to_the_streams_is_printed(program) -> None:
    vectors = program.vectors(64, (program.put(8, b"hello "), 6), (0, 0), (program.put(16, b"world\n"), 6))
    assert program.value("fd_write", 1, vectors, 3, 200) == 0
    assert program.size_at(200) == 12
    assert program.value("fd_write", 2, vectors, 1, 200) == 0
    assert bytes(program.host.printed) == b"hello world\nhello "


def test_nothing_else_can_be_written_to(program) -> None:
    for stream in (0, 3, -1):
        assert program.value("fd_write", stream, 64, 1, 200) == EBADF
    assert bytes(program.host.printed) == b""


@pytest.mark.parametrize("count", [-1, 1025, 2**31 - 1])
def test_vectors_are_bounded(program, count) -> None:
    assert program.value("fd_write", 1, 64, count, 200) == EINVAL


def test_printing_too_much_ends_the_call(program) -> None:
    vectors = program.vectors(64, (1000, 600), (1000, 401))
    outcome = program.run("fd_write", 1, vectors, 2, 200)
    assert outcome.failure == Failure("output-limit", "the program printed more than 1000 bytes")


def test_vectors_outside_the_memory_end_the_call(program) -> None:
    everything = 2**32 - 1 if program.pointer == "i32" else 2**64 - 1
    for vector in ((131_072, 1), (131_071, 2), (everything, 1)):
        failure = program.run("fd_write", 1, program.vectors(64, vector), 1, 200).failure
        assert failure is not None
        assert failure.kind == "trap"
    failure = program.run("fd_write", 1, program.vectors(64, (0, everything)), 1, 200).failure
    assert failure is not None
    assert failure.kind == "output-limit"


def test_standard_input_is_empty(program) -> None:
    program.put(200, b"\xff" * 16)
    assert program.value("fd_read", 0, program.vectors(64, (8, 10)), 1, 200) == 0
    assert program.size_at(200) == 0
    assert program.value("fd_read", 1, 64, 1, 200) == EBADF


def test_streams_have_no_position_and_can_be_closed(program) -> None:
    for stream, no_position, closed in ((0, ESPIPE, 0), (2, ESPIPE, 0), (3, EBADF, EBADF)):
        assert program.value("fd_seek", stream, 0, 1, 200) == no_position
        assert program.value("fd_tell", stream, 200) == no_position
        assert program.value("fd_pread", stream, 64, 1, 0, 200) == no_position
        assert program.value("fd_close", stream) == closed


def test_streams_are_terminals(program) -> None:
    assert program.value("fd_fdstat_get", 1, 200) == 0
    assert program.host.read(200, 24) == struct.pack("<BBHIQQ", 2, 0, 0, 0, 1 << 6, 0)
    assert program.value("fd_filestat_get", 0, 200) == 0
    assert program.host.read(200, 64) == struct.pack("<QQQQQQQQ", 0, 0, 2, 1, 0, 0, 0, 0)
    assert program.value("fd_fdstat_get", 3, 200) == program.value("fd_filestat_get", 3, 200) == EBADF


def test_there_are_no_directories_and_no_files(program) -> None:
    assert program.value("fd_prestat_get", 3, 200) == EBADF
    assert program.value("path_open", 3, 0, 8, 4, 0, 0, 0, 0, 200) == ENOENT
    assert program.value("path_filestat_get", 3, 0, 8, 4, 200) == ENOENT


def test_there_are_no_arguments_and_no_environment(program) -> None:
    for sizes, strings in (("args_sizes_get", "args_get"), ("environ_sizes_get", "environ_get")):
        program.put(200, b"\xff" * 32)
        assert program.value(sizes, 200, 208) == 0
        assert (program.size_at(200), program.size_at(208)) == (0, 0)
        assert program.value(strings, 8, 8) == 0


def test_the_clocks_stand_at_the_time_of_the_message(program) -> None:
    for clock in range(4):
        assert program.value("clock_time_get", clock, 1, 200) == 0
        assert program.host.read_int(200, 8) == NOW_MS * 1_000_000
    assert program.value("clock_res_get", 0, 200) == 0
    assert program.host.read_int(200, 8) == 1_000_000
    assert program.value("clock_time_get", 4, 1, 200) == program.value("clock_res_get", -1, 200) == EINVAL


def test_randomness_is_the_messages(program) -> None:
    assert program.value("random_get", 1000, 40) == 0
    blocks = [sha256(SEED + number.to_bytes(8, "big")).digest() for number in range(3)]
    assert program.host.read(1000, 40) == (blocks[0] + blocks[1])[:40]
    assert program.value("random_get", 1000, 3) == 0
    assert program.host.read(1000, 3) == blocks[2][:3]


def test_randomness_comes_in_one_piece_however_much_and_takes_gas(program) -> None:
    outcome = program.run("random_get", 16, 100_000)
    assert outcome.gas > 100_000
    program.host.prepare(now_ms=0, seed=SEED, output_bytes=0)
    assert program.host.read(16, 100_000) == program.host.random(100_000)


def test_randomness_that_does_not_fit_ends_the_call_and_writes_nothing(program) -> None:
    failure = program.run("random_get", 131_072 - 100, 101).failure
    assert failure is not None
    assert failure.kind == "trap"
    assert program.host.read(131_072 - 100, 100) == bytes(100)


def test_sleep_is_over_at_once(program) -> None:
    clock, read = struct.pack("<QQIIQQQ", 7, 0, 0, 0, 10**12, 0, 0), struct.pack("<QQI28x", 8, 1, 0)
    assert program.value("poll_oneoff", program.put(1000, clock + read), 2000, 2, 200) == 0
    assert program.size_at(200) == 2
    assert program.host.read(2000, 64) == struct.pack("<QHBxxxxx16x", 7, 0, 0) + struct.pack("<QHBxxxxx16x", 8, 0, 1)
    for count in (0, 1025, -1):
        assert program.value("poll_oneoff", 1000, 2000, count, 200) == EINVAL
    assert program.value("sched_yield") == 0


@pytest.mark.parametrize(("status", "number"), [(0, 0), (3, 3), (-1, 4294967295)])
def test_an_exit_ends_the_call_and_says_its_status(program, status, number) -> None:
    failure = program.run("proc_exit", status).failure
    assert failure == Failure("exit", f"the program exited with status {number}") == wasi.exited(number)


def test_a_raised_signal_ends_the_call(program) -> None:
    failure = program.run("proc_raise", 6).failure
    assert failure is not None
    assert failure.kind == "abort"


def test_a_module_of_32_bits_may_halve_its_i64() -> None:
    wat = """(module (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "Seek") (result i32)
        (call $seek (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))))"""
    fitted = wasi.imports(inspect(from_text(wat)))
    assert fitted["wasi_snapshot_preview1", "fd_seek"](None, 1, 0, 0, 0, 8) == ESPIPE
    wide = wat.replace("(memory (export", "(memory (;64;) (export").replace('"memory") 1', '"memory") i64 1')
    assert wasi.imports(inspect(from_text(wide))) == {}


def test_whatever_a_program_asks_for_is_an_outcome(program) -> None:
    """Any numbers at all: each call ends, with a value or a failure that has a sentence."""
    chance = random.Random(program.pointer)
    numbers = [0, 1, 2, 3, 8, 64, 200, 1000, 65_536, 131_071, 131_072, -1, -8, 2**31 - 1, -(2**31)]
    for (_, name), provided in wasi._PROVIDED.items():
        params, _ = wasm_types(provided.signature, program.pointer)
        for _ in range(30):
            wide = [*numbers, 2**63 - 1, -(2**63), 2**32, 2**32 + 8]
            outcome = program.run(name, *(chance.choice(numbers if type_ == "i32" else wide) for type_ in params))
            assert outcome.failure is None or outcome.failure.message
