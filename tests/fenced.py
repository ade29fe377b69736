"""What the tests of the documentation share: the pages, their code blocks, and how a block is run.

A block's tag says what it is: cpp, c, python and cmake are complete programs or projects; console is commands (lines
that start with `$ `) with their output; text is not code; {directive} is the site's. A page's blocks run in one folder.
Assumes a built program (DROPKIT_BIN, else build/dropkit) and the libraries beside it.
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("DROPKIT_BIN") or ROOT / "build" / "dropkit").resolve()
BUILD = PROGRAM.parent
TAGS = {"cpp", "c", "python", "cmake", "console", "text"}
PARSER = MarkdownIt("commonmark").enable("table")


def pages():
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@dataclasses.dataclass
class Block:
    page: str
    line: int
    tag: str  # None where the block is indented, "" where the fence has no tag
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"

    def needs_torch(self):
        words = r"#include [<\"](torch/|dropkit/nn\.h)|\bimport torch\b|dropkit\.torch|dropkit_nn|dropkit::nn"
        return bool(re.search(words, self.text))


def blocks_of(page):
    tokens = PARSER.parse((ROOT / page).read_text())
    return [
        Block(page, token.map[0] + 1, token.info.strip() if token.type == "fence" else None, token.content)
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


def all_blocks(*tags):
    return [block for page in pages() for block in blocks_of(page) if block.tag in tags]


# ---------------------------------------------------------------- programs


def torch_folder():
    return pathlib.Path(importlib.util.find_spec("torch").origin).parent


def library(variable, name):
    """A library of the build: as the build names it, else where a default build leaves it."""
    return os.environ.get(variable) or str(BUILD / name)


def flags_of(block):
    flags = ["-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}"]
    if block.needs_torch():
        include = torch_folder() / "include"
        flags += ["-isystem", f"{include}", "-isystem", f"{include}/torch/csrc/api/include"]
    return flags


def libraries_of(block):
    core = [library("DROPKIT_LIB", "libdropkit.a"), "-pthread"]
    if not block.needs_torch():
        return core
    torch, operators = torch_folder() / "lib", library("DROPKIT_TORCH_OPS", "libdropkit_torch.so")
    paths = [f"-L{torch}", f"-Wl,-rpath,{torch}", f"-Wl,-rpath,{pathlib.Path(operators).parent}"]
    # torch registers its kernels from static initialisers, so the linker must keep it although nothing names it.
    kept = "-Wl,--push-state,--no-as-needed,-ltorch_cpu,-lc10,--pop-state"
    return [library("DROPKIT_NN_LIB", "bindings/torch/libdropkit_nn.a"), operators, *core, *paths, kept]


def compile_program(block, folder):
    """Compiles the block and returns the program, or fails with the compiler's words."""
    stem = f"{folder}/{pathlib.Path(block.page).stem}_{block.line}"
    source = pathlib.Path(f"{stem}.{'cc' if block.tag == 'cpp' else 'c'}")
    source.write_text(block.text)
    cxx = os.environ.get("CXX", "c++")
    compiler = [cxx, "-std=c++20"] if block.tag == "cpp" else [os.environ.get("CC", "cc"), "-std=c99", "-pedantic"]
    cache = [path for path in [shutil.which("ccache")] if path]
    run([*cache, *compiler, *flags_of(block), "-c", source.name, "-o", f"{stem}.o"], block, cwd=folder)
    run([cxx, f"{stem}.o", *libraries_of(block), "-o", stem], block)
    return stem


def run(command, block, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{block}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def environment():
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DROPKIT_")}
    # Two threads on cores that others use too: spinning at barriers would cost seconds a step.
    own = {"PATH": f"{BUILD}:{os.environ['PATH']}", "OMP_WAIT_POLICY": "passive", "NO_COLOR": "1"}
    return {**inherited, **own}


def package_environment():
    """For Python that imports dropkit.torch: this checkout's, with the build's operators."""
    own = {"PYTHONPATH": str(ROOT / "python"), "DROPKIT_TORCH_OPS": library("DROPKIT_TORCH_OPS", "libdropkit_torch.so")}
    return {**environment(), **own, "PYTHONDONTWRITEBYTECODE": "1"}


def run_python(*blocks, folder):
    """Runs blocks one after the other in one process, as importing torch takes seconds; no name passes between them."""
    program = "".join(
        f"exec(compile({block.text!r}, {str(block)!r}, 'exec'), {{'__name__': '__main__'}})\n" for block in blocks
    )
    return run([sys.executable, "-c", program], blocks[0], cwd=folder, env=package_environment())


def configure_project(block, folder):
    """Configures the block as a project of its own, with dropkit beside it, and checks that what it links is there."""
    folder.mkdir()
    (folder / "dropkit").symlink_to(ROOT)
    made = dict(re.findall(r"add_executable\((\S+) ([^)]+)\)", block.text))
    for source in " ".join(made.values()).split() or ["main.cc"]:
        (folder / source).write_text("int main() {}\n")
    linked = re.findall(r"target_link_libraries\((\S+)\s+([^)]+)\)", block.text)
    targets = {word for _, words in linked for word in re.findall(r"dropkit\S*", words)}
    assert targets, f"{block}: it links nothing of dropkit"
    before = (
        [] if "project(" in block.text else ["cmake_minimum_required(VERSION 3.25)", "project(page LANGUAGES C CXX)"]
    )
    before += [f"add_executable({name} main.cc)" for name in sorted({name for name, _ in linked} - set(made))]
    after = [f'if(NOT TARGET {name})\n  message(FATAL_ERROR "no target {name}")\nendif()' for name in sorted(targets)]
    (folder / "CMakeLists.txt").write_text("\n".join([*before, block.text, *after]) + "\n")
    options = [f"-DPython3_EXECUTABLE={sys.executable}", f"-DFETCHCONTENT_SOURCE_DIR_DROPKIT={ROOT}"]
    if "find_package(dropkit" in block.text:
        run(["cmake", "--install", str(BUILD), "--prefix", f"{folder}/installed"], block)
        options.append(f"-DCMAKE_PREFIX_PATH={folder}/installed")
    run(["cmake", "-S", folder, "-B", f"{folder}/build", "-G", "Ninja", *options], block)


def page_folder(base, page):
    """The folder where a page's blocks run: empty at first, but for the build that a checkout would have."""
    folder = base / page.replace("/", "_")
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "build").symlink_to(BUILD)
    return folder


# ---------------------------------------------------------------- commands


@dataclasses.dataclass
class Command:
    block: Block
    text: str
    output: str  # what the page shows; "" where it shows nothing

    def needs_torch(self):
        return self.text.startswith("dropkit train")


def commands_of(block):
    found = []
    for line in block.text.splitlines():
        continued = found and found[-1].text.endswith("\\") and not found[-1].output
        if line.startswith("$ "):
            found.append(Command(block, line[2:], ""))
        elif continued:
            found[-1].text += "\n" + line
        else:
            assert found, f"{block}: a console block starts with a command, `$ ...`"
            found[-1].output += line + "\n"
    return found


def without_options(words, *names):
    """The command's words without these options and their values."""
    kept, skip = [], False
    for word in words:
        if not skip and word not in names:
            kept.append(word)
        skip = word in names
    return kept


def rehearsal(text):
    """What stands for a command that changes the machine or takes minutes: (words, folder), or None to run it as it is.

    Training runs with the same options on few images for an epoch. Of builds, ninja, make and ctest say what they would
    do, so that a wrong target, preset or option still fails.
    """
    words = re.sub(r"\s+#.*", "", text).replace("\\\n", " ").split()
    if words[0] == "make":
        return [*words, "-n"], ROOT
    if words[0] == "./setup.sh":
        return ["bash", "-n", *words], ROOT
    if words[:2] == ["cmake", "--preset"]:
        return ["cmake", "-N", *words[1:]], ROOT
    if words[:2] == ["cmake", "--build"] and words[2] == "build":
        return ["cmake", "--build", str(BUILD), *words[3:], "--", "-n"], ROOT
    if words[:3] == ["ctest", "--test-dir", "build"]:
        return ["ctest", "--test-dir", str(BUILD), *words[3:], "-N"], ROOT
    if words[:2] in (["pip", "install"], ["pip", "wheel"]):  # what would be built is named, and nothing is compiled
        pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation", "--no-deps"]
        return [*pip, *words[2:]], ROOT
    if words[:2] == ["dropkit", "train"]:
        rest = without_options(words, "--epochs", "--train-size", "--test-size", "--seeds", "--threads")
        tiny = ["--epochs", "1", "--train-size", "64", "--test-size", "64", "--seeds", "0", "--threads", "1"]
        return [*rest, *tiny], None
    if words[:2] == ["dropkit", "check"] and not {"--case", "--cases"} & set(words):
        return [*without_options(words, "--minutes"), "--minutes", "0.02"], None
    return None


def pattern(output):
    """Shown output as a regular expression: a line `...` stands for any lines, ` ...` at a line's end for its rest."""
    lines = []
    for line in output.splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        elif line.endswith(" ..."):
            lines.append(re.escape(line[:-4]) + r".*\n")
        else:
            lines.append(re.escape(line) + r"\n")
    return "".join(lines)


# A run that ends at the accuracy of guessing says so and exits with 1, which a rehearsal's few images bring about.
UNTRAINED = "at chance:"


def run_command(command, folder):
    instead = rehearsal(command.text)
    words, where = instead or (["bash", "-c", command.text], None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 600}
    done = subprocess.run(words, cwd=where or folder, env=environment(), **pipes)
    told = f"{command.block}: {command.text}\n{done.stdout}"
    trained_too_little = instead and done.returncode == 1 and UNTRAINED in done.stdout
    assert done.returncode == 0 or trained_too_little, f"exit code {done.returncode}: {told}"
    if command.output and not instead:
        assert re.fullmatch(pattern(command.output), done.stdout), f"the page shows other output: {told}"
