"""Checks the form of every file of the checkout: lint.py [--format].

Rules: C++ is formatted by clang-format 14 (--format rewrites it instead of complaining), Python parses, text is ASCII
without tabs, trailing blanks or unfinished work, source files stay under 600 lines, names say what is inside, and
nothing refers to a path of one machine. Python style is ruff's job, not this file's.
"""

import ast
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPP = {".h", ".c", ".cc", ".cu"}
SOURCE = CPP | {".py", ".sh", ".cmake"}
BINARY = {".png", ".npy", ".gz", ".bin"}
MAX_LINES = 599
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "detail", "misc"}
# Spelled in pieces, so that this file passes its own rules.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.$)}>*/-])/(home|root|work|tmp|mnt)/\w")


def list_files():
    """Files that git tracks or would add; without git, everything outside hidden and build folders."""
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
                            cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        names = sorted(set(filter(None, listed.stdout.split("\0"))))
        return [pathlib.Path(name) for name in names if (ROOT / name).is_file()]
    skipped = re.compile(r"^(\.git|\.venv|\.cache|build[^/]*|out)$")
    paths = (path.relative_to(ROOT) for path in sorted(ROOT.rglob("*")) if path.is_file())
    return [path for path in paths if not skipped.match(path.parts[0]) and "__pycache__" not in path.parts]


def check_line(line, is_makefile):
    if not line.isascii():
        yield "not ASCII"
    if line != line.rstrip():
        yield "trailing blank"
    if "\t" in line and not is_makefile:
        yield "tab"
    if UNFINISHED.search(line):
        yield "unfinished work"
    if MACHINE_PATH.search(line):
        yield "path of one machine"


def check_python(path, text):
    try:
        ast.parse(text)
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: {error.msg}"


def check_file(path):
    if EMPTY_NAMES & {part.split(".")[0] for part in path.parts}:
        yield f"{path}: a name that says nothing ({', '.join(sorted(EMPTY_NAMES))} are not allowed)"
    if path.suffix in BINARY:
        return
    try:
        text = (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield f"{path}: not text; binary files end with one of {', '.join(sorted(BINARY))}"
        return
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at the end"
    lines = text.split("\n")[:-1]
    if path.suffix in SOURCE and len(lines) > MAX_LINES:
        yield f"{path}: {len(lines)} lines; at most {MAX_LINES} are allowed"
    if path.name != "LICENSE":
        for number, line in enumerate(lines, 1):
            yield from (f"{path}:{number}: {problem}" for problem in check_line(line, path.name == "Makefile"))
    if path.suffix == ".py":
        yield from check_python(path, text)


def clang_format(paths, *options):
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    if program is None:
        sys.exit("lint: clang-format is not installed; ./setup.sh installs it")
    return subprocess.run([program, *options, *map(str, paths)], cwd=ROOT).returncode if paths else 0


def main(arguments):
    if arguments not in ([], ["--format"]):
        sys.exit(f"lint: unknown arguments {' '.join(arguments)!r}; allowed: --format")
    paths = list_files()
    cpp = [path for path in paths if path.suffix in CPP]
    if arguments:
        sys.exit(clang_format(cpp, "-i"))
    problems = [problem for path in paths for problem in check_file(path)]
    for problem in problems:
        print(f"lint: {problem}", file=sys.stderr)
    badly_formatted = clang_format(cpp, "--dry-run", "-Werror")
    if badly_formatted:
        print("lint: `make format` formats the C++ sources", file=sys.stderr)
    print(f"lint: {len(paths)} files, {len(problems)} problems, format {'BAD' if badly_formatted else 'ok'}")
    sys.exit(bool(problems) or badly_formatted)


if __name__ == "__main__":
    main(sys.argv[1:])
