"""The site of the documentation: it builds without a warning, holds the whole public API, and asks the network nothing.

Assumes Sphinx (requirements.txt) and doxygen, without which these tests are skipped by name, and the operators of
DROPKIT_TORCH_OPS or build/, which the Python package's pages are made with. The public API is found here by reading the
lines of headers and Python sources, apart from the way the site finds it.
"""

import ast
import html
import html.parser
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = sorted((ROOT / "include" / "dropkit").glob("*.h"))
PAGES = {"dropkit.h": "api.html", "nn.h": "api_nn.html", "dropkit_c.h": "api_c.html"}
BAR = re.compile(r"^// -{8,} (.+)$", re.M)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if shutil.which("doxygen") is None:
        pytest.skip("doxygen is not installed")
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("docs")
    words = [
        "-W",
        "--keep-going",
        "-n",
        "-q",
        "-E",
        "-b",
        "html",
        "-d",
        folder / "doctrees",
        ROOT / "docs",
        folder / "site",
    ]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    return folder / "site"


def test_without_the_operators_the_build_says_what_is_missing(tmp_path):
    pytest.importorskip("sphinx")
    words = ["-q", "-b", "html", "-d", tmp_path / "doctrees", ROOT / "docs", tmp_path / "site"]
    missing = {**os.environ, "DROPKIT_TORCH_OPS": str(tmp_path / "absent.so")}
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, env=missing)
    assert done.returncode != 0
    assert re.search(r"API is read from the package: .*no libdropkit_torch\.so at .*absent\.so", done.stderr)


def text_of(page):
    """A page's words, one blank between them, without its head and scripts."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text().partition("<body")[2], flags=re.S)
    return squeezed(html.unescape(re.sub(r"<[^>]+>", "", body)))


def squeezed(text):
    """The text without blanks, quotes, dashes and dots, which typography changes."""
    return re.sub(r"[\s\"'`*\u2018-\u201d\u2013\u2014\u2026.-]+", "", text)


def declarations(header):
    """(name, comment) of what a header declares at the top level or as DROPKIT_API, in its order."""
    found, comment, depth = [], [], 0
    for line in header.read_text().splitlines():
        said = re.match(r"\s*// ?(.*)", line)
        if said and not BAR.match(line):
            comment.append(said[1])
            continue
        if depth == 0:
            name = declared_name(line)
            if name:
                behind = re.search(r"// (?:NOLINT: )?(.*)", line)
                holder = f"Holds a shared {name}Impl" if line.startswith("TORCH_MODULE") else ""
                found.append((name, " ".join(comment) or (behind[1] if behind else holder)))
            if line.startswith(("class ", "struct ", "typedef struct", "enum {")):
                depth = 0 if line.rstrip().endswith(";") else 1
        elif re.match(r"\}.*;", line):
            depth = 0
        if not line.startswith("template"):
            comment = []
    return found


def declared_name(line):
    line = re.sub(r"\s*//.*", "", line)
    if line.startswith(("#", "}", "namespace", "extern", "template", " ")):
        return None
    patterns = [
        r"(?:typedef )?(?:class|struct|enum class|enum)(?: \[\[nodiscard\]\]| DROPKIT_API)* (\w+)\b(?!\s*;)",
        r"TORCH_MODULE\((\w+)\)",
        r"using (\w+) =",
        r"inline constexpr \w+ (\w+) =",
        r"[\w:<>&*, ]+?[ *&](operator<<|operator>>|\w+)\(",
    ]
    for pattern in patterns:
        match = re.match(pattern, line)
        if match:
            return match[1]
    return None


def test_the_headers_are_read_as_they_are():
    names = {header.name: [name for name, _ in declarations(header)] for header in HEADERS}
    assert {"Status", "Spec", "ParseSpec", "View", "Sample", "Apply", "Drop", "Key", "kDrawVersion"} <= set(
        names["dropkit.h"]
    )
    assert {"drop", "new_key", "Layer", "DropBlock2d", "LinearSchedule", "operator<<"} <= set(names["nn.h"])
    exported = re.findall(r"^DROPKIT_API .*", (ROOT / "include/dropkit/dropkit.h").read_text(), re.M)
    assert len(exported) > 20
    for line in exported:
        assert declared_name(line) in names["dropkit.h"], line


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_every_declaration_is_there_with_its_comment(site, header):
    page = site / PAGES[header.name]
    signatures = re.findall(r'<dt class="sig[^"]*" id="[^"]+">(.*?)</dt>', page.read_text(), re.S)
    shown = {html.unescape(re.sub(r"<[^>]+>", "", signature)) for signature in signatures}
    text = text_of(page)
    for name, comment in declarations(header):
        word = rf"(?<!\w){re.escape(name)}(?!\w)"
        assert any(re.search(word, signature) for signature in shown), f"{name} is missing"
        assert comment, f"{name} has no comment"
        assert squeezed(comment) in text, f"{name}: its comment is missing or cut: {comment}"


# ---------------------------------------------------------------- Python

PACKAGE = ROOT / "python" / "dropkit" / "torch"


def exported(file):
    """The names in `__all__` of a Python source."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def definitions():
    """Every class and function of the package's sources, by (import path, name)."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(file.relative_to(PACKAGE.parent.parent).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found[module, node.name] = node
    return found


def public_names():
    """(import path on the page, definition)."""
    here = definitions()
    own = {name: node for (module, name), node in here.items() if ".compat." not in module}
    for name in exported(PACKAGE / "__init__.py"):
        yield f"dropkit.torch.{name}", own[name]
    for file in sorted((PACKAGE / "compat").glob("*.py")):
        for name in exported(file):
            path = f"dropkit.torch.compat.{file.stem}"
            yield f"{path}.{name}", here[path, name]


PYTHON_NAMES = list(public_names())


def test_the_package_is_read_as_it_is():
    names = [name for name, _ in PYTHON_NAMES]
    assert len(names) > 15 and len(names) == len(set(names))
    assert {"dropkit.torch.DropBlock2d", "dropkit.torch.drop_block2d", "dropkit.torch.new_key"} <= set(names)


def test_the_manual_names_what_is_exported_and_nothing_else():
    manual = (ROOT / "docs" / "pytorch.md").read_text()
    names = set(exported(PACKAGE / "__init__.py"))
    assert names <= set(re.findall(r"`(\w+)`", manual)), names - set(re.findall(r"`(\w+)`", manual))
    tables = re.search(r"^## What there is\n(.*?)^\[Methods", manual, re.M | re.S)[1]
    first = [cell for line in tables.splitlines() if line.startswith("|") for cell in line.split("|")[1:3]]
    told = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    assert len(told) > 20 and told <= names, told - names


def test_every_name_of_the_package_is_there_with_its_docstring(site):
    page = site / "api_pytorch.html"
    shown = set(re.findall(r'<dt class="sig[^"]*" id="([^"]+)">', page.read_text()))
    text = text_of(page)
    for name, node in PYTHON_NAMES:
        assert name in shown, f"{name} is missing"
        said = ast.get_docstring(node)
        assert said, f"{name} has no docstring"
        first = said.split("\n\n")[0]
        assert squeezed(first) in text, f"{name}: its docstring is missing or cut: {first}"


def test_signatures_show_the_keys_of_the_table(site):
    text = text_of(site / "api_pytorch.html")
    for name, keys in (("drop_block2d", "training:bool=True"), ("DropBlock2d", "recompute:bool=False")):
        shown = rf"dropkittorch{name}\(.{{,80}}block_size[^)]*rate=paper,[^)]*clip=axis,[^)]*{keys}"
        assert re.search(shown, text), f"{name}: the signature does not show its keys"


def test_members_are_there_with_their_comments(site):
    text = text_of(site / "api.html")
    source = (ROOT / "include/dropkit/dropkit.h").read_text()
    behind = re.findall(r"^  \S.*; +// (?:NOLINT: )?(.+)$", source, re.M)
    assert len(behind) > 20
    for comment in behind:
        assert squeezed(comment) in text, f"missing: {comment}"
    for member in ("sample_stride", "scratch_bytes", "gamma_scale", "expected_drop", "num_words"):
        assert squeezed(member) in text


def test_contracts_and_sections_are_there(site):
    opening = re.match(r"(?://.*\n)+", (ROOT / "include/dropkit/dropkit.h").read_text())[0]
    contracts = re.findall(r"^//  (\d)\. ((?:.*\n)(?://     .*\n)*)", opening, re.M)
    assert [number for number, _ in contracts] == list("1234567")
    page = site / "api.html"
    items = re.search(r"<ol class=\"arabic simple\">(.*?)</ol>", page.read_text(), re.S)[1].count("<li>")
    assert items == 7
    for _, contract in contracts:
        assert squeezed(contract.replace("//", "")) in text_of(page)
    for header in HEADERS:
        titles = re.findall(r"<h2>([^<]*)", (site / PAGES[header.name]).read_text())
        assert [html.unescape(title) for title in titles] == BAR.findall(header.read_text())


def test_every_enum_of_the_c_api_has_a_name(site):
    text = (site / PAGES["dropkit_c.h"]).read_text()
    assert "anonymous" not in text
    shown = re.sub(r"<[^>]+>", "", text)
    for subject in ("result", "dtype", "layout", "pass", "form"):
        assert re.search(rf"enum\s+{subject}\b", shown), subject


class Assets(html.parser.HTMLParser):
    """What a browser would fetch to show the page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.found += [values[name] for name in ("src", "srcset", "data", "poster") if values.get(name)]
        if tag == "link" and values.get("rel") not in ("next", "prev", "index", "search", "author", "canonical"):
            self.found.append(values.get("href") or "")
        assert not (tag == "meta" and values.get("http-equiv") == "refresh" and "http" in values.get("content", ""))


def test_nothing_is_asked_of_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 8
    for page in pages:
        assets = Assets()
        assets.feed(page.read_text())
        for asset in assets.found:
            assert not re.match(r"\w+:|//", asset) or asset.startswith("data:"), f"{page.name}: {asset}"
            local = re.split("[?#]", asset)[0]
            assert asset.startswith("data:") or (page.parent / local).exists(), f"{page.name}: {asset} is missing"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text()), style


def test_every_page_is_in_one_list_of_contents():
    listed = []
    for page in (ROOT / "docs").glob("*.md"):
        for entries in re.findall(r"^```\{toctree\}\n((?:.*\n)*?)```", page.read_text(), re.M):
            assert ":glob:" not in entries  # their order is the reader's, not the alphabet's
            listed += [line for line in entries.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == sorted(page.stem for page in (ROOT / "docs").glob("*.md") if page.stem != "index")


def test_the_start_page_calls_pages_by_their_titles():
    links = re.findall(r"\[([^\]]+)\]\((\w+)\.md\)", (ROOT / "docs" / "index.md").read_text())
    assert len(links) > 12
    for words, page in links:
        title = re.match("# (.*)", (ROOT / "docs" / f"{page}.md").read_text())[1]
        assert "api" in page or words.lower() in title.lower(), (words, title)


def test_every_page_can_be_reached(site):
    contents = (site / "index.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        if (site / f"{page.stem}.html").exists() and page.stem != "index":
            assert f'href="{page.stem}.html"' in contents, f"docs/index.md does not lead to {page.name}"
