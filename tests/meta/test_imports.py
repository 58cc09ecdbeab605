"""What importing the package brings in, what may run in another Python, and that all that is public is explained."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import multiconv
from multiconv.registry import locate
from multiconv.workers.process import source_places

PACKAGE = Path(multiconv.__file__).parent
BACKENDS = Path(find_spec("multiconv.backends").origin).parent
FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "tensorflow", "keras", "mxnet"}

GUESTS = ("core", "algorithms", "guest")
"""The packages that run in another Python, such as MXNet's, which has a framework and NumPy and nothing else."""
SENT = sorted(p for package in GUESTS for p in (PACKAGE / package).glob("*.py"))
MAY_ALSO_IMPORT = {
    "core/dtypes.py": {"ml_dtypes"},  # where bfloat16 is asked for
    "core/bounds.py": {"ml_dtypes"},
    "guest/timed.py": {"threadpoolctl"},  # where it is there
}
FRAMEWORK_OF = {
    "numpy": set(),
    "torch": {"torch"},
    "jax": {"jax", "flax"},
    "tensorflow": {"tensorflow", "keras"},
    "mxnet": {"mxnet"},
}


def loaded(statement):
    """The modules that are loaded in a fresh Python after a statement."""
    script = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return set(json.loads(asked.stdout))


@pytest.mark.parametrize(
    "statement",
    [
        "import multiconv",
        "import multiconv; multiconv.backend('numpy')",
        "import multiconv; multiconv.backends()",
        "import multiconv; multiconv.ConvSpec().resolve((1, 1, 3), (1, 1, 2))",
        "import multiconv.oracle, multiconv.core.bounds, multiconv.oracle.problem",
    ],
)
def test_a_framework_is_imported_only_by_who_asks_for_it(statement):
    names = loaded(statement)
    assert "numpy" in names
    unwanted = FRAMEWORKS | {"hypothesis", "rich", "click", "jinja2", "pytest"}
    assert not {name.partition(".")[0] for name in names} & unwanted


def test_no_backend_is_imported_with_the_package():
    assert not [name for name in loaded("import multiconv") if name.startswith("multiconv.backends.")]


def imports(path):
    """The names of all modules that a file imports anywhere, but for type checkers."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


def strangers(path):
    return {name.partition(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"multiconv", "numpy"}


@pytest.mark.parametrize("path", SENT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_runs_in_another_python_imports_the_standard_library_numpy_and_its_framework_only(path):
    framework = FRAMEWORK_OF.get(path.stem.rpartition("_")[2], set())
    allowed = framework | MAY_ALSO_IMPORT.get(f"{path.parent.name}/{path.name}", set())
    assert strangers(path) <= allowed
    ours = {module for module in imports(path) if module.startswith("multiconv.")}
    assert {module.split(".")[1] for module in ours} <= {"core", path.parent.name}


GUEST = """
import importlib, json, sys

class Refused:
    "Finds nothing but the standard library, NumPy, multiconv and what else is named."
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"{name} is not to be imported here", name=name)

setup = json.loads(sys.argv[1])
sys.path[:0] = setup["serve"]
from serve import Source
allowed = {*sys.stdlib_module_names, "numpy", "multiconv"}
sys.meta_path[:0] = [Refused(), Source(setup["places"])]
for module in setup["modules"]:
    importlib.import_module(module)
del sys.meta_path[0]
importlib.import_module(setup["backend"])
"""


@pytest.mark.parametrize("name", FRAMEWORK_OF)
def test_it_can_be_imported_in_each_frameworks_python(name):
    """With nothing but the standard library and NumPy; then the backend itself, with its framework."""
    kinds = ("own_calls", "timed", "listening")
    own = {f"{kind}_{name}" for kind in kinds}
    of_others = {path.stem for path in SENT if path.stem.rpartition("_")[0] in kinds}
    modules = [f"multiconv.{p.parent.name}.{p.stem}" for p in SENT if p.stem not in {"__init__", *of_others, *own}]
    target = f"multiconv.backends.{name}"
    setup = {
        "serve": [str(PACKAGE / "guest")],
        "places": source_places(f"{target}:{name.capitalize()}Backend"),
        "modules": modules,
        "backend": target,
    }
    command = [str(locate(name).python), "-I", "-c", GUEST, json.dumps(setup)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr


def test_ml_dtypes_is_imported_only_for_bfloat16():
    assert "ml_dtypes" not in loaded("import multiconv, multiconv.core.wire, multiconv.backends.numpy")


def test_what_a_worker_loads_of_multiconv_is_what_may_be_sent():
    """In the order in which it meets them: the package, then each module that one of those imports at its top."""
    names = loaded("import multiconv, multiconv.core.wire, multiconv.backends.numpy")
    ours = {name.partition(".")[2] for name in names if name.partition(".")[0] == "multiconv"} - {""}
    assert {name.partition(".")[0] for name in ours} <= {*GUESTS, "backends", "registry"}
    assert {name for name in ours if name.startswith("backends")} == {"backends", "backends.numpy"}


@pytest.mark.parametrize("name", FRAMEWORK_OF)
def test_a_backend_knows_its_own_framework_only(name):
    path = BACKENDS / f"{name}.py"
    assert strangers(path) == FRAMEWORK_OF[name]
    ours = {module for module in imports(path) if module.startswith("multiconv")}
    assert {module.split(".")[1] for module in ours} <= ({"core", "algorithms"} if name == "numpy" else {"core"})


def test_every_backend_has_been_looked_at():
    assert {path.stem for path in BACKENDS.glob("*.py")} == {"__init__", *FRAMEWORK_OF}
    assert strangers(BACKENDS / "__init__.py") == set()


# ---- What is public is explained

SOURCES = sorted(
    {p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in ("data", "backends")}
    | {*BACKENDS.glob("*.py")}
)
CLASSES = {
    node.name: node for path in SOURCES for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
}


def explained(name, of):
    """Whether a class or one that it is derived from says what a method of this name does; a framework's class does."""
    for node in of.body:
        if isinstance(node, ast.FunctionDef) and node.name == name and ast.get_docstring(node):
            return True
    bases = [ast.unparse(base) for base in of.bases]
    return any(explained(name, CLASSES[base]) if base in CLASSES else base == "nn.Module" for base in bases)


def public(body):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_module_class_function_and_method_that_is_public_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body
    for node in public(tree.body):
        assert ast.get_docstring(node), node.name
        for method in public(node.body) if isinstance(node, ast.ClassDef) else ():
            assert explained(method.name, node), f"{node.name}.{method.name}"


def test_everything_that_is_exported_is_there_and_explained():
    for name in set(multiconv.__all__) - {"Array", "Host", "Operation"}:  # which are names of types
        assert getattr(multiconv, name).__doc__
    assert sorted(multiconv.__all__) == multiconv.__all__
