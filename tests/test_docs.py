"""The documentation is true: code blocks compile and run, links lead somewhere, tables agree with the program.

What needs LibTorch is in test_docs_torch.py, the site in test_site.py. Assumes what fenced.py assumes.
"""

import functools
import json
import re
import subprocess
import urllib.parse

import fenced
import pytest
from fenced import ROOT

PAGES = fenced.pages()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


# ---------------------------------------------------------------- blocks


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_fenced_and_tagged(page):
    for block in fenced.blocks_of(page):
        assert block.tag is not None, f"{block}: an indented block; fence and tag it"
        known = block.tag in fenced.TAGS or re.fullmatch(r"\{\w+\}", block.tag)
        assert known, f"{block}: tag {block.tag!r}; allowed: {', '.join(sorted(fenced.TAGS))}"
        if block.tag == "text":
            hidden = re.search(r"^\$ |^#include|^import |^cmake_minimum", block.text, re.M)
            assert not hidden, f"{block}: code under the tag text is not tried: {hidden[0]!r}"


def test_the_pages_have_blocks_of_each_kind():
    tags = {block.tag for page in PAGES for block in fenced.blocks_of(page)}
    assert {"cpp", "console", "cmake", "python", "text"} <= tags


@pytest.mark.parametrize("block", [b for b in fenced.all_blocks("cpp", "c") if not b.needs_torch()], ids=str)
def test_programs(block, base):
    folder = fenced.page_folder(base, block.page)
    fenced.run([fenced.compile_program(block, folder)], block, cwd=folder, env=fenced.environment())


@pytest.mark.parametrize("block", [b for b in fenced.all_blocks("cmake") if not b.needs_torch()], ids=str)
def test_projects(block, base):
    fenced.configure_project(block, fenced.page_folder(base, block.page) / f"project_{block.line}")


@pytest.mark.parametrize("page", sorted({block.page for block in fenced.all_blocks("console", "python")}))
def test_commands(page, base):
    folder = fenced.page_folder(base, page)
    for block in fenced.blocks_of(page):
        if block.tag == "python" and not block.needs_torch():
            fenced.run_python(block, folder=folder)
        for command in fenced.commands_of(block) if block.tag == "console" else []:
            if not command.needs_torch():
                fenced.run_command(command, folder)


def test_output_is_compared_exactly_but_for_dots():
    shown = fenced.pattern("first 1.5\n...\nlast ...\n")
    assert re.fullmatch(shown, "first 1.5\nlast one\n") and re.fullmatch(shown, "first 1.5\na\nb\nlast one\n")
    for other in ("first 1x5\nlast one\n", "first 1.5\n", "first 1.5\nlast one\nmore\n", "first 1.5 \nlast one\n"):
        assert not re.fullmatch(shown, other)


# ---------------------------------------------------------------- links


def links_of(page):
    """Targets of the page's links and pictures."""
    stack = fenced.PARSER.parse((ROOT / page).read_text())
    while stack:
        token = stack.pop()
        stack += token.children or []
        if token.type in ("link_open", "image"):
            yield token.attrs.get("href") or token.attrs.get("src")


@functools.cache
def anchors_of(path):
    """The anchors that a page's headings get on GitHub."""
    tokens = fenced.PARSER.parse(path.read_text())
    titles = [after.content for token, after in zip(tokens, tokens[1:]) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    for link in links_of(page):
        parts = urllib.parse.urlsplit(link)
        if parts.scheme or parts.netloc:
            well_formed = parts.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)
            assert well_formed and not re.search(r"\s", link), f"{page}: {link!r} is not an https address"
            continue
        target = (ROOT / page).parent / urllib.parse.unquote(parts.path) if parts.path else ROOT / page
        assert target.exists(), f"{page}: {link!r} leads to no file"
        assert target.resolve().is_relative_to(ROOT.resolve()), f"{page}: {link!r} leaves the repository"
        # The API pages get their headings from the headers; the site's own build checks links to those.
        if parts.fragment and target.suffix == ".md" and "<!-- API of" not in target.read_text():
            assert parts.fragment in anchors_of(target), f"{page}: {link!r}: no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.M | re.S)
    for name in re.findall(r"`((?:src|tests|cli|bindings|python|examples|docs|include|cmake)/[\w./-]*)`", prose):
        assert (ROOT / name).exists(), f"{page}: there is no {name}"


# ---------------------------------------------------------------- tables


def dropkit(*arguments):
    done = subprocess.run([fenced.PROGRAM, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def field(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return line[16:].strip()


def table(page, first):
    """Rows of the table whose first heading is `first`, as lists of cells."""
    rows = [
        re.split(r"\s*\|\s*", line)[1:-1] for line in (ROOT / page).read_text().splitlines() if line.startswith("|")
    ]
    start = next(number for number, row in enumerate(rows) if row[0] == first) + 2
    width = len(rows[start])
    following = rows[start:]
    ends = [number for number, row in enumerate(following) if set(row[0]) == {"-"}]
    return [row for row in following[: ends[0] - 1 if ends else None] if len(row) == width]


def words(cell):
    return re.findall(r"`([^`]+)`", cell)


def section(page, title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", (ROOT / page).read_text(), re.M | re.S)[1]


@functools.cache
def listed():
    return json.loads(dropkit("methods", "--json"))


def test_the_table_of_methods_is_the_programs():
    rows = table("docs/methods.md", "method")
    assert [words(row[0])[0] for row in rows] == [method["name"] for method in listed()["methods"]]
    for row, method in zip(rows, listed()["methods"]):
        assert row[1:3] == [method["unit"], method["spread"]]
        assert float(row[3]) == pytest.approx(method["default_p"])
        assert ", ".join(words(row[4])) == method["keys"]


@pytest.mark.parametrize("method", listed()["methods"] if fenced.PROGRAM.exists() else [], ids=lambda m: m["name"])
def test_every_method_has_its_section(method):
    text = section("docs/methods.md", method["name"])
    plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("\n", " ")
    assert method["paper"] in plain
    defaults = re.search(r"^Defaults: ([^#]+?)\n\n", text + "\n\n", re.M)[1]
    assert f"{method['name']}:{','.join(words(defaults))},draw={listed()['draw']}" == method["full_line"]


def test_the_table_of_presets_is_the_programs():
    rows = table("docs/methods.md", "preset")
    assert [words(row[0])[0] for row in rows] == [preset["name"] for preset in listed()["presets"]]
    for row, preset in zip(rows, listed()["presets"]):
        drawn = dropkit("mask", f"{words(row[1])[0]}@0.1", "--shape", "1,1,9,9", "--seed", "0")
        assert field(drawn, "spec") == preset["full_line"]
        assert float(row[2]) == pytest.approx(preset["default_p"]) and row[3] == preset["source"]


def test_the_table_of_dropped_fractions_is_exact():
    keys = {3: "", 4: ",region=whole", 5: ",region=whole,rate=plain", 6: ",rate=calibrated"}
    rows = table("docs/methods.md", "n")
    assert len(rows) == 10
    for row in rows:
        for column, more in keys.items():
            case = f"dropblock:block={row[1]}{more}@{row[2]}"
            drawn = dropkit("mask", case, "--shape", f"1,1,{row[0]},{row[0]}", "--seed", "0")
            assert f"{float(field(drawn, 'expected drop')):.4f}"[1:] == row[column], case


def test_every_preset_has_a_row_and_a_way_from_its_peer():
    cases = [words(row[2])[0] for row in table("docs/moving.md", "from")]
    assert {re.split("[:@]", case)[0] for case in cases} == {preset["name"] for preset in listed()["presets"]}
    program = next(block.text for block in fenced.blocks_of("docs/moving.md") if block.tag == "cpp")
    for case in cases:
        assert f'"{case}"' in program
        dropkit("mask", case, "--shape", "1,2,28,28", "--seed", "0")


def test_what_timm_drops_is_exact():
    cases = [("timm:block=7@0.1", 28), ("timm:block=7@0.1", 14), ("timm:block=7@0.25", 7)]
    drawn = [dropkit("mask", case, "--shape", f"1,1,{side},{side}", "--seed", "0") for case, side in cases]
    told = [f"{float(field(text, 'expected drop')):.4f}"[1:] for text in drawn]
    assert [word for word in words(section("docs/moving.md", "timm")) if word[0] == "."] == told


def test_readme_lists_the_methods():
    rows = table("README.md", "method")
    assert [words(row[0])[0] for row in rows] == [method["name"] for method in listed()["methods"]]
    assert [float(row[2]) for row in rows] == pytest.approx([method["default_p"] for method in listed()["methods"]])
