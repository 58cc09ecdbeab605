"""Runs scripts of one framework, each in a child forked once the framework is imported, so that each may die.

Runs in the framework's own Python and imports the standard library only. What to run comes as JSON on standard input:
``modules`` to import, ``scripts`` by name and their ``timeout`` in seconds. A line of JSON goes out for each script.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

SHOWN_STDERR = 4000


def main() -> None:
    """Import, then run each script in turn."""
    task = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever an import prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for module in task["modules"]:
        import_module(module)
    for name, source in task["scripts"].items():
        print(json.dumps({"name": name, **run(name, source, task["timeout"])}), file=answers, flush=True)


def run(name: str, source: str, timeout: int) -> dict[str, str]:
    """What a script prints, and how it ends if not by itself."""
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        child = os.fork()
        if child == 0:
            _be_the_script(name, source, folder, stdout, stderr, timeout)
        _, status = os.waitpid(child, 0)
        lines = stdout.read_text(errors="replace").splitlines()
        if os.WIFSIGNALED(status):
            lines.append(f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
        elif os.WEXITSTATUS(status):
            lines.append(f"exit status {os.WEXITSTATUS(status)}")
        return {"outcome": "\n".join(lines), "stderr": stderr.read_text(errors="replace")[-SHOWN_STDERR:]}


def _be_the_script(name: str, source: str, folder: str, stdout: Path, stderr: Path, timeout: int) -> None:
    """Never returns: what the script leaves behind ends with the process."""
    signal.alarm(timeout)
    for path, number in ((os.devnull, 0), (stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(folder)
    try:
        exec(compile(source, f"{name}.py", "exec"), {"__name__": "__main__"})
    except BaseException as error:
        traceback.print_exc()
        print(f"raises {type(error).__name__}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
