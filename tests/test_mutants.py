"""The suite notices what would make masks wrong: each mutant below breaks one line of the library, and tests must fail.

The sources are copied to a folder of the build (so that a second run compiles little), a mutant is one replacement of a
text that must occur once, and the same few test programs run on each: they pass on the copy as it is, and fail on every
mutant. What caught each is printed. LibTorch is left out; its binding is thin, and compiling it takes minutes.
"""

import dataclasses
import filecmp
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("DROPKIT_BIN") or ROOT / "build" / "dropkit").parent
COPY = BUILD / "mutants"
NOT_COPIED = re.compile(r"\.|build|out$")
PROGRAMS = ["golden_test", "apply_test", "drop_test", "layout_test", "kernels_test"]
# What takes long and sees nothing that the others do not.
FILTER = "--gtest_filter=-*.MoreElementsThanInt32:*.ThreadsChangeNothing:*.ManyTasksEqualTheReference"


@dataclasses.dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str


LANES = "MakeLaneLaw(threshold > kOne ? 0 : LaneThreshold(spec, plan, coverage, threshold));"
JOB = "Job job{mask, x, y, MakeLoop(mask, x, y, noise), ChosenKernels()};"
MUTANTS = [
    Mutant(
        "p quantised to 8 bits",
        "src/draw.h",
        "static_cast<uint64_t>(static_cast<double>(p) * kTwo32 + 0.5)",
        "static_cast<uint64_t>(static_cast<double>(p) * 256.0 + 0.5) << 24",
    ),
    Mutant(
        "lanes drawn with 8 bits of p, gains with all",
        "src/cpu/sample.cc",
        LANES,
        LANES.replace("coverage, threshold)", "coverage, threshold) >> 24 << 24"),
    ),
    Mutant(
        "reference: p quantised to 8 bits",
        "src/reference/rates.cc",
        "static_cast<uint64_t>(static_cast<double>(p) * kTwo32 + 0.5)",
        "static_cast<uint64_t>(static_cast<double>(p) * 256.0 + 0.5) << 24",
    ),
    Mutant(
        "drawn mask shifted by one bit",
        "src/cpu/spread.cc",
        "ClearMarkedWords(mask_.bits, base + first, fired, words)",
        "ClearMarkedWords(mask_.bits, base + first + 1, fired, words)",
    ),
    Mutant(
        "blocks shifted by one bit",
        "src/cpu/words.cc",
        "body(start + i, first_bit + found[i])",
        "body(start + i, first_bit + 1 + found[i])",
    ),
    Mutant(
        "applied mask shifted by one bit",
        "src/cpu/rows.cc",
        "LoadBits(bits, bit + i, count)",
        "LoadBits(bits, bit + i, count) >> 1",
    ),
    Mutant(
        "rows of lanes by a quotient without its half",
        "src/cpu/words.cc",
        "(static_cast<float>(first_column + lane) + 0.5f)",
        "(static_cast<float>(first_column + lane) + 0.0f)",
    ),
    Mutant(
        "gathered bits are those of the next row",
        "src/cpu/walk.cc",
        "const int64_t end = std::min(count, done + loop.part_size - in_part);",
        "const int64_t end = std::min(count, done + loop.part_size - in_part - (in_part == 0 && loop.part_size > 1));",
    ),
    Mutant(
        "backward applies another mask",
        "src/cpu/apply.cc",
        JOB,
        "Mask other = mask; std::vector<uint64_t> words(mask.bits, mask.bits + mask.num_words());"
        "for (uint64_t& word : words) word = pass == Pass::kBackward ? std::rotl(word, 1) : word;"
        "other.bits = words.data();" + JOB.replace("mask", "other"),
    ),
    Mutant(
        "backward draws another mask",
        "src/drop.cc",
        "if (Status status = backend.sample(spec, p, key, x, exec, mask)",
        "static thread_local uint64_t other[2] = {};"
        "other[0] = key[0] + (pass == Pass::kBackward), other[1] = key[1];"
        "if (Status status = backend.sample(spec, p, other, x, exec, mask)",
    ),
    Mutant(
        "everything is dropped",
        "src/cpu/sample.cc",
        LANES,
        LANES.replace("LaneThreshold(spec, plan, coverage, threshold)", "threshold == 0 ? 0 : kOne"),
    ),
    Mutant(
        "x in NHWC is read as NCHW",
        "src/cpu/apply.cc",
        JOB,
        "View first = x; if (x.channels > 1 && x.channel_stride == 1) first = DenseView(x.data, x.dtype, x.samples,"
        "x.channels, std::vector<int64_t>(x.size, x.size + x.spatial_dims));"
        + JOB.replace("MakeLoop(mask, x", "MakeLoop(mask, first"),
    ),
    Mutant(
        "bits of a mask of NHWC are in the order of NCHW",
        "src/mask.cc",
        "FillStrides(sizes, IsDenseChannelsLast(x), &strides)",
        "FillStrides(sizes, false, &strides)",
    ),
    Mutant(
        "NHWC has the strides of NCHW",
        "src/mask.cc",
        "kLast[5] = {0, 2, 3, 4, 1}",
        "kLast[5] = {0, 1, 2, 3, 4}",
    ),
]


def sources(root):
    """Files of a checkout, relative to it; neither hidden ones nor what was built."""
    tops = [top for top in root.iterdir() if not NOT_COPIED.match(top.name)]
    paths = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*"))]
    return {path.relative_to(root) for path in paths if path.is_file() and "__pycache__" not in path.parts}


def copy_sources():
    """Touches only what differs, so that what was built of the rest stays good."""
    wanted, present = sources(ROOT), sources(COPY)
    for path in present - wanted:
        (COPY / path).unlink()
    for path in wanted:
        if path in present and filecmp.cmp(ROOT / path, COPY / path, shallow=False):
            continue
        (COPY / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, COPY / path)


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=COPY, timeout=600)


def build():
    done = run("cmake", "--build", "build", "-j", "2", "--target", *PROGRAMS)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def failures():
    """The tests that fail, by name; a program that ends by a signal counts as one."""
    failed = []
    for program in PROGRAMS:
        done = run(COPY / "build" / "tests" / program, "--gtest_brief=1", FILTER)
        assert done.returncode <= 1, done.stderr[-2000:]
        failed += re.findall(r"^\[  FAILED  \] (\w+\.\w+) ", done.stdout, re.M)
        if done.returncode < 0:
            failed.append(f"{program} (signal {-done.returncode})")
        assert failed or done.returncode == 0, done.stdout[-2000:]
    return failed


@pytest.fixture(scope="module")
def copy():
    """The copy as it is, which passes."""
    COPY.mkdir(parents=True, exist_ok=True)
    copy_sources()
    flags = ["-DDROPKIT_TORCH=OFF", "-DDROPKIT_CUDA=OFF", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1"]
    configured = run("cmake", "-S", ".", "-B", "build", "-G", "Ninja", *flags)
    assert configured.returncode == 0, configured.stdout[-2000:] + configured.stderr[-2000:]
    build()
    assert failures() == []
    return COPY


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutants_are_caught(copy, mutant, capsys):
    path = copy / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has this {text.count(mutant.old)} times: {mutant.old}"
    try:
        path.write_text(text.replace(mutant.old, mutant.new))
        build()
        caught_by = failures()
    finally:
        path.write_text(text)
    with capsys.disabled():
        print(f"\n{mutant.name}: caught by {', '.join(caught_by) or 'NOTHING'}")
    assert caught_by
