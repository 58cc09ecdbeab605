"""Build the website: run the lessons on all backends, write the pages, and turn them into HTML with Sphinx.

    python site/build.py [--output build/site] [--lessons NAME,...] [--backends NAME,...] [--mnist FOLDER]

The Markdown pages are written beside the output, to build/site-pages. A script that fails, values that disagree and
warnings of Sphinx are errors.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from multiconv import registry
from multiconv.lessons import figures
from multiconv.lessons import run as lessons
from multiconv.lessons.run import Comparison, Tab
from multiconv.lessons.text import Answer, CellPlace, Lesson, Part, Picture

HERE = Path(__file__).parent
ROOT = HERE.parent
TITLES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow", "mxnet": "MXNet"}
MODULES = (
    *("core.errors", "core.spec", "core.geometry", "core.backend", "core.bounds", "registry"),
    *("oracle", "oracle.exact", "oracle.kronecker", "oracle.laws", "oracle.problem", "testing"),
    *("lessons.kernels", "lessons.digits", "lessons.text", "lessons.run", "lessons.figures", "lessons.notebooks"),
)
MARKED = (
    ":::{div} marked-lines\nChoose your framework in any of the tabs. Lines that differ from NumPy's are marked.\n:::"
)
DOCS = ("quirks", "known", "capabilities", "properties", "dispatch", "kill-matrix")


def main() -> None:
    """Build the site, or exit with what prevents it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--lessons", default="", help="names, separated by commas (default: all)")
    parser.add_argument("--backends", default=",".join(lessons.BACKENDS), help="names, separated by commas")
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's files")
    arguments = parser.parse_args()
    output, backends = arguments.output.resolve(), arguments.backends.split(",")
    pages = output.with_name(f"{output.name}-pages")
    chosen = [lessons.lesson(name) for name in arguments.lessons.split(",") if name] or lessons.lessons()
    for folder, mark in ((output, ".buildinfo"), (pages, "conf.py")):
        if folder.exists() and not (folder / mark).exists():
            sys.exit(f"{folder} exists and is no earlier build of the site: choose another --output")
        shutil.rmtree(folder, ignore_errors=True)
    tabs = lessons.run(chosen, backends, mnist=arguments.mnist, progress=say)
    if faults := list(all_faults(chosen, tabs)):
        sys.exit("\n".join(faults))
    write_pages(pages, chosen, tabs)
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
    doctrees = output.with_name(f"{output.name}-doctrees")
    if subprocess.run([*sphinx, "--fresh-env", "--doctree-dir", doctrees, pages, output], check=False).returncode:
        sys.exit(f"Sphinx could not make the pages of {pages}")
    print(f"{output / 'index.html'}")


def say(backend: str, done: int, of: int) -> None:
    """Print a line when a backend has run all lessons."""
    if done == of:
        print(f"{backend}: {of} lessons have run", flush=True)


def all_faults(chosen: Iterable[Lesson], tabs: Mapping[str, Mapping[str, Tab]]) -> Iterator[str]:
    """Yield a message for each script that failed, and for each value that is not what the lesson says."""
    for lesson in chosen:
        for backend, tab in tabs[lesson.name].items():
            if tab.error is not None:
                yield f"lesson {lesson.name}, {backend}: {tab.error}"
        for comparison in lessons.comparisons(lesson, tabs[lesson.name]):
            if comparison.fault is not None:
                yield f"lesson {lesson.name}, {comparison.backend}: {comparison.name}: {comparison.fault}"


def write_pages(pages: Path, chosen: Sequence[Lesson], tabs: Mapping[str, Mapping[str, Tab]]) -> None:
    """Write all files that Sphinx needs to a folder."""
    for folder in ("lessons", "api", "docs"):
        (pages / folder).mkdir(parents=True)
    shutil.copy(HERE / "conf.py", pages)
    shutil.copy(HERE / "explorer.md", pages)
    shutil.copytree(HERE / "_static", pages / "_static")
    for name in DOCS:
        shutil.copy(ROOT / "docs" / f"{name}.md", pages / "docs")
    shutil.copy(ROOT / "CHANGELOG.md", pages / "changelog.md")
    names = "\n".join(f"{n}. [{one.title}](lessons/{one.name}.md)" for n, one in enumerate(chosen, 1))
    index = (HERE / "index.md").read_text().replace("LESSONS", names)
    (pages / "index.md").write_text(index)
    for lesson in chosen:
        write_lesson(pages / "lessons", lesson, tabs[lesson.name])
    (pages / "lessons" / "index.md").write_text(lesson_index(chosen, list(tabs[chosen[0].name])))
    modules = list(MODULES)
    (pages / "api" / "index.md").write_text(api_index(modules))
    for name in modules:
        (pages / "api" / f"{name}.md").write_text(api_page(name))


# ---- Lessons


def write_lesson(folder: Path, lesson: Lesson, tabs: Mapping[str, Tab]) -> None:
    """Write a lesson's page, its pictures and its scripts."""
    written = rendered(folder, lesson, lesson.parts, tabs, lesson.name)
    if lessons.REFERENCE in tabs:
        heading, _, rest = written[0].partition("\n")
        written[0] = f"{heading}\n\n{MARKED}\n{rest}"
    written.append(agreement(lesson, lessons.comparisons(lesson, tabs)))
    scripts = folder / lesson.name
    scripts.mkdir()
    for backend in tabs:
        shutil.copy(lesson.script(backend), scripts)
    links = (f"{{download}}`{title(b)} <{lesson.name}/{lesson.script(b).name}>`" for b in tabs)
    written.append(f"Download the code of this lesson as a script: {', '.join(links)}.")
    (folder / f"{lesson.name}.md").write_text("\n\n".join(written) + "\n")


def rendered(folder: Path, lesson: Lesson, parts: Sequence[Part], tabs: Mapping[str, Tab], name: str) -> list[str]:
    """Return the Markdown of the parts of a lesson. The files of its pictures begin with `name`."""
    written = []
    for number, part in enumerate(parts):
        if isinstance(part, Answer):
            inner = rendered(folder, lesson, part.parts, tabs, f"{name}-{number}")
            written.append("\n\n".join(["::::::::{dropdown} Answer", *inner, "::::::::"]))
        elif isinstance(part, CellPlace):
            written.append(cell_tabs(lesson, part.name, tabs))
        elif isinstance(part, Picture):
            written.append(picture(folder, f"{name}-{number}", part, tabs))
        else:
            written.append(part)
    return written


def cell_tabs(lesson: Lesson, name: str, tabs: Mapping[str, Tab]) -> str:
    """Return a tab for each backend, with the code of a cell and its output."""
    codes = {backend: next(c.code for c in lesson.cells(backend) if c.name == name) for backend in tabs}
    reference = codes.get(lessons.REFERENCE)
    inner = {}
    for backend, code in codes.items():
        lines = [] if reference is None else differing_lines(reference, code)
        options = [f":emphasize-lines: {','.join(map(str, lines))}"] if lines else []
        parts = [block("code-block", "python", code, options)]
        if output := tabs[backend].outputs[name].rstrip():
            parts.append(block("code-block", "text", output + "\n", [":class: output"]))
        inner[backend] = "\n\n".join(parts)
    return tab_set(inner)


def differing_lines(reference: str, code: str) -> list[int]:
    """Return the numbers of the lines of `code` that are not in `reference`, without blank ones."""
    ours = code.splitlines()
    matcher = difflib.SequenceMatcher(None, reference.splitlines(), ours, autojunk=False)
    changed = (range(start, end) for tag, _, _, start, end in matcher.get_opcodes() if tag != "equal")
    return [line + 1 for lines in changed for line in lines if ours[line].strip()]


def picture(folder: Path, name: str, wanted: Picture, tabs: Mapping[str, Tab]) -> str:
    """Return a picture, or one for each backend in a tab."""
    if not wanted.each:
        return figure(folder, name, wanted, tabs)
    return tab_set({b: figure(folder, f"{name}-{b.partition('@')[0]}", wanted, {b: tab}) for b, tab in tabs.items()})


def figure(folder: Path, name: str, wanted: Picture, tabs: Mapping[str, Tab]) -> str:
    """Write an SVG file, and return the Markdown that shows it."""
    (folder / f"{name}.svg").write_text(figures.draw(wanted, tabs))
    return f"::::{{div}} picture\n```{{raw}} html\n:file: {name}.svg\n```\n\n{wanted.caption}\n::::"


def agreement(lesson: Lesson, found: Iterable[Comparison]) -> str:
    """Return a table of the compared values, and how much the backends differ."""
    ratios = {(c.name, c.backend): c.ratio for c in found}
    backends = list(dict.fromkeys(backend for _, backend in ratios))
    if not ratios:
        return ""
    rows = [["value", "must be", *map(title, backends)], ["---"] * (2 + len(backends))]
    for name, how in lesson.compare.items():
        roundings = isinstance(how, str) and how != "exact"
        must = f"within {how}" if roundings else "the same bits" if how == "exact" else "as stated"
        rows.append([f"`{name}`", must, *(f"{ratios[name, b]:.2g}" if roundings else "yes" for b in backends)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        "## Do the frameworks agree?\n\nThis page was made by running the scripts and comparing these variables. "
        "*As stated* means: the numbers that the lesson states. *The same bits* means: equal to NumPy's, bit for bit. "
        "Where roundings are allowed, the table shows which part of the allowed error was used, so 1 is the limit."
        f"\n\n{table}"
    )


def lesson_index(chosen: Iterable[Lesson], backends: Iterable[str]) -> str:
    """Return the list of the lessons, and the versions that they were run with."""
    versions = ", ".join(f"{title(b)} {registry.locate(b).version}" for b in backends)
    names = "\n".join(lesson.name for lesson in chosen)
    return (
        "# Lessons\n\nStart with the first one if convolution is new to you. The first five follow sections 7.2 to 7.4 "
        "of the book [Dive into Deep Learning](https://d2l.ai). The others go further. "
        "Each lesson ends with exercises and their answers.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n:numbered: 1\n\n{names}\n```\n\nThe code was run with {versions}, on a CPU.\n"
    )


def title(backend: str) -> str:
    """Return a backend's name as people write it, with its version."""
    name, at, version = backend.partition("@")
    return TITLES.get(name, name) + at + version


def tab_set(inner: Mapping[str, str]) -> str:
    """Return a set of tabs. Choosing a framework in one set chooses it in all."""
    items = (f":::::{{tab-item}} {title(b)}\n:sync: {b}\n\n{text}\n:::::" for b, text in inner.items())
    return "\n\n".join(["::::::{tab-set}\n:sync-group: framework", *items, "::::::"])


def block(directive: str, argument: str, body: str, options: Iterable[str] = ()) -> str:
    """Return a directive whose fence is longer than any in its body."""
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", body)), 3)
    return "\n".join([f"{fence}{{{directive}}} {argument}", *options, "", f"{body}{fence}"])


# ---- The reference


def api_index(modules: Iterable[str]) -> str:
    """Return the page of the package, with a list of its modules."""
    names = "\n".join(modules)
    return (
        "# API\n\n```{eval-rst}\n.. automodule:: multiconv\n   :no-members:\n\n"
        "```\n\n`multiconv` itself has the names `Backend`, `BackendInfo`, `ConvSpec`, `Geometry`, `backend`, "
        "`backends` and the errors. They are documented with the modules that define them.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )


def api_page(module: str) -> str:
    """Return the page of a module, with its public names."""
    return (
        f"# multiconv.{module}\n\n```{{eval-rst}}\n.. automodule:: multiconv.{module}\n   :members:\n"
        f"{'   :show-inheritance:' if module == 'core.errors' else ''}\n```\n"
    )


if __name__ == "__main__":
    main()
