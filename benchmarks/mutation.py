"""Mutation testing: make small changes to a module, one at a time, and list those that no test notices.

The changes are those of Cosmic Ray's operators (https://cosmic-ray.readthedocs.io), and two more: leave out an element
of a tuple, a list or a call, and leave out a statement. Cosmic Ray itself starts a Python process for each change. Here
each change runs in a fork of a process that has imported everything but multiconv, which is several times as fast. Only
fast tests are run, which need no framework but NumPy. The fastest tests run first, and the first failure ends the run.
No file of the tree is changed: a fork compiles the changed module from memory.

    python benchmarks/mutation.py core.spec           # these modules (default: all); continues where it stopped
    python benchmarks/mutation.py --every 4 core.spec # a sample: the first, fifth, ninth ... change
    python benchmarks/mutation.py --again core.spec   # only the changes that survived the last run
    python benchmarks/mutation.py --page              # only write docs/mutation.md from the last results

benchmarks/mutation_survivors.toml explains why changes survive. docs/mutation.md lists the survivors, and says which
are not explained.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomllib
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "mutation.json"
PAGE = ROOT / "docs" / "mutation.md"
SURVIVORS = Path(__file__).with_name("mutation_survivors.toml")

TESTS: dict[str, tuple[str, ...]] = {
    "core.spec": ("core/test_spec.py", "interface/test_memory_of_calls.py"),
    "core.geometry": ("core/test_spec.py", "interface/test_memory_of_calls.py"),
    "core.option_values": ("core/test_spec.py",),
    "core.backend": ("interface/test_memory_of_calls.py", "interface/test_composition.py"),
    "core.framework": ("interface/test_memory_of_calls.py", "interface/test_composition.py"),
    "core.bounds": ("core/test_bounds.py",),
    "oracle.definition": ("oracle/test_oracle.py", "oracle/test_exact.py"),
    "oracle.judgement": (
        "oracle/test_judgement.py",
        "oracle/test_fast_bounds.py",
        "oracle/test_nonfinite.py",
        "oracle/test_lost_precision.py",
    ),
    "oracle.expectations": (
        "oracle/test_expectations.py",
        "oracle/test_judgement.py",
        "oracle/test_fast_bounds.py",
        "oracle/test_nonfinite.py",
        "oracle/test_lost_precision.py",
    ),
    "oracle.problem": (
        "oracle/test_problem.py",
        "oracle/test_judgement.py",
        "meta/test_asked_again.py",
        "oracle/test_fast_bounds.py",
        "oracle/test_nonfinite.py",
        "oracle/test_lost_precision.py",
    ),
    "check.cases": ("check/test_cases.py",),
    "check.run": ("check/test_check_counts.py", "check/test_check.py", "check/test_variants.py"),
    "testing.drawing": ("testing/test_drawing_order.py", "testing/test_coverage.py"),
    "testing.problem_values": ("testing/test_problem_values.py",),
    "testing.situations": ("testing/test_drawing.py", "testing/test_coverage.py", "testing/test_testing.py"),
    "testing.strategies": ("testing/test_strategies.py",),
    "testing.shrinking": ("testing/test_shrinking.py",),
}
"""The tests of each module."""

REPLACED = {
    *("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul"),
    *("RShift_LShift", "LShift_RShift", "BitAnd_BitOr", "BitOr_BitAnd"),
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
    *("USub_UAdd", "Delete_Not", "Delete_Invert"),
}
"""The operator replacements to make, of Cosmic Ray's 190: the others are hardly ever harder to find."""
CPU_SECONDS = 60
SECONDS = 600
SLOWEST_SECONDS = 10
"""Slower tests are left out."""
BYTES = 6 * 2**30


# ---- The changes


class LeaveOutElement(Operator):
    """Leave out one element of a tuple, a list, a set, a dictionary or the arguments of a call."""

    PARENTS = (
        "testlist_comp",
        "testlist_star_expr",
        "testlist",
        "arglist",
        "exprlist",
        "dictorsetmaker",
        "subscriptlist",
    )

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the positions of elements that a comma follows or precedes."""
        if getattr(node, "type", None) in self.PARENTS and any(child == "," for child in node.children):
            for element in self._elements(node):
                yield element[0].start_pos, element[-1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Leave out the element and the comma after it; a tuple stays a tuple."""
        element = self._elements(node)[index]
        children = node.children
        first, last = children.index(element[0]), children.index(element[-1])
        if last + 1 < len(children):
            comma = children[last + 1]
            del children[first : last + 2]
            if "," not in [getattr(child, "value", "") for child in children]:
                comma.prefix = ""
                children.append(comma)
        else:
            del children[first:]
        return node

    @staticmethod
    def _elements(node: Any) -> list[list[Any]]:
        """Return the elements as lists of nodes: one node each, or several in a dictionary."""
        elements: list[list[Any]] = [[]]
        for child in node.children:
            if child == ",":
                elements.append([])
            else:
                elements[-1].append(child)
        return [element for element in elements if element]

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        """Return no examples, by which Cosmic Ray would test its own operators."""
        return ()


class LeaveOutStatement(Operator):
    """Leave out a call that is a statement, a raise, or an augmented assignment."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the positions of such statements."""
        if getattr(node, "type", None) == "simple_stmt" and self._is_one(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Replace the statement by ``pass``."""
        first = node.children[0].get_first_leaf()
        for leaf in list(_leaves(node.children[0])):
            leaf.value = ""
            leaf.prefix = first.prefix if leaf is first else ""
        first.value = "pass"
        return node

    @staticmethod
    def _is_one(statement: Any) -> bool:
        if statement.type in ("raise_stmt", "atom_expr", "power"):
            return True
        return (
            statement.type == "expr_stmt"
            and statement.children[1].type == "operator"
            and (statement.children[1].value not in ("=", ":="))
        )

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        """Return no examples, by which Cosmic Ray would test its own operators."""
        return ()


def _leaves(node: Any) -> Iterator[Any]:
    if hasattr(node, "children"):
        for child in node.children:
            yield from _leaves(child)
    else:
        yield node


@dataclass(frozen=True)
class Change:
    """One change of a module.

    Attributes
    ----------
    line : int
        The first changed line.
    before, after : str
        The changed lines, before and after the change.
    source : str
        The whole changed module.
    """

    line: int
    before: str
    after: str
    source: str


def changes(source: str) -> list[Change]:
    """Return all distinct changes of a source that make a difference when it runs."""
    known, found = {_meaning(source)}, []
    tree = get_ast(source)
    pickled = pickle.dumps(tree)  # loading it is ten times as fast as parsing the source
    for operator in _operators():
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(tree))):
            mutated = MutationVisitor(occurrence, operator).walk(pickle.loads(pickled)).get_code()
            try:
                meaning = _meaning(mutated)
            except (SyntaxError, ValueError):
                continue
            if meaning not in known:
                known.add(meaning)
                found.append(_change(source, mutated))
    return sorted(found, key=lambda change: (change.line, change.after))


def _operators() -> Iterator[Operator]:
    for name in operator_names():
        kind = get_operator(name)
        if not kind.arguments() and (
            "/Replace" not in name or "Operator_" not in name or name.partition("Operator_")[2] in REPLACED
        ):
            yield kind()
    yield LeaveOutElement()
    yield LeaveOutStatement()


def _meaning(source: str) -> str:
    """Return the syntax tree without annotations, and without other code that only a type checker reads."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant("")
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "cast":
            node.args[0] = ast.Constant("")
        elif isinstance(node, ast.Assign) and _is_type(node.value):
            node.value = ast.Constant("")
    return ast.dump(tree)


def _is_type(node: ast.expr) -> bool:
    """Return whether an expression reads like a type, such as ``int | tuple[int, ...]``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _is_type(node.left) or _is_type(node.right)
    return isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in (
        "Callable",
        "dict",
        "list",
        "tuple",
        "type",
    )


def _change(source: str, mutated: str) -> Change:
    old, new = source.splitlines(), mutated.splitlines()
    blocks = [b for b in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if b[0] != "equal"]
    first, end, new_first, new_end = blocks[0][1], blocks[-1][2], blocks[0][3], blocks[-1][4]
    before, after = (" ".join(line.strip() for line in lines) for lines in (old[first:end], new[new_first:new_end]))
    return Change(first + 1, before, after, mutated)


# ---- The tests


class _FromMemory(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):  # type: ignore[misc]
    """An importer of one module, which compiles the given source instead of the file."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, str(path), source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of the module; None for any other module."""
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_filename(self, name: str) -> str:
        """Return the path of the file that the source replaces."""
        return self.path

    def get_data(self, path: str) -> bytes:
        """Return the source."""
        return self.source.encode()


def survives(module: str, source: str, tests: Sequence[str], durations: dict[str, float]) -> bool:
    """Return whether all tests pass with this source."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _run_tests(module, source, tests, _Order(durations))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended or time.monotonic() - began > SECONDS:
            break
        time.sleep(0.005)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


class _Order:
    """A pytest plugin that runs the fastest tests first, and leaves out slow tests."""

    def __init__(self, durations: dict[str, float]) -> None:
        self.durations = durations

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Sort the tests, and leave out slow ones."""
        items.sort(key=lambda item: self.durations.get(item.nodeid, 0.0))
        items[:] = [item for item in items if self.durations.get(item.nodeid, 0.0) <= SLOWEST_SECONDS]


class _Clock:
    """A pytest plugin that records the duration of each test."""

    def __init__(self, file: str) -> None:
        self.file, self.durations = file, dict[str, float]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add the duration of a test's setup, call or teardown."""
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the durations to the file."""
        Path(self.file).write_text(json.dumps(self.durations))


def timed(module: str, source: str, tests: Sequence[str]) -> dict[str, float]:
    """Run the tests on the unchanged module, and return the seconds of each; exit if one fails."""
    with tempfile.NamedTemporaryFile() as file:
        child = os.fork()
        if child == 0:
            _run_tests(module, source, tests, _Clock(file.name))
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"the tests of {module} fail without any change: {' '.join(tests)}")
        found: dict[str, float] = json.loads(Path(file.name).read_text())
    return found


def _run_tests(module: str, source: str, tests: Sequence[str], plugin: object) -> None:
    """Run the tests in a fork, and end it with pytest's exit status."""
    status = 99
    try:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.chdir(ROOT)
        sys.meta_path.insert(0, _FromMemory(f"multiconv.{module}", _path(module), source))
        importlib.import_module(f"multiconv.{module}")  # before pytest's own finder, which would read a plugin's file
        pytest = sys.modules["pytest"]
        options = ["-x", "-q", "--tb=no", "--noconftest", "-o", "addopts=", "--multiconv-backends=numpy"]
        without = [
            argument for name in ("cacheprovider", "doctest", "xdist", "timeout") for argument in ("-p", f"no:{name}")
        ]
        status = int(pytest.main([*options, *without, *(str(ROOT / "tests" / test) for test in tests)], [plugin]))
    finally:
        os._exit(status)


def _prepare() -> None:
    """Import all but multiconv, and configure Hypothesis much as tests/conftest.py does."""
    for name in ("hypothesis.extra.numpy", "ml_dtypes", "numpy.testing", "pytest", "scipy.signal", "threadpoolctl"):
        importlib.import_module(name)
    assert "multiconv" not in sys.modules
    sys.path.append(str(ROOT / "tests"))  # as tests/conftest.py, which is not read, would have it
    hypothesis = sys.modules["hypothesis"]
    hypothesis.settings.register_profile(
        "mutation",
        max_examples=50,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],  # a failure need not be shrunk
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    gc.collect()
    gc.freeze()


# ---- The results


def _path(module: str) -> Path:
    return ROOT / "multiconv" / f"{module.replace('.', '/')}.py"


def _digest(module: str) -> str:
    return hashlib.sha256(_path(module).read_bytes()).hexdigest()


def measure(module: str, last: dict[str, Any], *, again: bool, step: int) -> Iterator[dict[str, Any]]:
    """Try every `step`-th change of a module, and yield the results so far.

    Continue where the last run stopped, if the module is the same. With `again`, try only the changes that survived the
    last run.
    """
    source = _path(module).read_text(encoding="utf-8")
    step = last["step"] if again else step
    tests, all_changes = TESTS[module], changes(source)
    sample = all_changes[::step]
    known = {"source": _digest(module), "step": step, "changes": len(all_changes)}
    stopped = all(last.get(key) == value for key, value in known.items()) and last["tried"] < len(sample)
    begin = last["tried"] if stopped or again else 0
    survived = list(last.get("survived", [])) if stopped or again else []
    durations = timed(module, source, tests)
    seconds = sum(duration for duration in durations.values() if duration <= SLOWEST_SECONDS)
    print(f"{module}: the tests take {seconds:.1f} s", flush=True)
    if again:
        old = {(change["before"], change["after"]) for change in survived}
        asked = [change for change in sample if (change.before, change.after) in old]
        survived = [_kept(change) for change in asked if survives(module, change.source, tests, durations)]
        yield {**known, "tried": begin, "survived": survived}
        return
    for number, change in enumerate(sample[begin:], begin + 1):
        if survives(module, change.source, tests, durations):
            survived.append(_kept(change))
            print(f"  {number}/{len(sample)} line {change.line}: {change.before}\n      -> {change.after}", flush=True)
        if number % 25 == 0 or number == len(sample):
            print(f"  {number}/{len(sample)}", flush=True)
            yield {**known, "tried": number, "survived": survived}


def _kept(change: Change) -> dict[str, Any]:
    return {name: value for name, value in asdict(change).items() if name != "source"}


def page(results: dict[str, Any]) -> str:
    """Return the text of docs/mutation.md."""
    entries = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))["survivor"]
    reasons = {(e["module"], e["before"].strip(), after.strip()): e["reason"] for e in entries for after in e["after"]}
    lines = [
        "# Mutation tests",
        "",
        "`make mutate` changes one operator, number, condition, element or statement of a module at a time, and runs",
        "the fast tests of that module, which need no framework but NumPy. A change that no test notices *survives*:",
        "a test is missing, or the change makes no difference that a test could see. The lists say which.",
        "",
        "| module | tests | changes | tried | noticed | score |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for module, result in results.items():
        count, noticed = result["tried"], result["tried"] - len(result["survived"])
        tests = ", ".join(test.removeprefix("test_").removesuffix(".py") for test in TESTS[module])
        stale = "" if result["source"] == _digest(module) else " *"
        lines.append(
            f"| {module}{stale} | {tests} | {result['changes']} | {count} | {noticed} | {noticed / count:.1%} |"
        )
    lines += ["", "\\* measured on an earlier source of the module"]
    for module, result in results.items():
        lines += ["", f"## {module}", ""]
        for change in result["survived"]:
            before, after = change["before"].strip(), change["after"].strip()
            reason = reasons.get((module, before, after), "Not explained.")
            lines += [
                f"- line {change['line']}: `{before}`",
                f"  becomes {f'`{after}`' if after else 'nothing'}.",
                f"  {reason}",
            ]
        if not result["survived"]:
            lines.append("No change survives.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Try the named modules, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"any of {', '.join(TESTS)}")
    parser.add_argument("--again", action="store_true", help="try only the changes that survived the last time")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try one change of N (default: 1)")
    parser.add_argument("--page", action="store_true", help="only write docs/mutation.md from the last results")
    asked = parser.parse_args()
    if unknown := set(asked.modules) - set(TESTS):
        parser.error(f"unknown modules: {', '.join(sorted(unknown))}")
    last: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results = dict(last)
    if not asked.page:
        _prepare()
        for module in asked.modules or TESTS:
            for found in measure(module, last.get(module, {}), again=asked.again, step=asked.every):
                results[module] = found
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1))
            print(f"{module}: {len(found['survived'])} of {found['tried']} changes survive", flush=True)
    whole = {module: results[module] for module in TESTS if module in results}
    whole = {m: r for m, r in whole.items() if r["tried"] == len(range(0, r["changes"], r["step"]))}
    PAGE.write_text(page(whole), encoding="utf-8")


if __name__ == "__main__":
    main()
