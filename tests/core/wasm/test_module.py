from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from hb import ids
from hb.binary import info, parse
from hb.errors import Refused
from hb.protocol.definition import Limits
from hb.wasm import compiled, engine, native
from hb.wasm.instance import Instance
from hb.wasm.module import FunctionType, MemoryInfo, check, from_text, inspect, load

if TYPE_CHECKING:
    from pathlib import Path

HEADER = b"\0asm\1\0\0\0"


def test_a_module_is_described_in_full(everything) -> None:
    info = inspect(everything)
    assert info.bytes == len(everything)
    assert info.memory == MemoryInfo(minimum=1, maximum=9, is64=True, exported="mem")
    assert info.globals == {"g": "f64"}
    assert info.hidden_globals == 3
    assert info.functions["poke"] == FunctionType(("i64", "i64"), ())
    assert str(info.functions["peek"]) == "(i64) -> (i64)"
    assert info.has_start
    assert info.table_elements == 4
    assert info.unsaveable == ()
    assert info.abi == "function"
    assert ("name", 1) in [(name, 1) for name, _ in info.custom_sections]
    assert sum(size for _, size in (*info.sections, *info.custom_sections)) < len(everything)


def test_imports_are_listed_with_their_types() -> None:
    info = inspect(
        from_text(
            """(module (import "env" "f" (func (param i32 f64) (result i64))) (import "env" "m" (memory 1 2))
            (import "env" "t" (table 3 funcref)) (import "env" "g" (global (mut i32)))
            (import "env" "x" (tag (param i32)))
            (global (export "mine") (mut i32) (i32.const 0)) (func (export "own")))"""
        )
    )
    assert [tuple(i) for i in info.imports] == [
        ("env", "f", "function", "(i32, f64) -> (i64)"),
        ("env", "m", "memory", "32-bit, 1..2 pages"),
        ("env", "t", "table", "3.. funcref"),
        ("env", "g", "global", "mut i32"),
        ("env", "x", "tag", "(i32) -> ()"),
    ]
    # The first global that the module defines itself is number 1: the imported one is number 0.
    assert info.globals == {"mine": "i32"}
    assert info.functions == {"own": FunctionType((), ())}


def test_the_ao_abi_is_recognised_by_its_exports() -> None:
    both = '(module (func (export "handle")) (func (export "malloc")))'
    one = '(module (func (export "handle")) (global (export "malloc") i32 (i32.const 0)))'
    assert inspect(from_text(both)).abi == "ao"
    assert inspect(from_text(one)).abi == "function"


_THREE = "(i32.const 0) (i32.const 0) (i32.const 1)"
UNSAVEABLE = [
    ("table.set", "(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))"),
    ("table.grow", "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))"),
    ("table.fill", "(table 1 funcref) (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))"),
    ("table.copy", "(table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 1)))"),
    ("table.init", f"(table 1 funcref) (elem $e func 0) (func (table.init $e {_THREE}))"),
    ("data.drop", f'(memory 1) (data $d "x") (func (memory.init $d {_THREE}) (data.drop $d))'),
    ("elem.drop", f"(table 1 funcref) (elem $e func 0) (func (table.init $e {_THREE}) (elem.drop $e))"),
    ("global 0", "(global (mut v128) (v128.const i64x2 0 0))"),
    ("global 0", "(global (mut funcref) (ref.null func))"),
    ("memories", "(memory 1) (memory 1)"),
    ("shared memory", "(memory 1 1 shared)"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "fields"), UNSAVEABLE)
def test_state_that_no_image_can_hold_is_found_and_refused(what: str, fields: str) -> None:
    info = inspect(from_text(f"(module {fields})"))
    assert any(what in named for named in info.unsaveable)
    with pytest.raises(Refused, match=what):
        check(info, set())


@pytest.mark.parametrize(
    "fields",
    [
        "(table 1 funcref) (func (drop (table.get (i32.const 0))) (drop (table.size)))",
        # Nothing can miss a segment that nothing reads.
        '(memory 1) (data $d "x") (func (data.drop $d))',
        "(elem $e func 0) (func (elem.drop $e))",
        # The bytes of table.set and data.drop, as constants, labels and offsets.
        "(memory 1) (func (drop (i32.const 0x26)) (drop (i64.const 0x09fc)) (drop (f64.const 0x1.fc09fc0926p3)))",
        "(memory 1) (func (drop (i32.load offset=0x26 (i32.const 0x26))))",
        "(func (drop (v128.const i8x16 0x26 0xfc 9 0xfc 17 0x26 0xfc 13 0 0 0 0 0 0 0 0)))",
        "(func (local i32) " + "(local i64)" * 0x26 + " (drop (local.get 0x26)))",
        "(global v128 (v128.const i64x2 0 0)) (global funcref (ref.null func))",
    ],
)
def test_what_can_be_saved_is_not_refused(fields: str) -> None:
    info = inspect(from_text(f"(module {fields})"))
    assert info.unsaveable == ()
    check(info, set())


@pytest.mark.parametrize(
    "body",
    [
        # Were a byte of these taken for an instruction's first, it would be 0x06, the legacy `try`, and refused.
        "(drop (i8x16.extract_lane_u 6 (v128.const i64x2 0 0)))",
        "(drop (i8x16.replace_lane 6 (v128.const i64x2 0 0) (i32.const 0)))",
        "(drop (v128.load8_lane offset=6 6 (i32.const 0) (v128.const i64x2 0 0)))",
        "(v128.store8_lane offset=6 6 (i32.const 0) (v128.const i64x2 0 0))",
        "(drop (v128.load64_zero offset=6 (i32.const 0)))",
        "(drop (i8x16.shuffle 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 (v128.const i64x2 0 0) (v128.const i64x2 0 0)))",
        "(drop (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 6) (local.get 6) (local.get 6)))",
        "(block " * 7 + "(try_table (catch 6 6) (catch 6 6))" + ")" * 7,
        "(block " * 7 + "(try_table (catch_all 6))" + ")" * 7,
        "(block " * 7 + "(br_table 6 6 6 (i32.const 6))" + ")" * 7,
        "(drop (select (result v128) (local.get 6) (local.get 6) (i32.const 6)))",
        "(drop (f64.const 0x1.6060606060606p-927)) (drop (i64.const 0x0606060606060606))",
        "(drop (ref.func 6)) (drop (table.get (i32.const 6))) (call 6) (call_indirect (type 6) (i32.const 6))",
        "(memory.init 6 (i32.const 6) (i32.const 6) (i32.const 6)) (data.drop 6)",
    ],
)
def test_no_byte_within_an_instruction_is_taken_for_another(body: str) -> None:
    types = "".join(f"(type (func) (; {n} ;))" for n in range(7))
    sixes = '(tag) (data "x") (func)' * 7 + "(elem declare func 6)"
    text = f"(module {types} (memory 1) (table 1 funcref) {sixes} (func {'(local v128)' * 7} {body}))"
    load(from_text(text))


def test_an_import_that_nothing_provides_is_named() -> None:
    info = inspect(from_text('(module (import "env" "a" (func)) (import "env" "b" (func (param i32))))'))
    with pytest.raises(Refused, match=r"env\.b \(function \(i32\) -> \(\)\)") as refused:
        check(info, {("env", "a")})
    assert "env.a" not in refused.value.message
    check(info, {("env", "a"), ("env", "b")})


def test_minified_imports_are_refused_with_what_they_are() -> None:
    info = inspect(from_text('(module (import "a" "a" (func)) (import "a" "D" (func)))'))
    with pytest.raises(Refused, match="minified"):
        check(info, set())
    metered = inspect(from_text('(module (import "a" "b" (func)) (import "metering" "usegas" (func (param i32))))'))
    with pytest.raises(Refused, match=r"metering\.usegas .*minified"):
        check(metered, set())
    with pytest.raises(Refused) as refused:
        check(metered, {("a", "b")})
    assert "minified" not in refused.value.message


def test_public_globals_of_bad_names_are_refused() -> None:
    def globals_(*names: str) -> str:
        return "(module " + " ".join(f'(global (export "{n}") (mut i32) (i32.const 0))' for n in names) + ")"

    with pytest.raises(Refused, match="'results'"):
        check(inspect(from_text(globals_("results"))), set(), {"results"})
    with pytest.raises(Refused, match="the same key"):
        check(inspect(from_text(globals_("counter", "Counter"))), set())
    check(inspect(from_text(globals_("counter", "other"))), set(), {"results"})


def functions(count: int, exported: bool, values: int = 0) -> str:
    type_ = f"(param {'i32 ' * values})"
    if exported:
        return "(module (func $f " + type_ + ")" + "".join(f'(export "{n}" (func $f))' for n in range(count)) + ")"
    return "(module " + "".join(f'(import "env" "{n}" (func {type_}))' for n in range(count)) + ")"


TOO_MANY = [
    (functions(1001, exported=False), "the module has 1001 imports; hb allows 1000"),
    (functions(4001, exported=True), "the module has 4001 exports; hb allows 4000"),
    (
        "(module " + "(global (mut i32) (i32.const 0))" * 1001 + ")",
        "the module has 1001 mutable globals; hb allows 1000",
    ),
    (
        functions(6, exported=False, values=900),
        "the module has 5400 parameters and results of imported functions; hb allows 5000",
    ),
    (
        functions(200, exported=True, values=600),
        "the module has 120000 parameters and results of exported functions; hb allows 100000",
    ),
]


@pytest.mark.parametrize(("wat", "sentence"), TOO_MANY, ids=[sentence for _, sentence in TOO_MANY])
def test_more_than_an_instance_is_given_in_a_moment_is_refused_by_inspect_load_and_an_old_cache(
    cache, monkeypatch, wat: str, sentence: str
) -> None:
    wasm = from_text(wat)
    for refuse in (lambda: inspect(wasm), lambda: load(wasm, cache)):
        with pytest.raises(Refused) as refused:
            refuse()
        assert refused.value.message == sentence
    assert not list(cache.iterdir())
    with monkeypatch.context() as before_there_were_limits:
        for place in (parse, info):
            before_there_were_limits.setattr(place, "check_count", lambda *_: None)
        compiled.keep(cache, ids.digest(wasm), *native.make(wasm))
    assert compiled.find(cache, ids.digest(wasm)) is not None
    with pytest.raises(Refused) as refused:
        load(wasm, cache)
    assert refused.value.message == sentence


def test_a_module_of_very_many_sections_is_refused_before_they_take_memory() -> None:
    empty = section(0, b"\0")
    inspect(HEADER + empty * 1000)
    with pytest.raises(Refused, match="the module has 1001 sections or more; hb allows 1000"):
        inspect(HEADER + empty * 5_000_000)


def test_as_many_as_are_allowed_are_instantiated_in_a_moment() -> None:
    for wat in (
        functions(4000, exported=True),
        functions(1000, exported=False, values=5),
        "(module " + "(global (mut i32) (i32.const 0))" * 1000 + ")",
    ):
        module = load(from_text(wat))
        imports = {(i.module, i.name): (lambda host, *arguments: None) for i in module.info.imports}
        before = time.process_time()
        Instance(module, Limits(10**6, 4, 10), imports)
        assert time.process_time() - before < 3  # half a second on a quiet machine


def section(number: int, body: bytes, size: bytes | None = None) -> bytes:
    return bytes([number]) + (bytes([len(body)]) if size is None else size) + body


VOID = section(1, b"\x01\x60\0\0") + section(3, b"\x01\0")

MALFORMED = [
    ("nothing at all", b"", "not a wasm file"),
    ("text", b"(module)", "not a wasm file"),
    ("magic cut off", b"\0as", "not a wasm file"),
    ("a component", b"\0asm\x0d\0\1\0", "version"),
    ("version cut off", b"\0asm\1", "version"),
    ("unknown section", HEADER + section(14, b""), "not a section"),
    ("section without a size", HEADER + b"\x01", "cut off"),
    ("section longer than the file", HEADER + b"\x01\x7f\0", "127 bytes, 1 are left"),
    ("size of six bytes", HEADER + b"\x01" + b"\x80" * 5 + b"\0", "longer than 32 bits"),
    ("size beyond 32 bits", HEADER + b"\x01\xff\xff\xff\xff\x7f", "longer than 32 bits"),
    ("section twice", HEADER + section(1, b"\0") * 2, "twice"),
    ("sections out of order", HEADER + section(3, b"\0") + section(1, b"\0"), "out of order"),
    ("section with bytes too many", HEADER + section(1, b"\0\0\0"), "2 bytes too many"),
    ("huge count of types", HEADER + section(1, b"\xff\xff\xff\xff\x0f"), "at most"),
    ("more types than bytes", HEADER + section(1, b"\x09\x60\0\0"), "do not fit"),
    ("struct type", HEADER + section(1, b"\x01\x5f\0"), "garbage-collected"),
    ("too many parameters", HEADER + section(1, b"\1\x60\xe9\7" + b"\x7f" * 1001 + b"\0", b"\xee\7"), "at most 1000"),
    ("unknown value type", HEADER + section(1, b"\x01\x60\x01\x00\0"), "not a value type"),
    ("function of no type", HEADER + section(3, b"\x01\0"), "no type 0"),
    ("import of unknown kind", HEADER + section(2, b"\x01\0\0\x09"), "not a kind"),
    ("import name not UTF-8", HEADER + section(2, b"\x01\x01\xff\0\0"), "UTF-8"),
    ("huge name", HEADER + section(2, b"\x01\xff\xff\x7f"), "bytes of a name"),
    ("unknown memory flags", HEADER + section(5, b"\x01\x08\0"), "flags"),
    ("memory size cut off", HEADER + section(5, b"\x01\x00"), "cut off"),
    ("64-bit size of 11 bytes", HEADER + section(5, b"\x01\x04" + b"\x80" * 10 + b"\0"), "longer than 64 bits"),
    ("global neither mutable nor not", HEADER + section(6, b"\x01\x7f\x02\x41\0\x0b"), "mutable"),
    ("global without an end", HEADER + section(6, b"\x01\x7f\0\x41\0"), "does not end"),
    ("global of a call", HEADER + section(6, b"\x01\x7f\0\x10\0\x0b"), "constant expression"),
    ("export twice", HEADER + VOID + section(7, b"\x02\x01a\0\0\x01a\0\0"), "two exports"),
    ("export of no function", HEADER + VOID + section(7, b"\x01\x01a\0\x05"), "function 5 of 1"),
    ("function cut off", HEADER + VOID + section(10, b"\x01\x09\0\x0b"), "cut off"),
    ("locals without end", HEADER + VOID + section(10, b"\x01\x04\x7f\x01\x7f\x0b"), "do not fit"),
    ("unknown instruction", HEADER + VOID + section(10, b"\x01\x03\0\xff\x0b"), "0xff is not an instruction"),
    ("legacy exceptions", HEADER + VOID + section(10, b"\x01\x07\0\x06\x40\x19\x0b\x0b\x0b"), "legacy exception"),
    ("atomics", HEADER + VOID + section(10, b"\x01\x05\0\xfe\x03\0\x0b"), "atomic"),
    ("instruction cut off", HEADER + VOID + section(10, b"\x01\x03\0\x41\x80"), "cut off"),
    ("constant cut off", HEADER + VOID + section(10, b"\x01\x04\0\x44\0\0"), "cut off"),
    ("branch table too long", HEADER + VOID + section(10, b"\x01\x07\0\x0e\xff\xff\x03\0\x0b"), "do not fit"),
    ("unknown bulk instruction", HEADER + VOID + section(10, b"\x01\x04\0\xfc\x20\x0b"), "not an instruction"),
    ("unknown vector instruction", HEADER + VOID + section(10, b"\x01\x05\0\xfd\xff\x7f\x0b"), "not an instruction"),
    ("custom section without a name", HEADER + section(0, b""), "cut off"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wasm", "sentence"), MALFORMED, ids=[name for name, _, _ in MALFORMED])
def test_a_malformed_module_is_refused_with_a_sentence(name: str, wasm: bytes, sentence: str) -> None:
    for read in (inspect, load):
        with pytest.raises(Refused) as refused:
            read(wasm)
        assert sentence in refused.value.message
        assert "\n" not in refused.value.message


def test_legacy_exceptions_come_with_the_way_to_convert_them() -> None:
    with pytest.raises(Refused) as refused:
        inspect(HEADER + VOID + section(10, b"\x01\x07\0\x06\x40\x19\x0b\x0b\x0b"))
    assert refused.value.hint is not None
    assert "--translate-to-exnref" in refused.value.hint


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_truncated_module_is_refused_wherever_it_is_cut(everything, cut: int) -> None:
    with pytest.raises(Refused):
        load(everything[:cut])


def test_an_invalid_module_is_refused_with_the_engines_reason() -> None:
    wasm = HEADER + VOID + section(10, b"\x01\x04\0\x41\0\x0b")
    inspect(wasm)
    with pytest.raises(Refused, match=r"not a valid wasm module: .*offset 0x19") as refused:
        load(wasm)
    assert "\n" not in refused.value.message


def test_text_that_is_no_module_is_refused_with_its_place() -> None:
    with pytest.raises(Refused, match=r"\(line 2, column 3\)"):
        from_text("(module\n  nonsense)")
    with pytest.raises(Refused, match="UTF-8"):
        from_text("\ud800")


def test_deep_nesting_neither_crashes_nor_hangs() -> None:
    depth = 20_000
    before = time.monotonic()
    wasm = from_text("(module (func " + "(block " * depth + ")" * depth + "))")
    load(wasm)
    with pytest.raises(Refused):
        from_text("(module " * depth)
    assert time.monotonic() - before < 20


def test_three_megabytes_of_instructions_are_looked_through_in_well_under_a_second() -> None:
    from hb.binary.rewrite import unsigned

    body = b"\0" + b"\x41\x26\x1a\x0c\0\x20\x80\x01" * 400_000 + b"\x0b"
    code = b"\x01" + unsigned(len(body)) + body
    wasm = HEADER + VOID + section(10, code, unsigned(len(code)))
    before = time.monotonic()
    assert inspect(wasm).unsaveable == ()
    assert time.monotonic() - before < 5  # 0.1 s on a quiet machine


# --- the export section


def test_hidden_state_is_exported_and_what_was_exported_stays(everything) -> None:
    module = load(everything)
    names = [export.name for export in module.compiled.exports]
    assert names[: len(module.info.exports)] == [e.name for e in module.info.exports]
    assert [type_ for _, type_ in module.state.globals] == ["f64", "f32", "i64", "i32"]
    assert {name for name, _ in module.state.globals} <= set(names)
    assert module.state.memory == "mem"
    assert module.wasm_digest == ids.digest(everything)


@pytest.mark.parametrize(
    "fields",
    [
        "(memory 1) (global (mut i32) (i32.const 0))",
        "(memory 1) (global (mut i32) (i32.const 0)) (start 0) (func)",
        '(memory 1) (global (mut i32) (i32.const 0)) (func (export "f")) (data (i32.const 0) "x")',
        "(global (mut i32) (i32.const 0)) (table 1 funcref) (elem (i32.const 0) 0) (func)",
        '(tag) (global (mut i32) (i32.const 0)) (@custom "last" "x")',
        '(global (mut i32) (i32.const 0)) (@custom "early" (before first) "x")',
    ],
)
def test_the_export_section_comes_where_it_must(fields: str) -> None:
    module = load(from_text(f"(module {fields})"))
    assert len(module.state.globals) == 1


def test_a_module_that_exports_our_own_names_gets_others() -> None:
    exports = '(func (export "hb.memory")) (func (export "_hb.global.0"))'
    module = load(from_text(f"(module (memory 1) (global $g (mut i32) (i32.const 1)) {exports})"))
    assert module.state.memory not in {"hb.memory", "_hb.global.0"}
    assert module.state.globals[0][0] not in {"hb.memory", "_hb.global.0"}


# --- compiled modules at rest


@pytest.fixture
def cache(tmp_path):
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    return directory


def kept(cache) -> dict[str, Path]:
    """The files of the one module in the cache, by suffix."""
    files = {path.suffix: path for path in cache.iterdir()}
    assert len(files) == len(list(cache.iterdir())) == 2
    return files


def compilations(monkeypatch) -> list[int]:
    """Grows by one each time a module is really compiled."""
    from hb.wasm import module

    done: list[int] = []
    compile_ = module._compile
    monkeypatch.setattr(module, "_compile", lambda *a: (done.append(1), compile_(*a))[1])
    return done


def test_a_compiled_module_is_kept_and_comes_back_equal(cache, everything, monkeypatch) -> None:
    done = compilations(monkeypatch)
    first, second = load(everything, cache), load(everything, cache)
    assert len(done) == 1
    assert (first.info, first.state, first.wasm_digest) == (second.info, second.state, second.wasm_digest)
    assert {path.stat().st_mode & 0o777 for path in kept(cache).values()} == {0o600}


def test_a_kept_module_runs_with_the_same_outcome_and_gas(cache, everything) -> None:
    instances = [Instance(load(everything, cache), Limits(10**6, 4, 10)) for _ in range(2)]
    assert instances[0].call("catch", [5]) == instances[1].call("catch", [5])
    assert instances[0].start_gas == instances[1].start_gas


def test_a_cache_that_is_not_there_is_made_for_its_owner_only(tmp_path, everything) -> None:
    load(everything, tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_modules_and_configurations_do_not_share_a_file(cache, everything, monkeypatch) -> None:
    load(everything, cache)
    load(from_text("(module)"), cache)
    assert len(list(cache.glob("*.native"))) == 2
    monkeypatch.setattr(compiled, "CONFIG", (*engine.CONFIG, ("another", True)))
    compiled._maker.cache_clear()
    load(everything, cache)
    compiled._maker.cache_clear()
    assert len(list(cache.glob("*.native"))) == 3


def flip(position: int):
    def damage(path):
        raw = bytearray(path.read_bytes())
        raw[position] ^= 0xFF
        path.write_bytes(raw)

    return damage


DAMAGE = {
    "first byte": flip(0),
    "last byte": flip(-1),
    "somewhere": flip(100),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "a list": lambda path: path.write_bytes(b"[]"),
    "an object": lambda path: path.write_bytes(b"{}"),
    "gone": lambda path: path.unlink(),
    "writable by its group": lambda path: path.chmod(0o620),
    "writable by all": lambda path: path.chmod(0o602),
    "a symlink": lambda path: (path.rename(path.parent.parent / "elsewhere"), path.symlink_to("../elsewhere")),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
}


@pytest.mark.parametrize("suffix", [".native", ".json"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_file_that_may_not_be_ours_is_compiled_anew_and_replaced(
    cache, everything, monkeypatch, damage, suffix
) -> None:
    done = compilations(monkeypatch)
    load(everything, cache)
    path = kept(cache)[suffix]
    good = path.read_bytes()
    damage(path)
    assert load(everything, cache).info == inspect(everything)
    assert len(done) == 2
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == good
    load(everything, cache)
    assert len(done) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another")
@pytest.mark.parametrize("suffix", [".native", ".json"])
def test_a_file_of_another_user_is_not_loaded(cache, everything, monkeypatch, suffix) -> None:
    done = compilations(monkeypatch)
    load(everything, cache)
    os.chown(kept(cache)[suffix], 12345, 12345)
    load(everything, cache)
    assert len(done) == 2


@pytest.mark.parametrize("spoil", ["writable by all", "a symlink", "a file", "no parent"])
def test_a_cache_that_is_not_private_is_neither_read_nor_written(tmp_path, everything, monkeypatch, spoil) -> None:
    done = compilations(monkeypatch)
    real = tmp_path / "real"
    load(everything, real)
    before = {path.name: path.stat().st_mtime_ns for path in real.iterdir()}
    place = real
    if spoil == "writable by all":
        real.chmod(0o777)
    elif spoil == "a symlink":
        place = tmp_path / "link"
        place.symlink_to(real)
    elif spoil == "a file":
        place = tmp_path / "file"
        place.write_bytes(b"")
    else:
        place = tmp_path / "none" / "cache"
    load(everything, place)
    assert len(done) == 2
    assert {path.name: path.stat().st_mtime_ns for path in real.iterdir()} == before
