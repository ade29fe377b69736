"""Types: the stub of the methods' keywords against the compiled table, and mypy on the package and on users' programs.

What mypy is asked to overlook in the package itself is in pyproject.toml; users' programs are checked strictly.
"""

import ast
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import dropkit.torch
from dropkit.torch import specs

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "dropkit"
CLASSES = {
    "dropblock": "DropBlock",
    "dropout": "Dropout",
    "spatial_dropout": "SpatialDropout",
    "drop_path": "DropPath",
    "cutout": "Cutout",
    "drop_connect": "DropConnect",
}
SIZES = {"block", "size"}  # parameters of their own


def stub():
    """The stub's classes as {name: {field: type}}, with what they inherit and aliases resolved."""
    tree = ast.parse((PACKAGE / "torch" / "options.pyi").read_text())
    aliases = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    classes = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            fields = {name: kind for base in node.bases for name, kind in classes.get(base.id, {}).items()}
            for field in node.body:
                if isinstance(field, ast.AnnAssign):
                    kind = field.annotation
                    fields[field.target.id] = aliases.get(getattr(kind, "id", None), kind)
            classes[node.name] = fields
    return classes


def words_of(kind):
    """The words of a type: of Literal[...], or float | Literal[...]."""
    return {node.value for node in ast.walk(kind) if isinstance(node, ast.Constant)}


def words_allowed(method, key):
    """The words that the library allows, by its own messages; without those that have no meaning for the method."""
    with pytest.raises(ValueError) as wrong:
        specs.line_of(method, **{key: "no-such-word"})
    allowed = re.search(r"allowed: (.*)", str(wrong.value))[1]
    words = set() if "number" in allowed and "noise" not in allowed else set(allowed.split(", ")) - {"a number"}
    return {word for word in words if "no meaning" not in refusal(method, key, word)}


def refusal(method, key, word):
    try:
        specs.line_of(method, **{key: word})
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("method", specs.METHODS)
def test_the_stub_is_the_table(method):
    classes = stub()
    row, own = specs.METHODS[method], classes[CLASSES[method]]
    assert set(own) == set(row.keys) - SIZES
    for key, kind in own.items():
        assert words_of(kind) == words_allowed(method, key), key
        default = specs.value_of(row.keys[key])
        names = {node.id for node in ast.walk(kind) if isinstance(node, ast.Name)}
        if isinstance(default, str):
            assert default in words_of(kind)
        elif isinstance(default, int) and key == "holes":
            assert names == {"int"}
        else:
            assert "float" in names, key


@pytest.mark.parametrize("method", specs.METHODS)
def test_the_stub_has_the_keywords_of_every_signature(method):
    classes, name = stub(), CLASSES[method]
    flags = set(inspect.signature(dropkit.torch.Drop).parameters) - {"spec", "p"}
    assert set(classes[f"{name}Keys"]) == set(classes[name]) | flags
    call = set(list(inspect.signature(dropkit.torch.drop).parameters)[3:])
    assert set(classes[f"{name}Call"]) == set(classes[name]) | call
    assert set(CLASSES) == set(specs.METHODS)


def test_every_public_function_is_annotated():
    public = [getattr(dropkit.torch, name) for name in dropkit.torch.__all__]
    for each in public:
        methods = [m for _, m in inspect.getmembers(each, inspect.isfunction)] if inspect.isclass(each) else [each]
        for function in methods:
            if not function.__module__.startswith("dropkit") or function.__name__.startswith("_"):
                continue
            code = inspect.unwrap(function).__code__  # a signature that `signed` gives has the table's keys
            stars = sum(bool(code.co_flags & flag) for flag in (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS))
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + stars]
            assert {*names, "return"} - {"self"} <= set(inspect.unwrap(function).__annotations__), function
    assert (PACKAGE / "py.typed").is_file()


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


GOOD = """
import torch

from dropkit.torch import DropBlock2d, Dropout, cutout, drop, drop_block2d, drop_path, from_spec, new_key

x = torch.ones(2, 3, 8, 8)
layer = DropBlock2d(0.1, (3, 5), rate="calibrated", share="channels", fill=2.0, recompute=True)
layer.p = 0.2
network = torch.nn.Sequential(layer, Dropout(0.5, mc=True), from_spec("dropout@0.3"))
total: float = drop_block2d(x, 0.1, 7, key=(1, 2), fill="noise", training=layer.training).sum().item()
y, keep = drop(x, "dropout", 0.5, key=new_key(), return_mask=True)
z = drop(x, "drop_path", generator=torch.Generator(), first_sample=8) + cutout(y, 1.0, 4, holes=2)
reveal_type(drop_path(z, 0.1, share="batch"))
reveal_type(keep)
"""

WRONG = {
    'DropBlock2d(0.1, 7, rates="paper")': "Unexpected keyword argument",
    'DropBlock2d(0.1, 7, rate="papr")': "Argument .rate. .* has incompatible type",
    'DropBlock2d("0.1")': "has incompatible type .str.",
    "DropBlock2d(0.1, 7.5)": "has incompatible type .float.",
    'SpatialDropout(0.1, share="channels")': "Argument .share. .* has incompatible type",
    "Dropout(0.1, inplace=3)": "Argument .inplace. .* has incompatible type",
    'dropout(x, 0.1, rate="paper")': "Unexpected keyword argument",
    "dropout(x, 0.1, key=3)": "Argument .key. .* has incompatible type",
    "dropout(x, 0.1, mc=True)": "Unexpected keyword argument",
    'drop(x, "dropout", trianing=True)': "No overload variant",
    'drop(x, "dropout").no_such_method': "no attribute",
}


def test_the_package_and_users_programs(tmp_path):
    good, wrong = tmp_path / "good.py", tmp_path / "wrong.py"
    good.write_text(GOOD)
    imports = "import torch\nfrom dropkit.torch import DropBlock2d, Dropout, SpatialDropout, drop, dropout\n"
    wrong.write_text(imports + "x = torch.ones(2, 3, 8, 8)\n" + "\n".join(WRONG) + "\n")
    lines = mypy(PACKAGE, good, wrong)
    of_good = [line for line in lines if "good.py" in line]
    assert ['note: Revealed type is "torch._tensor.Tensor"' in line for line in of_good] == [True, True], of_good
    for number, (code, message) in enumerate(WRONG.items(), start=4):
        found = [line for line in lines if re.search(rf"wrong\.py:{number}: error: .*{message}", line)]
        assert found, f"{code}: {lines}"
    assert not [line for line in lines if "error:" in line and "wrong.py" not in line]
