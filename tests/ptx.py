"""Reads the PTX that nvcc writes: the kernels of a file, and what a kernel does between the marks of its main loop.

The marks are comments (DROPKIT_MAIN_LOOP_BEGIN and _END of src/cuda/grid.h). nvcc may lay blocks of code out in any
order, so the loop is what can be reached from a begin without passing an end, and not what stands between them.
"""

import re

BEGIN, END = "dropkit main loop begin", "dropkit main loop end"
# Spaces that are no memory of the device, or cannot be written. A local array would be: it is memory of a thread.
ELSEWHERE = ("param", "shared", "const")
ACCESS = re.compile(r"(?:@!?%\w+\s+)?(ld|ldu|st|atom|red|prefetch|cp)((?:\.\w+(?:::\w+)*)*)\b")
BRANCH = re.compile(r"(@!?%\w+\s+)?bra(?:\.\w+)*\s+([$\w]+)")
TABLE = re.compile(r"(@!?%\w+\s+)?brx\.idx(?:\.\w+)*\s+[^,]+,\s*([$\w]+)")
LEAVE = re.compile(r"(@!?%\w+\s+)?(ret|exit|trap)\b")


class Broken(Exception):
    """A kernel whose main loop cannot be told, or is not as it must be."""


def kernels(text):
    """Name of each entry of a PTX file -> its statements."""
    found = {}
    for match in re.finditer(r"\.entry\s+([$\w]+)\s*\(", text):
        start = text.index("\n{", match.end())
        found[match.group(1)] = statements(text[start + 2 : text.index("\n}", start)])
    return found


def statements(body):
    """One string each: labels with their colon, instructions without their semicolon, and the marks."""
    found, open_statement = [], ""
    for line in body.splitlines():
        code, _, comment = line.partition("//")
        if comment.strip() in (BEGIN, END):
            found.append(comment.strip())
        for part in re.findall(r"\s*[$\w]+:(?!:)|[^;]*;|[^;]+", code):
            # Braces stand around operands, and around statements, where they say nothing.
            part = part.strip() if open_statement else part.lstrip(" \t{}").rstrip()
            if not open_statement and re.fullmatch(r"[$\w]+:", part):
                found.append(part)
                continue
            open_statement = f"{open_statement} {part}".strip()
            if part.endswith(";"):
                found.append(open_statement[:-1].strip())
                open_statement = ""
    return [statement for statement in found if not statement.startswith((".reg", ".loc", ".pragma", ".shared"))]


def main_loop(code):
    """The statements that run between a begin and an end, in the order of the file."""
    labels = {statement[:-1]: index for index, statement in enumerate(code) if statement.endswith(":")}
    begins = [index for index, statement in enumerate(code) if statement == BEGIN]
    if not begins or END not in code:
        raise Broken(f"no mark '{END if begins else BEGIN}'")
    reached, waiting = set(), [index + 1 for index in begins]
    while waiting:
        index = waiting.pop()
        if index in reached:
            continue
        if index >= len(code) or (LEAVE.match(code[index]) and not code[index].startswith("@")):
            raise Broken(f"a way out of the main loop that passes no '{END}'")
        if code[index] == END:
            continue
        reached.add(index)
        waiting += follow(code, labels, index)
    return [code[index] for index in sorted(reached)]


def follow(code, labels, index):
    """Where the kernel can be after a statement."""
    if branch := BRANCH.match(code[index]):
        targets, condition = [labels[branch.group(2)]], branch.group(1)
    elif branch := TABLE.match(code[index]):
        names = code[labels[branch.group(2)] + 1].removeprefix(".branchtargets")
        targets, condition = [labels[name.strip()] for name in names.split(",")], branch.group(1)
    else:
        return [index + 1]
    return targets + ([index + 1] if condition else [])


def width(suffixes):
    """Bits that a load or store with these suffixes moves at once."""
    vector = [int(suffix[1:]) for suffix in suffixes if re.fullmatch(r"v[248]", suffix)]
    element = [int(suffix[1:]) for suffix in suffixes if re.fullmatch(r"[busf](8|16|32|64|128)", suffix)]
    if len(element) != 1:
        raise Broken(f"an access of unknown width: {'.'.join(suffixes)}")
    return element[0] * (vector[0] if vector else 1)


def check_main_loop(code):
    """The number of loads and of stores in the main loop.

    Raises Broken unless every access to the device's memory there is one of 128 bits, and every vector that is stored
    was loaded."""
    count = {"ld": 0, "st": 0}
    for statement in main_loop(code):
        if re.match(r"(?:@!?%\w+\s+)?call\b", statement):
            raise Broken(f"a call in the main loop: {statement}")
        access = ACCESS.match(statement)
        if not access:
            continue
        verb, suffixes = access.group(1), access.group(2).split(".")[1:]
        if any(suffix.split("::")[0] in ELSEWHERE for suffix in suffixes):
            continue
        if verb not in count or "local" in suffixes or width(suffixes) != 128:
            raise Broken(f"in the main loop: {statement}")
        count[verb] += 1
    if not count["ld"] >= count["st"] >= 1:
        raise Broken(f"{count['ld']} loads and {count['st']} stores in the main loop")
    return count["ld"], count["st"]
