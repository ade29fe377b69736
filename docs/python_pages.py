"""Makes the API page of the Python package: what it exports, module by module, as autodoc's directives.

The package is imported, so the operators' library has to be built. Every exported name is on the page: one from a
module that has no title here is an error. What a declaration looks like is autodoc's business.
"""

import importlib
import inspect
import pathlib
import pkgutil
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

TITLES = {
    "functional": "Functions",
    "modules": "Modules",
    "connect": "DropConnect",
    "residual": "Residual branches",
    "schedule": "Schedule",
    "placement": "Place",
    "conversion": "Convert",
    "parallel": "Data parallel",
    "paths": "Keys",
    "library": "The build",
}


def load():
    """The package of this checkout. Raises ImportError, which says where the library was looked for."""
    sys.path.insert(0, str(ROOT / "python"))
    package = importlib.import_module("dropkit.torch")
    assert pathlib.Path(package.__file__).is_relative_to(ROOT), package.__file__
    return package


def directive(module, name):
    """What documents a name, without what it inherits."""
    kind = "class" if inspect.isclass(getattr(module, name)) else "function"
    options = "\n   :members:" if kind == "class" else ""
    return f".. auto{kind}:: {module.__name__}.{name}{options}\n"


def line_in_source(value):
    return inspect.getsourcelines(value)[1]


def section(title, text, module, names):
    names = sorted(names, key=lambda name: line_in_source(getattr(module, name)))
    body = "\n".join(directive(module, name) for name in names)
    return f"## {title}\n\n```{{eval-rst}}\n{text}{body}```\n"


def sections(package):
    """The package's own exports, by the module that defines them."""
    homes = {}
    for name in package.__all__:
        homes.setdefault(getattr(package, name).__module__.removeprefix(package.__name__ + "."), []).append(name)
    if set(homes) - set(TITLES):
        raise ValueError(f"docs/python_pages.py has no title for {', '.join(sorted(set(homes) - set(TITLES)))}")
    for module, title in TITLES.items():
        if module in homes:
            yield section(title, "", package, homes[module])


def compat_sections(package):
    """Each module of names of another implementation, with the module's own words above."""
    if not (pathlib.Path(package.__file__).parent / "compat").is_dir():
        return
    compat = importlib.import_module(package.__name__ + ".compat")
    for found in pkgutil.iter_modules(compat.__path__):
        module = importlib.import_module(f"{compat.__name__}.{found.name}")
        if hasattr(module, "__all__"):
            said = inspect.cleandoc(module.__doc__).splitlines()
            process(None, "module", module.__name__, module, None, said)
            yield section(f"compat.{found.name}", "\n".join(said) + "\n", module, module.__all__)


# ---------------------------------------------------------------- docstrings

SECTION = re.compile(r"(Args|Attributes|Raises|Returns):$")
ITEM = re.compile(r"    [\w*]+(, [\w*]+)*: ")


def process(app, what, name, owner, options, lines):
    """Makes of our docstrings what napoleon reads (autodoc's event; changes `lines`).

    Three things are ours: indented code below a paragraph, sentences that close a list of arguments, and returned
    values that are described in words, whose first colon would end a type.
    """
    lines[:] = [line for part in paragraphs(lines) for line in [*rewritten(part), ""]]


def paragraphs(lines):
    part = []
    for line in [*lines, ""]:
        if line:
            part.append(line)
        elif part:
            yield part
            part = []


def rewritten(part):
    section = SECTION.match(part[0])
    if part[0].startswith("    "):
        return [".. code-block:: python", "", *part]
    if section and section[1] == "Returns":
        return [":returns: " + part[1].strip(), *part[2:]]
    if not section or section[1] == "Raises":
        return part
    starts = [number for number, line in enumerate(part) if re.match(r" {4}\S", line)]
    closing = next((number for number in starts if not ITEM.match(part[number])), len(part))
    return [*part[:closing], "", *(line.strip() for line in part[closing:])]


def markdown():
    package = load()
    return "\n".join([*sections(package), *compat_sections(package)])
