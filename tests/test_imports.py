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

PACKAGE = Path(multiconv.__file__).parent
BACKENDS = Path(find_spec("multiconv.backends").origin).parent
FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "tensorflow", "keras", "mxnet"}

# Sent to another Python, such as MXNet's, which has a framework and NumPy and nothing else.
SENT = [
    *(
        "__init__",
        "errors",
        "dtypes",
        "spec",
        "bounds",
        "direct",
        "fast",
        "algorithms",
        "backend",
        "wire",
        "memory",
        "serve",
    ),
    "registry",
]
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
        "import multiconv.oracle, multiconv.bounds, multiconv.problem",
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


@pytest.mark.parametrize("module", SENT)
def test_what_is_sent_to_another_python_imports_the_standard_library_and_numpy_only(module):
    assert strangers(PACKAGE / f"{module}.py") == ({"ml_dtypes"} if module in ("dtypes", "bounds") else set())


def test_ml_dtypes_is_imported_only_for_bfloat16():
    assert "ml_dtypes" not in loaded("import multiconv, multiconv.wire, multiconv.backends.numpy")


def test_what_a_worker_loads_of_multiconv_is_what_may_be_sent():
    """In the order in which it meets them: the package, then each module that one of those imports at its top."""
    names = loaded("import multiconv, multiconv.wire, multiconv.backends.numpy")
    ours = {name.removeprefix("multiconv").removeprefix(".") or "__init__" for name in names if "multiconv" in name}
    assert {name for name in ours if "editable" not in name} <= {*SENT, "backends", "backends.numpy"}


@pytest.mark.parametrize("name", FRAMEWORK_OF)
def test_a_backend_knows_its_own_framework_only(name):
    path = BACKENDS / f"{name}.py"
    assert strangers(path) == FRAMEWORK_OF[name]
    assert {module for module in imports(path) if module.startswith("multiconv")} <= {
        "multiconv.algorithms",
        "multiconv.backend",
        "multiconv.dtypes",
        "multiconv.errors",
        "multiconv.spec",
    }


def test_every_backend_has_been_looked_at():
    assert {path.stem for path in BACKENDS.glob("*.py")} == {"__init__", *FRAMEWORK_OF}
    assert strangers(BACKENDS / "__init__.py") == set()


# ---- What is public is explained

SOURCES = sorted({*PACKAGE.glob("*.py"), *BACKENDS.glob("*.py")})
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
    for name in multiconv.__all__:
        assert getattr(multiconv, name).__doc__
    assert sorted(multiconv.__all__) == multiconv.__all__
