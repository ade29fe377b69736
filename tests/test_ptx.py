"""What nvcc makes of the kernels' main loops: every access to the device's memory moves 16 bytes.

Needs nvcc (DROPKIT_NVCC); no card. How PTX is read is ptx.py's, and is tested here on PTX that is broken.
"""

import functools
import os
import pathlib
import re
import tempfile

import ptx
import pytest
from outside import ROOT, run

NVCC = os.environ.get("DROPKIT_NVCC")
OPTIONS = ["-std=c++20", "-O3", "-fmad=false", "--expt-relaxed-constexpr", "-arch=sm_90", "-ptx"]
# The kernels with a main loop, and how many there are for a type; those without, one for a type; the types as they are
# in the names.
KERNELS = {"apply.cu": ("ApplyDense", 4), "drop.cu": ("DropKernel", 1)}
UNMARKED = {"apply.cu": ["ApplyElements"], "drop.cu": []}
TYPES = {"f32": "f", "f16": "NS_7Float16E", "bf16": "NS_8BFloat16E", "f64": "d"}

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc: DROPKIT_NVCC is not set")


@functools.cache
def compiled(source):
    folders = [f"-I{ROOT / 'src'}", f"-I{ROOT / 'include'}"]
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "kernels.ptx"
        run(NVCC, *OPTIONS, *folders, ROOT / "src" / "cuda" / source, "-o", output)
        return ptx.kernels(output.read_text())


@needs_nvcc
@pytest.mark.parametrize("source", KERNELS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_access_of_a_main_loop_is_128_bits_wide(source, dtype):
    kernel, variants = KERNELS[source]
    named = {name: code for name, code in compiled(source).items() if f"{kernel}I{TYPES[dtype]}" in name}
    assert len(named) == variants, f"{kernel} of {dtype} in {source}: {sorted(compiled(source))}"
    for name, code in named.items():
        try:
            loads, stores = ptx.check_main_loop(code)
        except ptx.Broken as broken:
            pytest.fail(f"{name}: {broken}")
        assert loads >= stores > 0


@needs_nvcc
@pytest.mark.parametrize("source", KERNELS)
def test_no_other_kernel_has_a_main_loop_that_is_not_marked(source):
    """One that lost its marks would be read by nobody."""
    unmarked = [name for name, code in compiled(source).items() if ptx.BEGIN not in code]
    wanted = [f"{kernel}I{dtype}E" for kernel in UNMARKED[source] for dtype in TYPES.values()]
    assert len(unmarked) == len(wanted) and all(any(part in name for name in unmarked) for part in wanted), unmarked


KERNEL = """
.version 9.0
.visible .entry _Z6KernelPf(
    .param .u64 _Z6KernelPf_param_0
)
{
    .reg .b32 %r<9>;
    ld.param.u64 %rd1, [_Z6KernelPf_param_0];
    ld.global.u16 %rs1, [%rd1];
    @%p1 bra $L__BB0_4;
    // begin inline asm
    // dropkit main loop begin
    // end inline asm
$L__BB0_2:
    ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2];
    ld.shared.u8 %rs2, [%r9];
    @%p2 bra $L__BB0_5;
$L__BB0_3:
    st.global.v2.b64 [%rd3], {%rd4, %rd5};
    @%p3 bra $L__BB0_2;
    // begin inline asm
    // dropkit main loop end
    // end inline asm
$L__BB0_4:
    st.global.u16 [%rd1], %rs1;
    ret;
$L__BB0_5:
    { add.s32 %r1, %r1, 1; mov.b32 %r2, %r1; }
    bra.uni $L__BB0_3;
}
"""
LOAD = "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2];"
STORE = "st.global.v2.b64 [%rd3], {%rd4, %rd5};"


def check(text):
    (code,) = ptx.kernels(text).values()
    return ptx.check_main_loop(code)


def test_a_good_loop_passes_whatever_is_around_it():
    assert list(ptx.kernels(KERNEL)) == ["_Z6KernelPf"]
    assert check(KERNEL) == (1, 1)


@pytest.mark.parametrize(
    "old, new, said",
    [
        (LOAD, "ld.global.v2.u32 {%r1, %r2}, [%rd2];", "v2.u32"),
        (LOAD, "ld.global.nc.f32 %f1, [%rd2];", "nc.f32"),
        (LOAD, "ld.u16 %rs1, [%rd2];", "ld.u16"),  # generic: nvcc lost track of whose memory it is
        (LOAD, "ld.local.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2];", "ld.local"),
        (LOAD, "mov.u32 %r1, %r2;", "0 loads and 1 stores"),
        (STORE, "@%p4 st.global.b64 [%rd3], %rd4;", "st.global.b64"),
        (STORE, "mov.u32 %r1, %r2;", "1 loads and 0 stores"),
        (STORE, f"{STORE} {STORE}", "1 loads and 2 stores"),
        (STORE, "atom.global.add.u32 %r1, [%rd3], 1;", "atom.global"),
        # Outside the marks by place, inside by what runs.
        ("add.s32 %r1, %r1, 1;", "ld.global.u8 %rs3, [%rd2];", "ld.global.u8"),
        ("add.s32 %r1, %r1, 1;", "call.uni (retval0), Function, (param0);", "a call"),
        ("bra.uni $L__BB0_3;", "ret;", "passes no"),
        ("// dropkit main loop begin", "", "no mark 'dropkit main loop begin'"),
        ("// dropkit main loop end", "", "no mark 'dropkit main loop end'"),
    ],
)
def test_a_broken_loop_is_refused(old, new, said):
    assert old in KERNEL
    with pytest.raises(ptx.Broken, match=re.escape(said)):
        check(KERNEL.replace(old, new, 1))


def test_branches_by_a_table_are_followed():
    table = "brx.idx %r5, $L_table;\n$L_table:\n.branchtargets\n$L__BB0_3,\n$L__BB0_5;"
    good = KERNEL.replace("@%p2 bra $L__BB0_5;", table)
    assert check(good) == (1, 1)
    with pytest.raises(ptx.Broken, match="ld.global.u8"):
        check(good.replace("add.s32 %r1, %r1, 1;", "ld.global.u8 %rs3, [%rd2];"))
