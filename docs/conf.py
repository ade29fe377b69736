"""Sphinx's settings. `make docs` builds the site: Markdown by MyST, the API by Breathe, Python's by autodoc.

Doxygen runs from here, so that sphinx-build is the one command. A page's line `<!-- API of FILE -->` becomes the
documentation of that header, section by section; `<!-- API of dropkit.torch -->` that of the Python package, which is
imported, so the operators have to be built. The site asks the network for nothing: no fonts, no scripts.
"""

import pathlib
import re
import subprocess
import sys

import sphinx.errors

DOCS = pathlib.Path(__file__).resolve().parent
ROOT = DOCS.parent
HEADERS = ROOT / "include" / "dropkit"
sys.path.insert(0, str(DOCS))
import api_pages  # noqa: E402
import python_pages  # noqa: E402

project = "dropkit"
author = "the dropkit developers"
copyright = "the dropkit developers, Apache-2.0"
release = re.search(r"project\(dropkit VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
version = release

extensions = ["myst_parser", "breathe", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "code"  # of docstrings
myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"dropkit {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
highlight_language = "text"

# Types that other projects document.
nitpick_ignore_regex = [
    ("cpp:identifier", r"std(::.*)?|torch(::.*)?|u?int\d+_t|size_t|Derived"),
    ("cpp:identifier", r"dropkit(::nn(::functional)?)?|DROPKIT_\w+"),  # namespaces have no page, macros no C++ name
    ("py:class", r"torch\..*|(.*\.)?(Tensor|Size|Key|Pair|Branch|Call)|collections\..*"),
]
suppress_warnings = ["ref.python"]  # compat's modules share names with the package and with each other
autodoc_inherit_docstrings = False  # torch's would come with its links
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100

breathe_default_project = "dropkit"
breathe_default_members = ("members", "undoc-members")
breathe_show_include = False
breathe_show_enumvalue_initializer = True


def doxygen_settings(output):
    return f"""
        INPUT = {HEADERS}
        FILE_PATTERNS = *.h
        INPUT_FILTER = "{sys.executable} {DOCS / "header.py"}"
        OUTPUT_DIRECTORY = {output}
        GENERATE_XML = YES
        GENERATE_HTML = NO
        GENERATE_LATEX = NO
        XML_PROGRAMLISTING = NO
        EXTRACT_ALL = YES
        AUTOLINK_SUPPORT = NO
        SORT_MEMBER_DOCS = NO
        ENABLE_PREPROCESSING = YES
        STRIP_FROM_PATH = {ROOT / "include"}
        QUIET = YES
        WARN_AS_ERROR = FAIL_ON_WARNINGS
    """


def run_doxygen(app, config):
    output = pathlib.Path(app.doctreedir).parent / "doxygen"
    output.mkdir(parents=True, exist_ok=True)
    subprocess.run(["doxygen", "-"], input=doxygen_settings(output), text=True, check=True)
    for file in (output / "xml").glob("*.xml"):
        # Lists of derived classes are long and say nothing: every module derives from Layer.
        file.write_text(re.sub(r"\s*<derivedcompoundref.*?</derivedcompoundref>", "", file.read_text()))
    config.breathe_projects = {"dropkit": str(output / "xml")}


def python_api():
    try:
        return python_pages.markdown()
    except ImportError as error:
        raise sphinx.errors.ConfigError(f"the Python package's API is read from the package: {error}") from error


def api_of(app, name):
    if name == "dropkit.torch":
        return python_api()
    return api_pages.markdown(pathlib.Path(app.config.breathe_projects["dropkit"]), HEADERS / name)


def expand_api(app, page, source):
    source[0] = re.sub(r"^<!-- API of (\S+) -->$", lambda match: api_of(app, match[1]), source[0], flags=re.M)


def setup(app):
    app.connect("config-inited", run_doxygen)
    app.connect("source-read", expand_api)
    app.connect("autodoc-process-docstring", python_pages.process, priority=400)  # before napoleon
